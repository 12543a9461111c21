"""The tokens of one micro-batch of fine-tuning: their weights, and what takes the loss' place."""

import functools
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from divreg.trainers._head import EXTRAS, scores
from divreg.trainers._logits import FUNCTIONS, Logits
from divreg.trainers._rows import CARRIED, MicroBatch

TOKEN_SIGNALS = (
    frozenset({"logprob", "old_logprob", "entropy", "mask", "tokens", "document", "markers"})
    | {"token_share", "text_share", "step", "boost"}
    | FUNCTIONS
    | EXTRAS
)


class Tokens(MicroBatch):
    """Weighs the tokens of one micro-batch, and passes its loss through the interventions.

    Args:
        trainer: An SFT trainer with the mixin.
        inputs: What TRL passes to the model, with what divreg sends along.
        num_items: Tokens of all micro-batches of the optimizer step, as TRL counts them; None
            where TRL normalises each micro-batch by itself.
    """

    def __init__(self, trainer: Any, inputs: Mapping[str, Any], num_items: Any):
        super().__init__(trainer, inputs)
        own = [key for key in self.inputs if key.startswith(CARRIED)]
        self.carried = {key.removeprefix(CARRIED): self.inputs.pop(key) for key in own}
        self.num_items = num_items
        self._hidden: Tensor | None = None
        self._begin: Tensor | None = None

    def keep(self, hidden: Tensor, begin: Tensor | None) -> None:
        """Take the hidden states ``(b, t + 1, h)`` of the first forward: the one that trains."""
        if self._hidden is None:
            self._hidden, self._begin = hidden[:, :-1], begin

    def listen(self, output: Any) -> Any:
        """Take what the head says, and hand TRL log-probabilities times their weights.

        TRL's loss is linear in them: it is the weighted one, and so is what it logs.
        """
        if self._scores is not None:
            return None
        self._take(output)
        if not self.trainer.pipeline.acts_on("token_weights"):
            return None
        output.log_probs = output.log_probs * self.weigh().to(output.log_probs.dtype)
        return output

    def _take(self, output: Any) -> None:
        self.mask, self._scores = output.label_mask, scores(output)

    def finish(self, loss: Tensor) -> Tensor:
        """Pass the micro-batch's loss through the loss stage, undivided by accumulation."""
        if not self.trainer.pipeline.acts_on("loss"):
            return loss
        return self.change(loss * self.parts) / self.parts

    def statistics(self) -> dict[str, float]:
        """Return the cross-entropy at temperature 1, and what divreg's head alone knows."""
        assert self._scores is not None
        if (wrote := self.carried.get("generated")) is not None and bool(wrote.any()):
            return {}  # the whole step is the model's own text: no cross-entropy of the data
        return {**self._means({"ce_nats": -self._scores["logprob"]}), **super().statistics()}

    @property
    def parts(self) -> int:
        """Micro-batches that TRL's loss is one of: it divides by the tokens of all of them."""
        return 1 if self.num_items is None else self.trainer.current_gradient_accumulation_steps

    @functools.cached_property
    def share(self) -> Tensor:
        """What each token counts ``(b, t)`` in the loss before it is divided by accumulation."""
        return self._part(self.num_items, self.mask.sum())

    @functools.cached_property
    def text_share(self) -> Tensor:
        """What the text of each token counts ``(b, t)``, as :attr:`share`."""
        return self._part(self.carried.get("texts"), texts(self.inputs))

    def _part(self, among: Any, here: Any) -> Tensor:
        """Return one of what there is in all micro-batches, or in this one alone, per token."""
        trainer, share = self.trainer, self.mask.float()
        if self.num_items is None or among is None:
            return share / torch.as_tensor(here).clamp(min=1)
        share = share * self.parts / torch.as_tensor(among).clamp(min=1)
        if trainer.args.average_tokens_across_devices:  # counted on all, averaged over all
            share = share * (trainer.accelerator.num_processes // trainer.get_tp_size())
        return share

    @functools.cached_property
    def tokens(self) -> Tensor:
        """The token that each column predicts ``(b, t)``."""
        labels = self.inputs["labels"][:, 1:].to(self.mask.device)
        return torch.where(self.mask, labels, self.inputs["input_ids"][:, 1:].to(self.mask.device))

    @functools.cached_property
    def document(self) -> Tensor:
        """Which text of its row a column belongs to ``(b, t)``: positions start anew in each."""
        return documents(self.inputs).to(self.mask.device)

    @functools.cached_property
    def logits(self) -> Logits:
        """The loss head, for what it does not say; compared with it the first time."""
        assert self._hidden is not None
        assert self._scores is not None
        found = Logits(
            self.trainer, self._hidden, self.tokens, self._scores["logprob"], self.mask, self._begin
        )
        if not self.trainer.heads_compared:
            found.check()
            self.trainer.heads_compared = True
        return found

    def _sources(
        self, give: Callable[[Any], Any], *, detach: bool = True
    ) -> Mapping[str, Callable[[], Any]]:
        assert self._scores is not None
        found = {n: x.detach() if detach else x for n, x in self._scores.items()}
        old = self.carried.get("old_logprob", found["logprob"].detach())
        rows: dict[str, Callable[[], Any]] = {
            **{name: functools.partial(give, x) for name, x in found.items()},
            "old_logprob": lambda: give(old),
            "mask": lambda: give(self.mask),
            "tokens": lambda: give(self.tokens),
            "document": lambda: give(self.document),
            "markers": lambda: self.trainer.markers,
            "token_share": lambda: give(self.share),
            "text_share": lambda: give(self.text_share),
        }
        for name in ("generated", "continues"):
            if name in self.carried:
                rows[name] = functools.partial(give, self.carried[name].to(self.mask.device))
        for name in ("tempered", "top", "over_logits"):
            f = functools.partial(self._asked, name, give, detach)
            rows[name] = lambda f=f: f
        rows["mean_logprob"] = functools.partial(self._asked, "mean_logprob", give, detach)
        return rows | self._state()

    def _asked(self, name: str, give: Callable[[Any], Any], detach: bool, *arguments: Any) -> Any:
        """Call a function of the logits on our rows, and pass on what it says.

        Columns of all processes' rows come back as ours: the others have the logits of theirs.
        """
        b = len(self.mask)
        everyones = [isinstance(x, Tensor) and x.dim() > 1 and len(x) > b for x in arguments]
        own = [self._own(x) if e else x for x, e in zip(arguments, everyones, strict=True)]
        said = getattr(self.logits, name)(*own)
        if isinstance(said, tuple):
            return tuple(give(x.detach() if detach else x) for x in said)
        return give(said.detach() if detach else said)


def documents(inputs: Mapping[str, Any]) -> Tensor:
    """Return which text of its row a column belongs to: positions start anew in each."""
    if (positions := inputs.get("position_ids")) is None:
        return torch.zeros_like(inputs["input_ids"][:, 1:])
    return (positions == 0).long().cumsum(1)[:, 1:]


def texts(inputs: Mapping[str, Any]) -> int:
    """Return how many texts of a micro-batch have a token that is trained on."""
    rows = documents(inputs)
    apart = rows + (rows.shape[1] + 2) * torch.arange(len(rows), device=rows.device)[:, None]
    return apart[inputs["labels"][:, 1:] != -100].unique().numel()
