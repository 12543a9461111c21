"""The rows of one micro-batch inside the loss: token weights and loss terms."""

import functools
from collections.abc import Callable, Mapping
from typing import Any

import torch
from accelerate.utils import gather_object
from torch import Tensor

from divreg.control import MEASURES
from divreg.pipeline import Signals
from divreg.trainers._head import EXTRAS, scores
from divreg.trainers._seams import ScaleGradient

ROW_SIGNALS = frozenset(
    {"logprob", "old_logprob", "ref_logprob", "entropy", "advantages", "mask", "step", "boost"}
    | EXTRAS
)
CARRIED = "divreg_"  # keys of the rollout's dict that travel with their row through TRL's shuffle


class MicroBatch:
    """What interventions see of one micro-batch while TRL computes its loss, and do to it.

    ``inputs`` is a shallow copy: what TRL reads of it may change, the original stays as it is.

    Attributes:
        mask: ``(b, t)``, True where there is a token that counts.
        weights: ``(b, t)``, what the ``token_weights`` stage made of this process's tokens.
    """

    mask: Tensor

    def __init__(self, trainer: Any, inputs: Mapping[str, Any]):
        self.trainer, self.inputs = trainer, dict(inputs)
        self._scores: dict[str, Tensor] | None = None
        self.weights: Tensor | None = None

    def weigh(self) -> Tensor:
        """Run the ``token_weights`` stage for all processes at once; return our rows ``(b, t)``."""
        trainer, everyone = self.trainer, self._of_everyone()
        ones = torch.ones_like(everyone["logprob"])
        weights = trainer.pipeline.apply(
            "token_weights", ones, everyone, learn=trainer.model.training
        )
        self.weights = self._own(weights)
        return self.weights

    def change(self, loss: Tensor) -> Tensor:
        """Run the ``loss`` stage on the micro-batch's loss, undivided by accumulation."""
        trainer = self.trainer
        sources = self._sources(lambda x: x, detach=False)
        everyone = self._of_everyone()  # what is measured is the same on every process
        measured = {name: functools.partial(everyone.__getitem__, name) for name in MEASURES}
        signals = Signals({**sources, **measured}, trainer.pipeline.recipes)
        return trainer.pipeline.apply("loss", loss, signals, learn=trainer.model.training)

    def statistics(self) -> dict[str, float]:
        """Return means over the tokens of all processes of what divreg's head alone knows."""
        sources = self._sources(lambda x: x)
        if "varentropy" not in sources:
            return {}
        signals = Signals(sources, self.trainer.pipeline.recipes)
        found = {
            "varentropy_nats2": signals["varentropy"],
            "collision_mass": signals["log_sum_p2"].exp(),
        }
        if "advantages" in sources:
            found["entropy_change_nats"] = signals["entropy_change"]
        return self._means(found)

    def _means(self, found: Mapping[str, Tensor]) -> dict[str, float]:
        """Return the mean over the tokens of all processes of each ``(b, t)``."""
        sums = [x.detach().masked_fill(~self.mask, 0).sum() for x in found.values()]
        totals = torch.stack([*sums, self.mask.sum()])
        *sums, count = self.trainer.accelerator.reduce(totals, reduction="sum").tolist()
        return {name: x / max(count, 1) for name, x in zip(found, sums, strict=True)}

    def _sources(
        self, give: Callable[[Any], Any], *, detach: bool = True
    ) -> Mapping[str, Callable[[], Any]]:
        """Return the signals of our rows, passed through ``give`` where they are asked for."""
        raise NotImplementedError

    def _state(self) -> dict[str, Callable[[], Any]]:
        """Return the signals that are the same for every row."""
        trainer = self.trainer
        return {
            "step": lambda: trainer.state.global_step,
            "boost": lambda: trainer.pipeline.boost,
        }

    def _of_everyone(self) -> Signals:
        """Return the signals of all processes' rows, without gradient."""
        return Signals(self._sources(self._everyone), self.trainer.pipeline.recipes)

    def _everyone(self, x: Any) -> Any:
        """Gather rows over processes, padded to the longest: weights are decided together."""
        accelerator = self.trainer.accelerator
        if accelerator.num_processes == 1:
            return x
        if not isinstance(x, Tensor):
            return gather_object(list(x))
        if x.dim() > 1:
            x = accelerator.pad_across_processes(x.contiguous(), dim=1)
        return accelerator.gather(x)

    def _own(self, x: Tensor) -> Tensor:
        """Return our part of gathered rows."""
        b, width = self.mask.shape
        start = self.trainer.accelerator.process_index * b
        return x[start : start + b, :width]


class Rows(MicroBatch):
    """The rows of rollouts in a micro-batch: the original is read again in the next iteration."""

    def __init__(self, trainer: Any, inputs: Mapping[str, Any]):
        super().__init__(trainer, inputs)
        mask = self.inputs["completion_mask"]
        self.mask = (mask * self.inputs.get("tool_mask", 1)).bool()

    def listen(self, output: Any) -> Any:
        """Take what the policy's forward says; weigh tokens before TRL reads its inputs."""
        if self._scores is not None:
            return None
        width = self.mask.shape[1]
        self._scores = {name: x[:, -width:] for name, x in scores(output).items()}
        if not self.trainer.pipeline.acts_on("token_weights"):
            return None
        self.weigh()
        if self.trainer.token_advantages:
            return self._weigh_advantages()
        return self._split_weights(output)

    def finish(self, loss: Tensor) -> Tensor:
        """Pass the micro-batch's loss through the loss stage, undivided by accumulation."""
        trainer = self.trainer
        if not trainer.pipeline.acts_on("loss"):
            return loss
        divided = trainer.loss_is_scaled_for_ga and trainer.model.training
        parts = trainer.current_gradient_accumulation_steps if divided else 1
        return self.change(loss * parts) / parts

    def _weigh_advantages(self) -> None:
        """Let the loss read one weighted advantage per token ``(b, t)``."""
        assert self.weights is not None
        advantages = self.inputs["advantages"]
        per_token = advantages[:, None] if advantages.dim() == 1 else advantages
        self.inputs["advantages"] = per_token * self.weights.to(per_token.dtype)

    def _split_weights(self, output: Any) -> Any:
        """Weigh a loss that takes one advantage a row: row means there, the rest by gradient.

        The advantages ``(b,)`` are multiplied by the mean weight of their row's tokens, which makes
        the logged loss the weighted one; the log-probs' gradient by weight over mean. Together
        every token counts by its weight, exactly.
        """
        assert self.weights is not None
        tokens = self.mask.sum(1).clamp(min=1)
        mean = (self.weights * self.mask).sum(1) / tokens
        self.inputs["advantages"] = self.inputs["advantages"] * mean
        rest = torch.ones_like(output.log_probs)
        rest[:, -self.weights.shape[1] :] = self.weights / mean.clamp(min=1e-12)[:, None]
        output.log_probs = ScaleGradient.apply(output.log_probs, rest)
        return output

    def _sources(
        self, give: Callable[[Any], Any], *, detach: bool = True
    ) -> Mapping[str, Callable[[], Any]]:
        assert self._scores is not None
        found = {n: x.detach() if detach else x for n, x in self._scores.items()}
        logprob = found["logprob"]
        old = self.inputs.get("old_per_token_logps")
        advantages = self.inputs["advantages"]
        if advantages.dim() == 1:
            advantages = advantages[:, None].expand(logprob.shape)
        rows: dict[str, Any] = {
            **found,
            "old_logprob": logprob.detach() if old is None else old,
            "advantages": advantages,
            "mask": self.mask,
        }
        if (reference := self.inputs.get("ref_per_token_logps")) is not None:
            rows["ref_logprob"] = reference
        for key, value in self.inputs.items():
            if key.startswith(CARRIED):
                rows[key.removeprefix(CARRIED)] = value
        return {name: functools.partial(give, x) for name, x in rows.items()} | self._state()
