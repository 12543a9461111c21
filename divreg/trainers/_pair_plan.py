"""What a run on preference pairs will do, decided and checked before anything is loaded."""

import math
from typing import Any

from divreg.compose import Intervention
from divreg.trainers._choice import Choice, suggest
from divreg.trainers._head import EXTRAS
from divreg.trainers._logits import FUNCTIONS
from divreg.trainers._pairs import SIGNALS
from divreg.trainers._plan import ROLLOUT_SIGNALS, SFT_SIGNALS
from divreg.trainers._tokens import TOKEN_SIGNALS

# Losses that compare what they have sorted over the batch: no pair has a loss of its own.
COUPLED = ("aot", "aot_unpaired")


class PairPlan(Choice):
    """The choice for a run on preference pairs, with every refusal that can be known now.

    Args:
        args: As :class:`Choice`.
        interventions: As :class:`Choice`.
        signals: As :class:`Choice`; ``pair_weight`` as the name of a column.
        trainer: Unused: every such trainer is alike.

    Attributes:
        column: Where the data set has the weights of its pairs; None if nobody reads them.
        alpha: Coefficient of the entropy where it is not ``beta``.
        reads_logits: Whether somebody asks for what the loss head does not say.
        replaces: The interventions that take the place of the loss.

    Raises:
        ValueError: For a combination that cannot do what it says; the message says what to type.
    """

    def __init__(
        self,
        args: Any,
        interventions: list[Intervention] | None,
        signals: dict[str, Any] | None,
        trainer: Any = None,  # noqa: ARG002
    ):
        self._column: str | None = None
        super().__init__(args, interventions, signals)
        self._refuse_stages()
        read = self._rehearsed()
        self.reads_logits = bool(read & FUNCTIONS)
        self.column = (self._column or "weight") if "pair_weight" in read else None
        self.replaces = self.pipeline.replacing()
        self._refuse_settings()
        self._refuse_uneven()
        self._refuse_lost()
        self._refuse_spl()

    @property
    def idle(self) -> bool:
        """Whether nothing at all is on."""
        return not self.pipeline and self.alpha is None

    def announcement(self) -> str | None:
        """Return the line printed at the start: what acts, and what the logged loss is."""
        acts = [self.named] if self.pipeline else []
        if self.alpha is not None:
            acts.append(f"spl(alpha={self.alpha:g}, beta={self.args.beta:g})")
        if not acts:
            return None
        weighs = self.pipeline.acts_on("token_weights")
        logged = "The logged loss is what is minimised."
        if weighs:
            logged = "The logged loss counts every pair alike; the gradient has the weights."
        return f"divreg: {', '.join(acts)}. {logged}"

    def check_trainer(self, trainer: Any) -> None:
        """Refuse what only the built trainer shows: images, prompt tuning, losses of routers."""
        if self.pipeline:
            self.check_model(trainer, self.named)
        if self.replaces and trainer.aux_loss_enabled:
            raise ValueError(
                f"{self.replaces[0]} takes the place of the loss; got output_router_logits=True, "
                f"whose loss of routers would go with it. Use router_aux_loss_coef=0.0."
            )

    def _configure(self, signals: dict[str, Any]) -> None:
        self._refuse_rollouts(signals, "preference pairs")
        column = signals.pop("pair_weight", None)
        if column is not None and (not isinstance(column, str) or not column):
            raise ValueError(
                f"signals['pair_weight'] needs the name of a column; got {column!r}. "
                f"Write {{'pair_weight': 'weight'}}."
            )
        self._column = column
        super()._configure(signals)

    def _alpha(self, spl: Any) -> float:
        alpha = spl.get("alpha") if isinstance(spl, dict) and len(spl) == 1 else None
        if not isinstance(alpha, int | float) or alpha is True or not 0 < alpha < math.inf:
            raise ValueError(
                f"spl needs the coefficient of the entropy, alpha > 0; got {spl!r}. "
                f"Write `spl: {{alpha: 0.2}}`."
            )
        return float(alpha)

    def _refuse_stages(self) -> None:
        for known in self.pipeline.contracts.values():
            if known.stage in ("rewards", "advantages"):
                raise ValueError(
                    f"{known.name} changes {known.stage}; got preference pairs, which have none. "
                    f"Use DiverseGRPOTrainer, or divreg.losses.ddpo."
                )

    def _refuse_settings(self) -> None:
        if self.head != "trl":
            raise ValueError(
                f"DPO logs mean logits, which divreg's head does not have; got head: {self.head}. "
                f"Use head: trl."
            )
        if self._column and not self.column:
            raise ValueError(
                f"signals['pair_weight'] needs a method that reads it; got "
                f"{self.named or 'no intervention'}. Add divreg.losses.ddpo, or leave it out."
            )
        coupled = [name for name in self._losses if name in COUPLED]
        if coupled and self.pipeline.acts_on("token_weights"):
            raise ValueError(
                f"{self.named} weighs pairs one by one; got loss_type={coupled[0]!r}, which sorts "
                f'them over the batch. Use loss_type="sigmoid", or any other than '
                f"{' and '.join(COUPLED)}."
            )

    @property
    def _losses(self) -> list[str]:
        given = getattr(self.args, "loss_type", None) or ["sigmoid"]
        return [given] if isinstance(given, str) else list(given)

    def _refuse_uneven(self) -> None:
        for name in self.pipeline.uneven():
            raise ValueError(
                f"DPO weighs whole pairs; got {name}, whose weights differ within a pair or along "
                f"an answer. Use divreg.losses.ddpo, or {name} with DiverseSFTTrainer."
            )

    def _refuse_lost(self) -> None:
        """Refuse a list in which what one part does would be thrown away."""
        if not self.replaces:
            return
        contracts, last = self.pipeline.contracts, self.replaces[-1]
        if "pair_share" not in self.pipeline.ingredients(contracts[last].signals):
            raise ValueError(
                f"{last} takes the place of the loss of texts; got preference pairs, whose loss "
                f"would be lost. Use DiverseSFTTrainer, or divreg.losses.dorpo."
            )
        weighs = [key for key, c in contracts.items() if c.stage == "token_weights"]
        terms = [key for key, c in contracts.items() if c.stage == "loss"]
        others = [*self.replaces[:-1], *weighs, *terms[: terms.index(last)]]
        if self.alpha is not None:
            others.append("spl")
        if others:
            raise ValueError(
                f"{last} takes the place of the loss; got {others[0]} too, which would be lost. "
                f"Keep one of them, or put {last} first."
            )

    def _refuse_spl(self) -> None:
        if self.alpha is None:
            return
        divergence = getattr(self.args, "f_divergence_type", "reverse_kl")
        if divergence != "reverse_kl":
            raise ValueError(
                f"spl splits the reverse KL into entropy and cross-entropy; got "
                f'f_divergence_type={divergence!r}. Use f_divergence_type="reverse_kl".'
            )
        if set(self._losses) == {"sft"}:
            raise ValueError(
                'spl needs a loss with a reference; got loss_type="sft", which has none. '
                'Use loss_type="sigmoid".'
            )

    def _missing(self, stage: str, name: str) -> str | None:
        """Say why a signal cannot be had, in words that end an error message."""
        if name in EXTRAS:
            return "which TRL's own loss head does not compute. Use a loss without it."
        if name == "ref_logprob" and getattr(self.args, "precompute_ref_log_probs", False):
            return (
                "of which precompute_ref_log_probs=True keeps sums only. "
                "Use precompute_ref_log_probs=False."
            )
        if name == "ref_logprob" and stage == "token_weights":
            return "which is scored after the weights are set. Write a method of the loss stage."
        if name in SIGNALS or name in self.pipeline.recipes:
            return None
        if name in TOKEN_SIGNALS | SFT_SIGNALS:
            return "which only fine-tuning on texts has. Use DiverseSFTTrainer."
        if name in ROLLOUT_SIGNALS or name == "advantages":
            return "which comes from rollouts. Use DiverseGRPOTrainer."
        known = sorted({*SIGNALS, *self.pipeline.recipes})
        return f"which nobody computes. {suggest(name, known)}"
