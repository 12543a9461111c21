"""Every number of ``divreg measure``: what it reads of a prompt's samples, and what it says."""

import functools
from collections.abc import Callable, Collection, Hashable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Literal

import numpy as np

from divreg.metrics import (
    answer_entropy,
    ast_diversity,
    bleu,
    branching_factor,
    compression,
    cosine,
    duplicates,
    ead,
    effective_diversity,
    format_shares,
    ngrams,
    noveltybench,
    pass_at_k,
    richness,
    semantic_entropy,
    vendi,
)

VOCABULARY = 50_257  # of expectation-adjusted distinct: one for all, or sets cannot be compared


@dataclass(frozen=True)
class Seen:
    """The samples of one prompt, as the numbers read them; None for what there is not.

    Attributes:
        texts: What they say, ``n`` of them.
        classes: Which of them say the same.
        k: The number of samples that counts are brought to.
        correct: Which are right.
        embedding: ``(n, d)``.
        logprob: Mean log-probability of the tokens of each, nats.
        whole: True if they were drawn from all tokens, so that ``logprob`` is of what they came
            from.
        entropy: Mean entropy of the next token, nats.
        top_mass: Mean probability of the likeliest next token.
        step_entropies: Entropy of the next token at each token, cut to the top 0.9, nats.
        utility: How good each is.
        nli: NLI diversity of the first k, computed for many prompts at once.
        programs: Subtrees of the syntax tree of each; None for one that is no program.
        formats: The format of each.
    """

    texts: Sequence[str]
    classes: Sequence[Hashable]
    k: int
    correct: Sequence[bool] | None = None
    embedding: np.ndarray | None = None
    logprob: Sequence[float] | None = None
    whole: bool | None = None
    entropy: Sequence[float] | None = None
    top_mass: Sequence[float] | None = None
    step_entropies: Sequence[Sequence[float]] | None = None
    utility: Sequence[float] | None = None
    nli: float | None = None
    programs: Sequence[Mapping[str, int] | None] | None = None
    formats: Sequence[str] | None = None

    @property
    def there(self) -> frozenset[str]:
        """The names of what there is."""
        return frozenset(f.name for f in fields(self) if getattr(self, f.name) is not None)

    @functools.cached_property
    def head(self) -> "Seen":
        """The first k samples."""
        values = ((f.name, getattr(self, f.name)) for f in fields(self))
        short = {name: x[: self.k] for name, x in values if isinstance(x, Sequence | np.ndarray)}
        return replace(self, **short)

    def of(self, name: str) -> Any:
        """Return what a number needs, which is there."""
        found = getattr(self, name)
        assert found is not None, name
        return found

    @property
    def right(self) -> Sequence[bool]:
        """Which are right, for numbers that need it."""
        return self.of("correct")

    @property
    def right_vectors(self) -> np.ndarray | None:
        """The embedding of right samples; None for fewer than two of them."""
        chosen = self.of("embedding")[np.array(self.right, dtype=bool)]
        return chosen if len(chosen) > 1 else None

    def code(self, *, right: bool) -> float:
        """AST diversity of the programs, or of the right ones; NaN for fewer than two."""
        chosen = [
            program
            for i, program in enumerate(self.of("programs"))
            if program is not None and (not right or self.right[i])
        ]
        return ast_diversity.multiset_diversity(chosen) if len(chosen) > 1 else np.nan


@dataclass(frozen=True)
class Number:
    """One number of a prompt.

    Attributes:
        name: In tables and in JSON; ``_at_k``: brought to k samples, None with fewer.
        of: The function.
        needs: What of :class:`Seen` has to be there beside texts and classes.
        unit: What it counts, or what it is a share of.
        higher: What a higher value means.
        least: Samples from which on it says anything.
        first: Whether it depends on how many samples there are: the first k are read then.
    """

    name: str
    of: Callable[[Seen], float]
    needs: tuple[str, ...]
    unit: str
    higher: Literal["more variety", "less variety", "better answers", "neither"]
    least: int = 2
    first: bool = False

    def value(self, seen: Seen) -> float | None:
        """Return the number of a prompt; None where its samples are too few, or it has none."""
        least = seen.k if self.first or self.name.endswith("_at_k") else self.least
        if len(seen.texts) < least:
            return None
        value = float(self.of(seen.head if self.first else seen))
        return value if np.isfinite(value) else None


def available(there: Collection[str], formats: Sequence[str] = ()) -> list[Number]:
    """Return the numbers that can be had.

    Args:
        there: What of :class:`Seen` there is.
        formats: The formats whose shares are wanted.
    """
    every = (*NUMBERS, *map(of_format, formats))
    return [number for number in every if set(number.needs) <= set(there)]


@functools.cache
def of_format(name: str) -> Number:
    """Return the number that says how much of the samples has a format."""

    def share(seen: Seen) -> float:
        return format_shares.format_shares(seen.of("formats"), [name])[name]

    return Number(f"format_{name}", share, ("formats",), "share of samples", "neither", least=1)


def _mean(name: str) -> Callable[[Seen], float]:
    return lambda s: float(np.mean(s.of(name)))


_vendi = vendi.vendi_score_from_embeddings

NUMBERS = (
    Number(
        "distinct_at_k", lambda s: richness.rarefied_distinct(s.classes, s.k),
        (), "different ones among k samples", "more variety",
    ),
    Number(
        "different_pairs", lambda s: richness.simpson_unbiased(s.classes),
        (), "share of pairs", "more variety",
    ),
    Number(
        "class_entropy", lambda s: answer_entropy.answer_entropy_mm_nats(s.classes),
        (), "nats, Miller-Madow", "more variety", first=True,
    ),
    Number(
        "coverage", lambda s: richness.coverage_frac(s.classes),
        (), "share of it seen, Good-Turing", "less variety", first=True,
    ),
    Number(
        "distinct_2", lambda s: ngrams.distinct_n_plain(s.texts, 2),
        (), "share of word pairs", "more variety", first=True,
    ),
    Number(
        "ead", lambda s: ead.ead(s.texts, VOCABULARY),
        (), "distinct n-grams over expected", "more variety", first=True,
    ),
    Number(
        "self_bleu", lambda s: bleu.self_bleu(s.texts),
        (), "BLEU-4 with the others", "less variety", first=True,
    ),
    Number(
        "compression", lambda s: compression.compression_ratio(s.texts),
        (), "bytes over compressed ones", "less variety", first=True,
    ),
    Number(
        "duplicates", lambda s: duplicates.duplicate_frac(s.texts),
        (), "share of samples", "less variety", first=True,
    ),
    Number(
        "cosine_diversity", lambda s: cosine.cosine_diversity(s.of("embedding")),
        ("embedding",), "1 - mean cosine", "more variety",
    ),
    Number(
        "vendi", lambda s: _vendi(s.of("embedding")),
        ("embedding",), "effective number of samples", "more variety", first=True,
    ),
    Number(
        "pass_at_1", lambda s: pass_at_k.pass_at_k(len(s.right), sum(s.right), 1),
        ("correct",), "probability", "better answers", least=1,
    ),
    Number(
        "pass_at_k", lambda s: pass_at_k.pass_at_k(len(s.right), sum(s.right), s.k),
        ("correct",), "probability", "better answers",
    ),
    Number(
        "distinct_correct_at_k",
        lambda s: effective_diversity.expected_distinct_valid(s.classes, s.right, s.k),
        ("correct",), "different right ones among k", "more variety",
    ),
    Number(
        "different_pairs_correct",
        lambda s: effective_diversity.effective_conditional(s.classes, s.right),
        ("correct",), "share of pairs of right ones", "more variety",
    ),
    Number(
        "cosine_diversity_correct",
        lambda s: np.nan if (v := s.right_vectors) is None else cosine.cosine_diversity(v),
        ("correct", "embedding"), "1 - mean cosine of right ones", "more variety",
    ),
    Number(
        "nli_diversity", lambda s: s.of("nli"),
        ("nli",), "1 - entailment + contradiction", "more variety",
    ),
    Number(
        "ast_diversity", lambda s: s.code(right=False),
        ("programs",), "share of subtrees not shared", "more variety",
    ),
    Number(
        "ast_diversity_correct", lambda s: s.code(right=True),
        ("programs", "correct"), "the same of right ones", "more variety",
    ),
    Number(
        "utility_at_k", lambda s: noveltybench.utility_k(s.classes, s.of("utility")),
        ("utility",), "worth of k to a patient reader", "better answers", first=True,
    ),
    Number(
        "semantic_entropy",
        lambda s: semantic_entropy.semantic_entropy_discrete_nats(s.classes),
        ("logprob",), "nats over classes, by count", "more variety", first=True,
    ),
    Number(
        "semantic_entropy_rao",
        lambda s: semantic_entropy.semantic_entropy_rao_nats(s.classes, s.of("logprob")),
        ("logprob",), "nats over classes, by probability", "more variety", first=True,
    ),
    Number(
        "token_entropy", _mean("entropy"),
        ("entropy",), "nats, mean over tokens", "more variety", least=1,
    ),
    Number(
        "top_mass", _mean("top_mass"),
        ("top_mass",), "probability of the likeliest token", "less variety", least=1,
    ),
    Number(
        "branching_factor",
        lambda s: branching_factor.branching_factor(s.of("step_entropies")),
        ("step_entropies",), "next tokens, of the top 0.9", "more variety", least=4,
    ),
    Number(
        "branching_factor_aep",
        lambda s: branching_factor.branching_factor_aep([[x] for x in s.of("logprob")]),
        ("logprob", "whole"), "next tokens, of all; long texts", "more variety", least=1,
    ),
)  # fmt: skip
