"""``linear_policy_loss``: a policy loss and its gradients in the pass that scores tokens."""

from collections.abc import Callable
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from divreg_kernels import backends, gradient, ranks
from divreg_kernels.matmul import accumulate, autocast, multiply, native
from divreg_kernels.state import State, empty
from divreg_kernels.stats import PLAIN, TokenStats, checked, is_token, nothing, selected
from divreg_kernels.transform import Transform

Loss = Callable[[Tensor, Tensor, Tensor], Tensor]


def clipped(epsilon: float = 0.2, epsilon_high: float | None = None) -> Loss:
    """Return PPO's clipped loss of a token, as GRPO and DAPO use it.

    Args:
        epsilon: How far the ratio may fall below 1.
        epsilon_high: How far it may rise above 1; ``epsilon`` where None (DAPO: 0.28).
    """
    low, high = 1 - epsilon, 1 + (epsilon if epsilon_high is None else epsilon_high)

    def loss(logp: Tensor, old_logp: Tensor, advantages: Tensor) -> Tensor:
        ratio = (logp - old_logp).exp()
        return -torch.minimum(ratio * advantages, ratio.clamp(low, high) * advantages)

    return loss


def cispo(epsilon_high: float = 5.0) -> Loss:
    """Return CISPO's loss of a token (arXiv:2506.13585): the ratio is a weight, clipped above."""

    def loss(logp: Tensor, old_logp: Tensor, advantages: Tensor) -> Tensor:
        weight = (logp - old_logp).exp().clamp(max=epsilon_high).detach()
        return -weight * advantages * logp

    return loss


LOSSES: dict[str, Callable[[], Loss]] = {"grpo": clipped, "cispo": cispo}


def linear_policy_loss(
    hidden: Tensor,
    weight: Tensor,
    targets: Tensor,
    advantages: Tensor,
    old_logp: Tensor | None = None,
    *,
    loss: str | Loss = "grpo",
    ref_logp: Tensor | None = None,
    beta: float = 0.0,
    entropy_coef: float = 0.0,
    weights: Tensor | None = None,
    normalizer: float | Tensor | None = None,
    bias: Tensor | None = None,
    temperature: float | Tensor = 1.0,
    softcap: float | None = None,
    logit_scale: float = 1.0,
    mask: Tensor | None = None,
    workspace_mb: float = 512.0,
    skip_zero_rows: bool = True,
    tp_group: dist.ProcessGroup | None = None,
    vocab_start: int | None = None,
    backend: backends.Backend = "auto",
) -> tuple[Tensor, TokenStats]:
    r"""Return the loss, ready for ``backward``, and the statistics of its tokens, without gradient.

    .. math:: L = \frac1Z \sum_t w_t \bigl(\ell_t + \beta\,k_3(p_t, p^{ref}_t) - c\,H_t\bigr)

    Each token's gradient is known once its own row of logits is: the gradients of ``hidden`` and
    ``weight`` are computed at once, 6 N H V operations in all and no logits kept. What needs other
    tokens (sequence-level ratios, normalisers that depend on the loss) goes through
    :func:`divreg_kernels.linear_token_stats`.

    Args:
        hidden: ``(..., h)`` in fp32, bf16 or fp16.
        weight: ``(v, h)``, of the same dtype.
        targets: ``(...)``, the token of each row; -100 means none, as ``mask`` False does.
        advantages: ``(...)``.
        old_logp: ``(...)``, under the policy that sampled, nats; None: the current one.
        loss: ``grpo`` (clipped at 0.2), ``cispo``, or a function of the token's log-prob, its old
            log-prob and its advantage, ``(n,)`` each, to ``(n,)``: token by token, and
            differentiable. :func:`clipped` and :func:`cispo` make those with other constants.
        ref_logp: ``(...)``, under the reference model, nats; with ``beta``.
        beta: Weight of Schulman's k3 estimate of KL(policy, reference).
        entropy_coef: Weight of the entropy bonus.
        weights: ``(...)``, of each token; 1 where None.
        normalizer: Z; the number of tokens where None.
        bias: ``(v,)``.
        temperature: Divides the logits; a number, or ``(...)``, > 0.
        softcap: ``c tanh(x / c)`` of the logits after ``logit_scale``, before ``temperature``.
        logit_scale: Multiplies the logits first, > 0.
        mask: ``(...)``, True where there is a token.
        workspace_mb: What the logits of a block of rows may take, MiB.
        skip_zero_rows: Leave rows without gradient out of the products.
        tp_group: Ranks that hold the rows of ``weight`` between them; see
            :func:`divreg_kernels.linear_token_stats`.
        vocab_start: The first token whose row this rank holds.
        backend: ``auto``, ``triton`` or ``torch``.

    Raises:
        ValueError: For shapes that do not fit, an unknown loss, ``beta`` without ``ref_logp``, a
            workspace that holds no row, or a backend that cannot run here.
    """
    if hidden.shape[:-1] != targets.shape or advantages.shape != targets.shape:
        raise ValueError(
            f"linear_policy_loss needs hidden (..., h), targets (...) and advantages (...); got "
            f"{tuple(hidden.shape)}, {tuple(targets.shape)} and {tuple(advantages.shape)}."
        )
    if isinstance(loss, str) and loss not in LOSSES:
        raise ValueError(
            f"linear_policy_loss has {', '.join(LOSSES)}, or a function; got {loss!r}."
        )
    if beta and ref_logp is None:
        raise ValueError(f"beta={beta:g} needs ref_logp, the reference's log-probs; got None.")
    transform = checked("linear_policy_loss", (), None, temperature, softcap, logit_scale, targets)
    hidden, weight, bias = autocast(hidden, weight, bias)
    keep = is_token(targets, mask)
    of_token = LOSSES[loss]() if isinstance(loss, str) else loss
    share = keep.float() if weights is None else keep * weights.float()
    share = share / (keep.sum().clamp(min=1) if normalizer is None else normalizer)

    if targets.numel() == 0:
        none = hidden.float().sum(-1) + 0 * weight.float().sum()
        return none.sum(), nothing(PLAIN, none.detach())

    def tokens(rows: slice, logp: Tensor, entropy: Tensor) -> Tensor:
        here = keep.reshape(-1)[rows]  # a NaN elsewhere must not come back through a gradient
        logp, entropy = torch.where(here, logp, 0), torch.where(here, entropy, 0)
        old = logp.detach() if old_logp is None else old_logp.reshape(-1)[rows].float()
        value = of_token(logp, old, advantages.reshape(-1)[rows].float())
        if ref_logp is not None and beta:
            gap = ref_logp.reshape(-1)[rows].float() - logp
            value = value + beta * (gap.exp() - gap - 1)
        if entropy_coef:
            value = value - entropy_coef * entropy
        return (torch.where(here, value, 0) * share.reshape(-1)[rows]).sum()

    if vocab_start is None:
        vocab_start = ranks.first_column(tp_group, len(weight))
    group = ranks.name_of(tp_group)
    settings = (tokens, transform, workspace_mb, skip_zero_rows, group, backend)
    total, *values = _PolicyLoss.apply(
        hidden.reshape(-1, hidden.shape[-1]),
        weight,
        bias,
        targets.reshape(-1).clamp(min=0) - vocab_start,
        settings,
    )
    return total, selected(dict(zip(PLAIN, values, strict=True)), PLAIN, targets, mask)


class _PolicyLoss(torch.autograd.Function):
    """Computes gradients with the loss; the backward only multiplies them."""

    @staticmethod
    def forward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any,
        hidden: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        targets: Tensor,
        settings: Any,
    ) -> tuple[Tensor, ...]:
        tokens, transform, workspace_mb, skip, group, backend = settings
        module = backends.choose(backend, hidden.device)
        n, v = len(hidden), len(weight)
        dtype = hidden.dtype if native(hidden.dtype, hidden.device) else torch.float32
        # All ranks go through the same blocks: each of them ends in a gather.
        rows_at_once = ranks.smallest(_rows(n, v, dtype, workspace_mb), group, hidden.device)
        logits = hidden.new_empty((rows_at_once, v), dtype=torch.float32)
        slopes = hidden.new_empty((rows_at_once, v), dtype=dtype)
        # Summed over ranks in fp32, where there are some.
        dhidden = torch.zeros_like(hidden, dtype=torch.float32 if group else hidden.dtype)
        dweight = torch.zeros_like(weight, dtype=torch.float32)
        dbias = None if bias is None else torch.zeros_like(bias, dtype=torch.float32)
        total, values = hidden.new_zeros((), dtype=torch.float32), []
        for at in range(0, n, rows_at_once):
            rows = slice(at, min(at + rows_at_once, n))
            part = transform.rows(rows)
            x, tile = hidden[rows], logits[: rows.stop - at]
            multiply(x, weight.T, tile)
            if bias is not None:
                tile += bias
            state = ranks.joined(_fold(module, tile, targets[rows], part), group)
            found = module.finish(state)
            values.append([found[name] for name in PLAIN])
            loss, row, terms = _slopes(tokens, rows, found)
            total = total + loss
            if not any(ctx.needs_input_grad):
                continue
            live = (row != 0).any(1)
            if skip and not bool(live.any()):
                continue
            slope = module.grad(
                tile, targets[rows], 0, state.max, state.log_sum, row, terms, part,
                slopes[: len(x)],
            )  # fmt: skip
            into: Tensor | slice = rows
            if skip and not bool(live.all()):
                chosen = live.nonzero().squeeze(1)
                x, into = x[chosen], at + chosen
                room = logits.view(dtype)[: len(x), :v]  # whose logits nobody needs any more
                slope = torch.index_select(slope, 0, chosen, out=room)
            dhidden[into] = multiply(slope, weight, torch.empty_like(x, dtype=torch.float32)).to(
                dhidden.dtype
            )
            accumulate(dweight, slope.T, x)
            if dbias is not None:
                dbias += slope.sum(0, dtype=torch.float32)
        ctx.save_for_backward(
            ranks.summed(dhidden, group).to(hidden.dtype),
            dweight.to(weight.dtype),
            None if bias is None or dbias is None else dbias.to(bias.dtype),
        )
        stats = [torch.cat(column) for column in zip(*values, strict=True)]
        ctx.mark_non_differentiable(*stats)
        return total, *stats

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor, *_: Any) -> tuple[Tensor | None, ...]:  # pyright: ignore[reportIncompatibleMethodOverride]
        dhidden, dweight, dbias = ctx.saved_tensors
        wanted = ctx.needs_input_grad
        of = (dhidden, dweight, dbias)
        grads = [
            x * grad.to(x.dtype) if need and x is not None else None
            for x, need in zip(of, wanted, strict=False)
        ]
        return (*grads, None, None)


def _fold(module: Any, tile: Tensor, targets: Tensor, transform: Transform) -> State:
    before = empty(len(tile), transform.scale, device=tile.device)
    return module.fold(tile, targets, 0, before, transform)


def _slopes(
    tokens: Callable[[slice, Tensor, Tensor], Tensor], rows: slice, found: dict[str, Tensor]
) -> tuple[Tensor, Tensor, int]:
    """Return the loss of some rows, and the coefficients of their logits' gradient."""
    with torch.enable_grad():
        logp = found["logp"].detach().requires_grad_()
        entropy = found["entropy"].detach().requires_grad_()
        loss = tokens(rows, logp, entropy)
        both = torch.autograd.grad(loss, (logp, entropy), allow_unused=True)
    given = {n: g for n, g in zip(("logp", "entropy"), both, strict=True) if g is not None}
    return loss.detach(), gradient.coefficients(given, found), gradient.terms(given)


def _rows(n: int, v: int, dtype: torch.dtype, workspace_mb: float) -> int:
    rows = int(workspace_mb * (1 << 20)) // (v * (4 + dtype.itemsize))
    if rows < 1:
        least = v * (4 + dtype.itemsize) / (1 << 20)
        raise ValueError(
            f"workspace_mb={workspace_mb:g} holds no row of {v} logits; it needs {least:.2f}. "
            f"Use workspace_mb=512."
        )
    return min(n, rows)
