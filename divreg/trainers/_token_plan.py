"""What a run of fine-tuning on texts will do, decided and checked before anything is loaded."""

from typing import Any

from divreg.compose import Intervention
from divreg.signals import PAIRED
from divreg.trainers._by_text import by_text
from divreg.trainers._choice import Choice, suggest
from divreg.trainers._continuations import SIGNALS as GENERATED
from divreg.trainers._continuations import Continuations, configured
from divreg.trainers._head import EXTRAS
from divreg.trainers._logits import FUNCTIONS
from divreg.trainers._plan import ROLLOUT_SIGNALS
from divreg.trainers._tokens import TOKEN_SIGNALS


class TokenPlan(Choice):
    """The choice for a run without rollouts, with every refusal that can be known now.

    Args:
        args: As :class:`Choice`.
        interventions: As :class:`Choice`.
        signals: As :class:`Choice`; ``old_logprob`` as ``{"every": 8}``.
        trainer: Unused: every such trainer is alike.

    Attributes:
        every: Optimizer steps after which the old policy is the current one again; 0 where nobody
            reads its log-probs.
        counts_texts: Whether somebody asks what a text counts.
        continuations: How the model writes texts to train on; None where nobody reads them.
        reads_markers: Whether somebody asks for the markers of annotations.
        by_text: Interventions whose token weights follow from the text alone.
        reads_logits: Whether somebody asks for what the loss head does not say.

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
        self._every: int | None = None
        self._generated: Any = None
        super().__init__(args, interventions, signals)
        self._refuse_stages()
        self._refuse_settings()
        read = self._rehearsed()
        self.reads_logits = bool(read & FUNCTIONS)
        self.counts_texts = "text_share" in read
        self.reads_markers = "markers" in read
        self.by_text = by_text(self.pipeline)
        self.every = (self._every or 8) if "old_logprob" in read else 0
        self.continuations = self._continued(read)
        if self._every and not self.every:
            raise ValueError(
                f"signals['old_logprob'] needs a method that reads it; got "
                f"{self.named or 'no intervention'}. Add divreg.losses.psft, or leave it out."
            )
        self.replaces = self.pipeline.replacing()
        self._refuse_lost()

    def announcement(self) -> str | None:
        """Return the line printed at the start: what acts, and what the logged loss is."""
        if not self.pipeline:
            return None
        return (
            f"divreg: {self.named}. The logged loss is what is minimised; diversity/ce_nats and "
            f"eval_loss are the cross-entropy."
        )

    def check_trainer(self, trainer: Any) -> None:
        """Refuse what only the built trainer shows: other losses, images, sharded sequences."""
        if not self.pipeline:
            return
        sharded = getattr(trainer.accelerator, "parallelism_config", None)
        if any(getattr(sharded, name, False) for name in ("sp_enabled", "cp_enabled")):
            raise ValueError(
                f"{self.named} needs whole sequences; got sequence or context parallelism. "
                f"Use sp_size=1 and cp_size=1."
            )
        self.check_model(trainer, self.named)
        if trainer.compute_loss_func is not None:
            raise ValueError(
                f"{self.named} changes the loss; got a compute_loss_func, which TRL deprecates. "
                f"Write it as a function of the loss stage, interventions=[my_loss]."
            )
        if self.replaces and trainer.aux_loss_enabled:
            raise ValueError(
                f"{self.replaces[0]} takes the place of the loss; got output_router_logits=True, "
                f"whose loss of routers would go with it. Use output_router_logits=False."
            )
        if self.continuations and (trainer.args.packing or trainer.padding_free):
            raise ValueError(
                f"{self.named} needs one text a row, whose beginning the model continues; got "
                f"packing or padding_free. Use packing=False and padding_free=False."
            )

    def _configure(self, signals: dict[str, Any]) -> None:
        self._refuse_rollouts(signals, "fine-tuning on texts")
        if (old := signals.pop("old_logprob", None)) is not None:
            every = old.get("every") if isinstance(old, dict) and len(old) == 1 else None
            if not isinstance(every, int) or every < 2:
                raise ValueError(
                    f"signals['old_logprob'] needs the number of optimizer steps, 2 or more, after "
                    f"which the old policy is renewed; got {old!r}. Write {{'every': 8}}."
                )
            self._every = every
        self._generated = signals.pop("generated", None)
        super()._configure(signals)

    def _continued(self, read: set[str]) -> Continuations | None:
        """Return how the model writes what somebody reads."""
        if not read & GENERATED:
            if self._generated is not None:
                raise ValueError(
                    f"signals['generated'] needs a method that reads it; got "
                    f"{self.named or 'no intervention'}. Add divreg.losses.sequence_unlikelihood, "
                    f"or leave it out."
                )
            return None
        if self.every:
            raise ValueError(
                f"{self.named}: the old policy scores texts of the data before they come; got "
                f"steps on texts that the model writes. Leave psft or the unlikelihood out."
            )
        chosen = configured(self._generated, "continues" in read)
        rows = self.args.per_device_train_batch_size
        if chosen.samples > rows:
            raise ValueError(
                f"signals['generated'] needs room for {chosen.samples} samples of a prompt; got "
                f"per_device_train_batch_size={rows}. Use at least {chosen.samples}."
            )
        return chosen

    def _refuse_stages(self) -> None:
        for known in self.pipeline.contracts.values():
            if known.stage in ("rewards", "advantages"):
                raise ValueError(
                    f"{known.name} changes {known.stage}; got fine-tuning on texts, which has "
                    f"none. Use DiverseGRPOTrainer, or one of divreg.losses."
                )

    def _refuse_settings(self) -> None:
        args = self.args
        if not self.pipeline:
            return
        if getattr(args, "loss_type", "nll") != "nll":
            raise ValueError(
                f'{self.named} needs loss_type="nll"; got {args.loss_type!r}. Use loss_type="nll" '
                f"and put divreg.losses.dft into interventions."
            )
        if getattr(args, "label_smoothing_factor", 0):
            raise ValueError(
                f"{self.named} needs the loss of TRL's head; got label_smoothing_factor="
                f"{args.label_smoothing_factor}. Put divreg.losses.label_smoothing into "
                f"interventions."
            )

    def _refuse_lost(self) -> None:
        """Refuse a list in which what one intervention does would be thrown away."""
        if not self.replaces:
            return
        contracts = self.pipeline.contracts
        last = self.replaces[-1]
        weighs = [key for key, c in contracts.items() if c.stage == "token_weights"]
        terms = [key for key, c in contracts.items() if c.stage == "loss"]
        before = terms[: terms.index(last)]
        if len(self.replaces) > 1:
            raise ValueError(
                f"{last} takes the place of the loss; got {self.replaces[0]}, which does too. "
                f"Keep one of them."
            )
        if before:
            raise ValueError(
                f"{last} takes the place of the loss; got {before[0]} before it, which would be "
                f"lost. Put {last} first."
            )
        if weighs:
            raise ValueError(
                f"{last} takes the place of the loss; got {weighs[0]}, which weighs the loss that "
                f"it replaces. Keep one of them."
            )

    def _missing(self, stage: str, name: str) -> str | None:  # noqa: ARG002
        """Say why a signal cannot be had, in words that end an error message."""
        if name in EXTRAS and self.head != "divreg":
            return (
                "which TRL's own loss head does not compute. Use divreg's: `head: divreg` in the "
                "`divreg:` block, or divreg={'head': 'divreg'} in the config."
            )
        if name in TOKEN_SIGNALS | GENERATED or name in self.pipeline.recipes:
            return None
        if name in PAIRED:
            return "which only preference pairs have. Use DiverseDPOTrainer."
        if name in ROLLOUT_SIGNALS or name == "advantages":
            return "which comes from rollouts. Use DiverseGRPOTrainer."
        known = sorted({*TOKEN_SIGNALS, *GENERATED, *self.pipeline.recipes})
        return f"which nobody computes. {suggest(name, known)}"
