"""Every number of ``divreg measure``: what it reads of a prompt's samples, and what it says."""

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from divreg.metrics import (
    answer_entropy,
    bleu,
    compression,
    cosine,
    duplicates,
    ead,
    effective_diversity,
    ngrams,
    pass_at_k,
    richness,
    vendi,
)

VOCABULARY = 50_257  # of expectation-adjusted distinct: one for all, or sets cannot be compared
Needs = Literal["texts", "correct", "embedding", "both"]


@dataclass(frozen=True)
class Seen:
    """The samples of one prompt, as the numbers read them.

    Attributes:
        texts: What they say, ``n`` of them.
        classes: Which of them say the same.
        k: The number of samples that counts are brought to.
        correct: Which are right; None where nobody says.
        embedding: ``(n, d)``; None without an encoder.
    """

    texts: Sequence[str]
    classes: Sequence[Hashable]
    k: int
    correct: Sequence[bool] | None = None
    embedding: np.ndarray | None = None

    def head(self) -> "Seen":
        """Return the first k samples."""
        correct = None if self.correct is None else self.correct[: self.k]
        embedding = None if self.embedding is None else self.embedding[: self.k]
        return Seen(self.texts[: self.k], self.classes[: self.k], self.k, correct, embedding)

    @property
    def right(self) -> Sequence[bool]:
        """Which are right, for numbers that need it."""
        assert self.correct is not None
        return self.correct

    @property
    def right_vectors(self) -> np.ndarray | None:
        """The embedding of right samples; None for fewer than two of them."""
        chosen = self.vectors[np.array(self.right, dtype=bool)]
        return chosen if len(chosen) > 1 else None

    @property
    def vectors(self) -> np.ndarray:
        """The embedding, for numbers that need it."""
        assert self.embedding is not None
        return self.embedding


@dataclass(frozen=True)
class Number:
    """One number of a prompt.

    Attributes:
        name: In tables and in JSON; ``_at_k``: brought to k samples, None with fewer.
        of: The function.
        needs: What has to be there, texts always are; ``both``: correctness and an embedding.
        unit: What it counts, or what it is a share of.
        higher: What a higher value means.
        least: Samples from which on it says anything.
        first: Whether it depends on how many samples there are: the first k are read then.
    """

    name: str
    of: Callable[[Seen], float]
    needs: Needs
    unit: str
    higher: Literal["more variety", "less variety", "better answers"]
    least: int = 2
    first: bool = False

    def value(self, seen: Seen) -> float | None:
        """Return the number of a prompt; None where its samples are too few, or it has none."""
        least = seen.k if self.first or self.name.endswith("_at_k") else self.least
        if len(seen.texts) < least:
            return None
        value = float(self.of(seen.head() if self.first else seen))
        return value if np.isfinite(value) else None


def available(*, correct: bool, embedding: bool) -> list[Number]:
    """Return the numbers that can be had."""
    there = {"texts": True, "correct": correct, "embedding": embedding}
    there["both"] = correct and embedding
    return [number for number in NUMBERS if there[number.needs]]


_vendi = vendi.vendi_score_from_embeddings

NUMBERS = (
    Number(
        "distinct_at_k", lambda s: richness.rarefied_distinct(s.classes, s.k),
        "texts", "different ones among k samples", "more variety",
    ),
    Number(
        "different_pairs", lambda s: richness.simpson_unbiased(s.classes),
        "texts", "share of pairs", "more variety",
    ),
    Number(
        "class_entropy", lambda s: answer_entropy.answer_entropy_mm_nats(s.classes),
        "texts", "nats, Miller-Madow", "more variety", first=True,
    ),
    Number(
        "coverage", lambda s: richness.coverage_frac(s.classes),
        "texts", "share of it seen, Good-Turing", "less variety", first=True,
    ),
    Number(
        "distinct_2", lambda s: ngrams.distinct_n_plain(s.texts, 2),
        "texts", "share of word pairs", "more variety", first=True,
    ),
    Number(
        "ead", lambda s: ead.ead(s.texts, VOCABULARY),
        "texts", "distinct n-grams over expected", "more variety", first=True,
    ),
    Number(
        "self_bleu", lambda s: bleu.self_bleu(s.texts),
        "texts", "BLEU-4 with the others", "less variety", first=True,
    ),
    Number(
        "compression", lambda s: compression.compression_ratio(s.texts),
        "texts", "bytes over compressed ones", "less variety", first=True,
    ),
    Number(
        "duplicates", lambda s: duplicates.duplicate_frac(s.texts),
        "texts", "share of samples", "less variety", first=True,
    ),
    Number(
        "cosine_diversity", lambda s: cosine.cosine_diversity(s.vectors),
        "embedding", "1 - mean cosine", "more variety",
    ),
    Number(
        "vendi", lambda s: _vendi(s.vectors),
        "embedding", "effective number of samples", "more variety", first=True,
    ),
    Number(
        "pass_at_1", lambda s: pass_at_k.pass_at_k(len(s.right), sum(s.right), 1),
        "correct", "probability", "better answers", least=1,
    ),
    Number(
        "pass_at_k", lambda s: pass_at_k.pass_at_k(len(s.right), sum(s.right), s.k),
        "correct", "probability", "better answers",
    ),
    Number(
        "distinct_correct_at_k",
        lambda s: effective_diversity.expected_distinct_valid(s.classes, s.right, s.k),
        "correct", "different right ones among k", "more variety",
    ),
    Number(
        "different_pairs_correct",
        lambda s: effective_diversity.effective_conditional(s.classes, s.right),
        "correct", "share of pairs of right ones", "more variety",
    ),
    Number(
        "cosine_diversity_correct",
        lambda s: np.nan if (v := s.right_vectors) is None else cosine.cosine_diversity(v),
        "both", "1 - mean cosine of right ones", "more variety",
    ),
)  # fmt: skip
