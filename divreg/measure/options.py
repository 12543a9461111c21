"""How generations are measured."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from divreg.measure.judges import Judge
from divreg.metrics.format_shares import format_names


@dataclass(frozen=True)
class Options:
    """How generations are measured.

    Attributes:
        by: Column whose values are sets of their own.
        k: Samples that counts are brought to; None: as many as most prompts have.
        correct: ``COLUMN>=X``; None looks for a column ``correct``.
        classes: Column that says which samples say the same; None compares their texts.
        encoder: Embeds texts; None measures no embeddings.
        keep_reasoning: Whether reasoning blocks count.
        seed: Of the intervals.
        nli: Says what ordered pairs of sentences are to each other; None measures no NLI diversity.
        judge: Makes the classes, in place of ``classes``.
        utility: Column that says how good each sample is.
        code: Whether samples are Python programs.
        formats: Regular expressions of formats, by name.
        centres: Whether the mean embedding of every prompt is kept.
    """

    by: str | None = None
    k: int | None = None
    correct: str | None = None
    classes: str | None = None
    encoder: Any = None
    keep_reasoning: bool = False
    seed: int = 0
    nli: Any = None
    judge: Judge | None = None
    utility: str | None = None
    code: bool = False
    formats: Mapping[str, str] | None = None
    centres: bool = False

    @property
    def classes_words(self) -> str:
        """Which samples say the same, in words."""
        if self.judge is not None:
            facts = self.judge.facts
            return f"judged by {facts['model']}, from {facts['threshold']:g} on"
        return self.classes or "text: equal up to 64 characters, else 3-gram overlap >= 0.5"

    @property
    def format_names(self) -> list[str]:
        """Every format whose share is wanted."""
        return [] if self.formats is None else format_names(self.formats)
