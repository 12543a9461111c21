"""What a user chose, in code or in the config's ``divreg:``, the same for every trainer."""

import difflib
from collections.abc import Callable
from typing import Any

from divreg.compose import Intervention
from divreg.pipeline import Pipeline
from divreg.signals import PAIRED

OF_ROLLOUTS = ("correct", "answer", "embedding")
"""Signals that only completions have, and the user configures."""


class Choice:
    """The interventions of a run, its signals, its loss head and its monitor.

    Args:
        args: The trainer's config; its field ``divreg`` may name everything below.
        interventions: What the user passed; None means "not said", an empty list means none.
        signals: What the user configured; see ``divreg.signals``.

    Attributes:
        configured: Every signal that the user configured, by name, for the records.
        head: The loss head: ``trl`` or ``divreg``.
        alpha: The coefficient that ``spl`` gives the entropy; None where it has that of the KL.
        monitor: Arguments of ``CollapseMonitor``; False or None for none.

    Raises:
        ValueError: For interventions in two places, or a signal that is configured wrongly.
    """

    def __init__(
        self,
        args: Any,
        interventions: list[Intervention] | None,
        signals: dict[str, Any] | None,
    ):
        from divreg import spec

        settings = spec.load(getattr(args, "divreg", None))
        if interventions is not None and settings.interventions is not None:
            raise ValueError(
                "the trainer needs one list of interventions; got one as an argument and one in "
                "the config's `divreg`. Keep one of them."
            )
        chosen = settings.interventions if interventions is None else list(interventions)
        self.args, self.head = args, settings.head
        self.alpha = None if settings.spl is None else self._alpha(settings.spl)
        chosen = self._unsaid() if chosen is None else chosen
        self.recipes: dict[str, Callable[..., Any]] = {}
        self.configured = {**settings.signals, **(signals or {})}
        self._configure(dict(self.configured))
        self.pipeline = Pipeline(chosen, self.recipes)
        self.monitor = self._unwatched() if settings.monitor is None else settings.monitor

    @property
    def named(self) -> str:
        """The interventions with their hyper-parameters, as a user would write them."""
        return ", ".join(str(c) for c in self.pipeline.contracts.values())

    def announcement(self) -> str | None:
        """Return the line printed at the start: what acts."""
        return f"divreg: {self.named}." if self.pipeline else None

    def check_trainer(self, trainer: Any) -> None:
        """Refuse what only the built trainer shows."""
        raise NotImplementedError

    def check_model(self, trainer: Any, who: str) -> None:
        """Refuse a model whose columns are not the tokens of texts, for who reads them."""
        if trainer._is_vlm:
            raise ValueError(
                f"{who} needs a model of texts; got a processor for images. "
                f"Pass the model's tokenizer as processing_class."
            )
        peft = getattr(trainer.model, "active_peft_config", None)
        if getattr(peft, "is_prompt_learning", False):
            raise ValueError(
                f"{who} needs one column a token; got prompt tuning, which adds some. "
                f"Use LoraConfig."
            )

    def _rehearsed(self) -> set[str]:
        """Try every intervention on random rows, and return the signals that the loss needs."""
        self.pipeline.rehearse(self._missing)
        wanted = self.pipeline.wanted("token_weights", "loss")
        return self.pipeline.ingredients(wanted) | wanted

    def _missing(self, stage: str, name: str) -> str | None:
        """Say why a signal cannot be had, in words that end an error message."""
        raise NotImplementedError

    def _refuse_rollouts(self, signals: dict[str, Any], data: str) -> None:
        """Refuse signals of completions where training has none."""
        for name in OF_ROLLOUTS:
            if name in signals:
                raise ValueError(
                    f"signals[{name!r}] is about completions; got {data}. Give it to the monitor, "
                    f"which samples some: "
                    f"CollapseMonitor({name if name != 'embedding' else 'partition'}=...)."
                )

    def _alpha(self, spl: Any) -> float:
        """Return the coefficient that ``spl`` gives the entropy; refused without pairs."""
        raise ValueError(
            f"spl is about preference pairs; got {type(self.args).__name__} and spl={spl!r}. "
            f"Use DiverseDPOTrainer, or leave it out."
        )

    def _unsaid(self) -> list[Intervention]:
        """Return what runs where nobody said what should."""
        return []

    def _unwatched(self) -> dict[str, Any] | None:
        """Return the monitor's arguments where nobody said whether there should be one."""
        return None

    def _configure(self, signals: dict[str, Any]) -> None:
        """Take in the user's signals: those left are functions of others."""
        for name, recipe in signals.items():
            if name in PAIRED:
                raise ValueError(
                    f"signals[{name!r}] is about preference pairs; got {type(self.args).__name__}. "
                    f"Use DiverseDPOTrainer, or leave it out."
                )
            if not callable(recipe):
                raise ValueError(
                    f"signals[{name!r}] needs a function of signals; got {recipe!r}. "
                    f"Write signals={{'partition': divreg.signals.by_answer}}, for example."
                )
        self.recipes = signals


def suggest(name: str, known: list[str]) -> str:
    """Return the end of a message about a name that is not known."""
    close = difflib.get_close_matches(name, known, 1)
    return f"Did you mean {close[0]!r}?" if close else f"Known: {', '.join(known)}."
