"""Where the diversity between two checkpoints went: fewer errors, or fewer right answers.

Diversity of all completions falls for two reasons. Wrong answers, which differ from each other,
become fewer: that is quality control. And right answers become more alike: that is what remains,
genuine narrowing.
"""

import math
from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np

from divreg.metrics.interval import Interval, floats, middle, resampled_means

# Diversity of all completions of one prompt, and of its correct ones (None below two of them).
Pair = tuple[float | None, float | None]
Pairing = Literal["paired", "unpaired"]

# A total below is 0: two means of the same numbers differ by their rounding.
_ROUNDING = 1e-12


class Decomposition(NamedTuple):
    """A loss of diversity in two parts, in the unit of the diversity; NaN without prompts.

    Attributes:
        total: Diversity of all completions before, minus after. Negative: it rose.
        quality: How much less wrong answers add to the diversity: ``total - residual``.
        residual: Diversity of correct completions before, minus after: genuine narrowing.
        genuine_frac: ``residual / total``; NaN where ``total`` is not above 0 (rounding aside).
            Below 0 where correct answers became more diverse; above 1 where ``quality`` is below 0.
        pairs: Prompts with all four values.
        prompts: All prompts.
    """

    total: float
    quality: float
    residual: float
    genuine_frac: float
    pairs: int
    prompts: int


class DecompositionIntervals(NamedTuple):
    """Intervals of the parts, over prompts.

    Attributes:
        total: Of ``Decomposition.total``.
        quality: Of ``Decomposition.quality``.
        residual: Of ``Decomposition.residual``.
        genuine_frac: Of ``Decomposition.genuine_frac``, over the draws where it exists.
        undefined_frac: Share of draws without it, since their total is not above 0, in [0, 1].
            Above a few percent, read ``residual`` and ``total`` and leave their ratio.
    """

    total: Interval
    quality: Interval
    residual: Interval
    genuine_frac: Interval
    undefined_frac: float


def decomposition(
    base: Sequence[Pair], post: Sequence[Pair], *, pairing: Pairing = "paired"
) -> Decomposition:
    r"""Split the loss of diversity from one checkpoint to another.

    .. math::

        total = D_a^{base} - D_a^{post}, \quad residual = D_c^{base} - D_c^{post}, \quad
        quality = total - residual

    ``D_a`` is the diversity of all completions of a prompt, ``D_c`` that of its correct ones, both
    means over prompts. Any measure will do, the same on both sides: cosine distance, Vendi score.

    ``"paired"`` takes the prompts with all four values, so that every mean is over the same ones.
    ``"unpaired"`` takes for each mean whatever prompts have it, as the paper's tables do; prompts
    that only one checkpoint can answer then move the result.

    Args:
        base: ``(D_a, D_c)`` of each prompt before; None or NaN where there is none: fewer than two
            completions, or fewer than two correct ones.
        post: The same of the same prompts after, in the same order.
        pairing: Which prompts each mean is over.

    Raises:
        ValueError: If the two are not equally long, a value is infinite, or ``pairing`` is unknown.

    Source:
        Karouzos et al., Where does output diversity collapse in post-training?, arXiv:2604.16027,
        quality-filtered diversity. The subtraction is not in its released code, and its published
        fractions do not follow from its published means.

    >>> base = [(0.40, 0.30), (0.50, 0.20), (0.30, None)]
    >>> post = [(0.20, 0.18), (0.10, 0.08), (0.12, 0.06)]
    >>> found = decomposition(base, post)
    >>> [round(x, 6) for x in found[:4]], found.pairs, found.prompts
    ([0.3, 0.18, 0.12, 0.4], 2, 3)
    >>> [round(x, 6) for x in decomposition(base, post, pairing="unpaired")[:4]]
    [0.26, 0.116667, 0.143333, 0.551282]
    """
    table = _table("decomposition", base, post, pairing)
    known = ~np.isnan(table)
    count = known.sum(axis=0)
    whole = np.where(known, table, 0.0).sum(axis=0)
    means = np.divide(whole, count, out=np.full(4, math.nan), where=count > 0)
    parts = [float(x) for x in _parts(means[None])[0]]
    return Decomposition(*parts, pairs=int(known.all(axis=1).sum()), prompts=len(base))


def decomposition_intervals(
    base: Sequence[Pair],
    post: Sequence[Pair],
    *,
    pairing: Pairing = "paired",
    level: float = 0.95,
    draws: int = 2000,
    seed: int = 0,
) -> DecompositionIntervals:
    """Estimate how far the parts of :func:`decomposition` may be off, for the choice of prompts.

    The percentile bootstrap over prompts; the four values of a prompt stay together, so the parts
    of every draw add up. With fewer than two prompts both ends are NaN.

    Args:
        base: ``(D_a, D_c)`` of each prompt before; None or NaN where there is none.
        post: The same of the same prompts after, in the same order.
        pairing: Which prompts each mean is over.
        level: Share of draws inside, in (0, 1).
        draws: Times the prompts are drawn with replacement.
        seed: Of the draws.

    Raises:
        ValueError: As :func:`decomposition`, or if ``level`` or ``draws`` is out of range.

    Source:
        Efron, Bootstrap Methods: Another Look at the Jackknife, Annals of Statistics 7, 1979.

    >>> found = decomposition_intervals([(0.5, 0.25)] * 3, [(0.25, 0.125)] * 3)
    >>> found.genuine_frac.low, found.genuine_frac.high, found.undefined_frac
    (0.5, 0.5, 0.0)
    """
    point = decomposition(base, post, pairing=pairing)
    table = _table("decomposition_intervals", base, post, pairing)
    drawn = _parts(resampled_means("decomposition_intervals", table, draws, seed))
    ends = [middle("decomposition_intervals", column, level) for column in drawn.T]
    dropped = point.prompts - len(table)
    total, quality, residual, genuine = (
        Interval(value, low, high, len(table), dropped)
        for value, (low, high) in zip(point[:4], ends, strict=True)
    )
    undefined = float(np.isnan(drawn[:, 3]).mean())
    return DecompositionIntervals(total, quality, residual, genuine, undefined)


def _table(who: str, base: Sequence[Pair], post: Sequence[Pair], pairing: str) -> np.ndarray:
    """Return ``(n, 4)``: all and correct before, all and correct after; one row per prompt."""
    if pairing not in ("paired", "unpaired"):
        raise ValueError(
            f"{who} needs pairing 'paired' or 'unpaired'; got {pairing!r}. Use pairing='paired'."
        )
    if len(base) != len(post):
        raise ValueError(
            f"{who} needs the same prompts before and after; got {len(base)} and {len(post)}. "
            f"Write (None, None) where a prompt has no value."
        )
    sides = [floats(who, [row[i] for row in side]) for side in (base, post) for i in (0, 1)]
    table = np.stack(sides, axis=1)
    return table[~np.isnan(table).any(axis=1)] if pairing == "paired" else table


def _parts(means: np.ndarray) -> np.ndarray:
    """Return total, quality, residual and genuine fraction of rows of four means."""
    total, residual = means[:, 0] - means[:, 2], means[:, 1] - means[:, 3]
    fraction = np.full(len(means), math.nan)
    np.divide(residual, total, out=fraction, where=total > _ROUNDING)
    return np.stack([total, total - residual, residual, fraction], axis=1)
