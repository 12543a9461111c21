"""The preference pairs of one micro-batch: their weights, and terms beside or in place of the loss.

Rows are those of TRL: the chosen answers of all pairs, then the rejected ones in the same order.
"""

import functools
import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from divreg.losses import spl
from divreg.signals import PAIRED
from divreg.trainers._seams import ScaleGradient
from divreg.trainers._tokens import TOKEN_SIGNALS, Tokens

# Every signal that the loss of preference pairs has.
SIGNALS = (TOKEN_SIGNALS - {"old_logprob", "text_share", "markers"}) | {*PAIRED, "ref_logprob"}
_GIVEN = ("ref_chosen_logps", "ref_rejected_logps")  # TRL's keys of what it computed before


class Pairs(Tokens):
    """Weighs the pairs of one micro-batch, and passes its loss through the interventions.

    Args:
        trainer: A DPO trainer with the mixin.
        inputs: What TRL passes to its loss, with what divreg sends along.
    """

    def __init__(self, trainer: Any, inputs: Mapping[str, Any]):
        super().__init__(trainer, inputs, num_items=None)
        self.reference: Tensor | None = None
        for key in _GIVEN:
            if key in self.inputs:
                self.inputs[key] = self._reference_for(self.inputs[key])

    def listen(self, output: Any) -> Any:
        """Take what the head says of the policy, which comes first, then of the reference."""
        if self._scores is not None:
            return self.listen_to_reference(output)
        self._take(output)
        if not self._acts_on("token_weights"):
            return None
        weights = self.weigh()
        self._refuse_within_pairs(weights)
        output.log_probs = ScaleGradient.apply(output.log_probs, weights.to(output.log_probs.dtype))
        return output

    def listen_to_reference(self, output: Any) -> Any:
        """Take what the reference says, and hand TRL what its loss should subtract."""
        self.reference = output.log_probs
        output.log_probs = self._reference_for(output.log_probs)
        return output

    def finish(self, loss: Tensor) -> Tensor:
        """Pass the micro-batch's loss through the loss stage, undivided by accumulation."""
        return super().finish(loss) if self._acts_on("loss") else loss

    def statistics(self) -> dict[str, float]:
        """Return nothing: TRL logs the entropy and the log-probabilities of both answers."""
        return {}

    def indicators(self, k: int) -> dict[str, float]:
        """Return entropy and mass of the k likeliest next tokens of chosen and rejected answers.

        Means over the tokens of all processes: entropy in bits, renormalised.
        """
        mass, nats = self.logits.top(k)
        totals = []
        for rows in (self._chosen, ~self._chosen):
            mask = self.mask & rows[:, None]
            totals += [(nats * mask).sum() / math.log(2), (mass * mask).sum(), mask.sum()]
        sums = self.trainer.accelerator.reduce(torch.stack(totals).double(), reduction="sum")
        found: dict[str, float] = {}
        for name, (bits, total, count) in zip(
            ("chosen", "rejected"), sums.view(2, 3).tolist(), strict=True
        ):
            found[f"top_entropy_bits_{name}"] = bits / max(1, count)
            found[f"top_mass_frac_{name}"] = total / max(1, count)
        return found

    @functools.cached_property
    def share(self) -> Tensor:
        """What each token counts ``(b, t)`` in the cross-entropy of the chosen answers."""
        counted = self.mask * self._chosen[:, None]
        return counted / counted.sum().clamp(min=1)

    @functools.cached_property
    def tokens(self) -> Tensor:
        """The token that each column predicts ``(b, t)``."""
        return self.inputs["input_ids"][:, 1:].to(self.mask.device)

    @property
    def _count(self) -> int:
        return len(self.mask) // 2

    @property
    def _chosen(self) -> Tensor:
        return torch.arange(len(self.mask), device=self.mask.device) < self._count

    def _acts_on(self, stage: str) -> bool:
        """Whether something changes this stage: evaluation is TRL's."""
        return self.trainer.model.training and self.trainer.pipeline.acts_on(stage)

    def _reference_for(self, logprob: Tensor) -> Tensor:
        plan = self.trainer._plan
        if plan.alpha is None:
            return logprob
        return spl(logprob, alpha=plan.alpha, beta=self.trainer.args.beta)

    def _refuse_within_pairs(self, weights: Tensor) -> None:
        """Refuse weights that an intervention gave to one answer, or to some of its tokens."""
        seen = torch.where(self.mask, weights, torch.nan)
        most, least = seen.nan_to_num(-torch.inf).amax(1), seen.nan_to_num(torch.inf).amin(1)
        most = most.view(2, -1).amax(0)
        least = least.view(2, -1).amin(0)
        if (most > least).any():
            raise ValueError(
                f"DPO weighs whole pairs; got weights from {least.min():.4g} to {most.max():.4g} "
                f"within one, by {self.trainer._plan.named}. Use divreg.losses.ddpo, which weighs "
                f"pairs."
            )

    def _sources(
        self, give: Callable[[Any], Any], *, detach: bool = True
    ) -> Mapping[str, Callable[[], Any]]:
        n, device = self._count, self.mask.device
        own = torch.arange(n, device=device) + n * self.trainer.accelerator.process_index
        rows: dict[str, Callable[[], Any]] = {
            "pair": lambda: give(own.repeat(2)),
            "chosen": lambda: give(self._chosen),
            "pair_weight": lambda: give(self.carried["pair_weight"].to(device).repeat(2)),
            "pair_share": lambda: give(torch.full((2 * n,), 1 / n, device=device)),
            "ref_logprob": lambda: give(self.reference),
        }
        return {**super()._sources(give, detach=detach), **rows}
