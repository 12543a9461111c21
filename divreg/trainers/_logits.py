"""What losses ask of the logits that the loss head does not say, from the same hidden states."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from divreg.signals._softmax import of_rows
from divreg.trainers import _head

FUNCTIONS = frozenset({"tempered", "top", "over_logits", "mean_logprob"})
_ROOM = 64 << 20  # bytes of logits that `over_logits` works on at a time


class Logits:
    """The loss head of a model on the hidden states of one micro-batch.

    Args:
        trainer: Whose model, unwrapped, has the head; it is looked at again under autocast.
        hidden: ``(b, t, h)``, what the head was given.
        tokens: ``(b, t)``, the token of each column.
        logprob: ``(b, t)``, what the head that trains says of them, with gradient.
        mask: ``(b, t)``, True where there is a token: elsewhere everything is 0.
        begin: What the backward has to begin with where ZeRO-3 shards the head; see
            ``_seams.hidden_tap``.
    """

    def __init__(
        self,
        trainer: Any,
        hidden: Tensor,
        tokens: Tensor,
        logprob: Tensor,
        mask: Tensor,
        begin: Tensor | None,
    ):
        model = trainer.model
        self.model = model.get_base_model() if hasattr(model, "get_base_model") else model
        self.layer = self.model.get_output_embeddings()
        self.autocast = trainer.accelerator.autocast
        self.transform = _head.transform(self.model.config.get_text_config())
        device = self.layer.weight.device
        self.mask = mask.to(device)
        self.hidden, self.tokens = hidden.to(device)[self.mask], tokens.to(device)[self.mask]
        self.logprob = logprob
        self._begin = begin
        self._tempered: dict[float, tuple[Tensor, Tensor]] = {}
        self._top: dict[int, tuple[Tensor, Tensor]] = {}

    def tempered(self, temperature: float) -> tuple[Tensor, Tensor]:
        """Return log-probability and entropy ``(b, t)`` at a temperature, nats, with gradient."""
        if temperature not in self._tempered:
            found = self._stats(self.hidden, temperature=temperature)
            self._tempered[temperature] = self._rows(found.logp), self._rows(found.entropy)
        return self._tempered[temperature]

    def top(self, k: int) -> tuple[Tensor, Tensor]:
        """Return mass and entropy ``(b, t)`` of the k likeliest tokens, without gradient."""
        if k not in self._top:
            with torch.no_grad():
                found = self._stats(self.hidden, topk=k)
            self._top[k] = self._rows(found.topk_mass), self._rows(found.topk_entropy)
        return self._top[k]

    def over_logits(self, f: Callable[..., Tensor], *columns: Tensor) -> Tensor:
        """Return ``f(logits, *columns)`` of every token ``(b, t)``, with gradient.

        Args:
            f: From logits ``(n, v)``, fp32, and n entries of every column to ``(n,)``; what else it
                reads gets no gradient. It is called again in the backward.
            columns: ``(b, t, ...)`` each.

        Raises:
            ValueError: If ``f`` returns another shape.
        """
        from divreg_kernels.matmul import autocast

        chosen = [column.to(self.mask.device)[self.mask] for column in columns]
        with self.autocast(), _head.whole(self.layer) as (weight, bias):
            inputs = autocast(self.hidden, weight, bias)
            settings = f, chosen, self.transform
            return self._rows(_OverLogits.apply(*inputs, settings))  # pyright: ignore[reportArgumentType]

    def mean_logprob(self) -> Tensor:
        """Return the mean log-probability of all tokens ``(b, t)``, with gradient.

        A mean of logits is the logit of the mean row of the head: no product with the vocabulary.
        """
        from divreg.signals import mean_logprob

        if self.transform["softcap"] is not None:  # the mean of what is capped is another
            return mean_logprob(over_logits=self.over_logits)
        with _head.whole(self.layer) as (weight, bias):
            rows = self.hidden.float()
            mean = rows @ weight.float().mean(0)
            # Of the target's log-probability, what its own logit makes is taken away again.
            own = (rows * weight[self.tokens].float()).sum(1)
            if bias is not None:
                mean, own = mean + bias.float().mean(), own + bias[self.tokens].float()
        gap = (mean - own) * self.transform["logit_scale"]
        return self._rows(gap) + self.logprob

    def check(self) -> None:
        """Compare log-probabilities with those of the head that trains.

        Raises:
            RuntimeError: If they differ by more than rounding.
        """
        with torch.no_grad(), self.autocast():
            ours = self._rows(self._stats(self.hidden, temperature=1.0).logp)
            dtype = _head.multiplied_in(self.layer.weight)
        cure = "a loss that reads logprob and entropy only"
        _head.same("log_probs", ours, self.logprob.detach(), self.mask, dtype, cure)

    def _stats(self, hidden: Tensor, **more: Any) -> Any:
        from divreg_kernels import linear_token_stats

        with self.autocast(), _head.whole(self.layer) as (weight, bias):
            return linear_token_stats(
                hidden, weight, self.tokens, bias=bias, **self.transform, **more
            )

    def _rows(self, values: Tensor) -> Tensor:
        if self._begin is not None and values.requires_grad:
            values.register_hook(self._gather)
        # A scatter keeps the result connected to the model where no label is left.
        return values.new_zeros(self.mask.shape).masked_scatter(self.mask, values)

    def _gather(self, _grad: Tensor) -> None:
        """Let ZeRO-3 gather the head before the gradient comes to it, once."""
        if self._begin is not None:
            begin, self._begin = self._begin, None
            begin.backward()


class _OverLogits(torch.autograd.Function):
    """Applies a function to rows of logits; makes them a second time for the gradient."""

    @staticmethod
    def forward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any, hidden: Tensor, weight: Tensor, bias: Tensor | None, settings: Any
    ) -> Tensor:
        ctx.save_for_backward(hidden, weight, bias)
        ctx.settings = settings
        f, columns, transform = settings
        values = [hidden.new_zeros(0, dtype=torch.float32)]
        for rows in _blocks(hidden, weight):
            logits = _logits(hidden[rows], weight, bias)
            values.append(_applied(f, logits, [c[rows] for c in columns], transform).float())
        return torch.cat(values)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:  # pyright: ignore[reportIncompatibleMethodOverride]
        from divreg_kernels.matmul import accumulate, multiply

        hidden, weight, bias = ctx.saved_tensors
        f, columns, transform = ctx.settings
        dhidden = torch.zeros_like(hidden)
        dweight = torch.zeros_like(weight, dtype=torch.float32)
        dbias = None if bias is None else torch.zeros_like(bias, dtype=torch.float32)
        for rows in _blocks(hidden, weight):
            x = hidden[rows]
            logits = _logits(x, weight, bias).requires_grad_()
            with torch.enable_grad():
                values = _applied(f, logits, [c[rows] for c in columns], transform)
            if not values.requires_grad:
                continue
            (slope,) = torch.autograd.grad(values, logits, grad[rows].to(values.dtype))
            slope = slope.to(hidden.dtype)
            dhidden[rows] = multiply(slope, weight, torch.empty_like(x, dtype=torch.float32)).to(
                dhidden.dtype
            )
            accumulate(dweight, slope.T, x)
            if dbias is not None:
                dbias += slope.sum(0, dtype=torch.float32)
        return (
            dhidden,
            dweight.to(weight.dtype),
            None if dbias is None else dbias.to(weight.dtype),
            None,
        )


def _blocks(hidden: Tensor, weight: Tensor) -> list[slice]:
    at_once = max(1, _ROOM // (4 * len(weight)))
    return [slice(at, at + at_once) for at in range(0, len(hidden), at_once)]


def _logits(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    from divreg_kernels.matmul import multiply

    logits = multiply(x, weight.T, x.new_empty((len(x), len(weight)), dtype=torch.float32))
    return logits if bias is None else logits.add_(bias)


def _applied(
    f: Callable[..., Tensor], logits: Tensor, columns: list[Tensor], transform: dict[str, Any]
) -> Tensor:
    """Return ``f`` of transformed logits, one number a row."""
    z = logits * transform["logit_scale"]
    if (softcap := transform["softcap"]) is not None:
        z = softcap * torch.tanh(z / softcap)
    return of_rows(f, z, columns)
