"""Confidence intervals over prompts: what a mean would be with other prompts of the same kind.

Prompts are resampled, not completions: those of one prompt are alike, and drawing them apart would
make every interval too narrow.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

# Cells of one block of resampled values: bounds memory.
_CELLS = 1 << 20


class Interval(NamedTuple):
    """An estimate over prompts and the interval around it.

    Attributes:
        estimate: From the prompts as they are.
        low: Lower end; NaN with fewer than two prompts, which say nothing about the spread.
        high: Upper end; NaN likewise.
        prompts: Prompts that count.
        dropped: Prompts without a value (None or NaN), which do not.
    """

    estimate: float
    low: float
    high: float
    prompts: int
    dropped: int


def mean_interval(
    values: Sequence[float | None], *, level: float = 0.95, draws: int = 2000, seed: int = 0
) -> Interval:
    """Estimate the mean of one number per prompt, and how far it may be off.

    The percentile bootstrap. It is too narrow for few prompts: simulated, a 95 % interval holds the
    true mean in some 84 % of cases with five prompts, 90 % with twelve, 94 % with a hundred, and in
    fewer where the values are skewed. All prompts equal: an interval of no width. No prompt: NaN.

    Args:
        values: One number per prompt; None or NaN where there is none.
        level: Share of resampled means inside, in (0, 1).
        draws: Times the prompts are drawn with replacement.
        seed: Of the draws: the same values and seed give the same interval.

    Raises:
        ValueError: If a value is infinite, or an argument out of range.

    Source:
        Efron, Bootstrap Methods: Another Look at the Jackknife, Annals of Statistics 7, 1979.

    >>> found = mean_interval([0.0, 1.0, None, 1.0, 1.0])
    >>> found.estimate, found.low, found.high, found.prompts, found.dropped
    (0.75, 0.25, 1.0, 4, 1)
    """
    numbers = floats("mean_interval", values)
    kept = numbers[~np.isnan(numbers)]
    means = resampled_means("mean_interval", kept[:, None], draws, seed)[:, 0]
    low, high = middle("mean_interval", means, level)
    estimate = float(kept.mean()) if len(kept) else math.nan
    return Interval(estimate, low, high, len(kept), len(numbers) - len(kept))


def difference_interval(
    after: Sequence[float | None],
    before: Sequence[float | None],
    *,
    level: float = 0.95,
    draws: int = 2000,
    seed: int = 0,
) -> Interval:
    """Estimate the mean change of one number per prompt, and how far it may be off.

    Each prompt is compared with itself: what makes prompts differ cancels, so the interval is
    narrower than those of the two means suggest. If it excludes 0, the prompts agree on a
    direction. Prompts that lack a value on either side are dropped.

    Args:
        after: One number per prompt; None or NaN where there is none.
        before: The same of the same prompts, in the same order.
        level: Share of resampled means inside, in (0, 1).
        draws: Times the prompts are drawn with replacement.
        seed: Of the draws.

    Raises:
        ValueError: If the two are not equally long, a value is infinite, or an argument out of
            range.

    Source:
        Efron, Bootstrap Methods: Another Look at the Jackknife, Annals of Statistics 7, 1979.

    >>> found = difference_interval([0.5, 0.25, None], [0.25, 0.0, 1.0])
    >>> found.estimate, found.low, found.high, found.prompts, found.dropped
    (0.25, 0.25, 0.25, 2, 1)
    """
    if len(after) != len(before):
        raise ValueError(
            f"difference_interval needs the same prompts twice; got {len(after)} and "
            f"{len(before)}. Write None where a prompt has no value."
        )
    change = floats("difference_interval", after) - floats("difference_interval", before)
    return mean_interval(change.tolist(), level=level, draws=draws, seed=seed)


def floats(who: str, values: Sequence[float | None]) -> np.ndarray:
    """Return numbers as float64, with NaN for None.

    Args:
        who: The function that asks, for the message.
        values: Numbers, None or NaN.

    Raises:
        ValueError: If one is infinite.

    >>> floats("example", [1.0, None]).tolist()
    [1.0, nan]
    """
    numbers = np.array([math.nan if v is None else v for v in values], dtype=np.float64)
    if np.isinf(numbers).any():
        raise ValueError(
            f"{who} needs finite numbers; got {numbers[np.isinf(numbers)][0]}. Write None for a "
            f"prompt without a value."
        )
    return numbers


def resampled_means(who: str, values: np.ndarray, draws: int, seed: int) -> np.ndarray:
    """Return the means of every column over resampled rows; rows stay whole, NaN is passed over.

    Args:
        who: The function that asks, for the message.
        values: ``(n, m)``, one row per prompt.
        draws: Times ``n`` rows are drawn with replacement.
        seed: Of the draws.

    Returns:
        ``(draws, m)``; NaN where a column had no number among the rows drawn, and everywhere with
        fewer than two rows.

    Raises:
        ValueError: If ``draws`` is below 1.

    >>> resampled_means("example", np.array([[1.0, 2.0], [1.0, 2.0]]), 2, seed=0).tolist()
    [[1.0, 2.0], [1.0, 2.0]]
    """
    if draws < 1:
        raise ValueError(f"{who} needs at least 1 draw; got {draws}. Use draws=2000.")
    n, m = values.shape
    means = np.full((draws, m), math.nan)
    if n < 2:
        return means
    generator = np.random.default_rng(seed)
    known = ~np.isnan(values)
    complete = bool(known.all())
    filled = np.where(known, values, 0.0)
    block = max(1, _CELLS // (n * m))
    for start in range(0, draws, block):
        rows = generator.integers(n, size=(min(block, draws - start), n))
        count = np.array(n) if complete else known[rows].sum(axis=1)
        whole = filled[rows].sum(axis=1)
        np.divide(whole, count, out=means[start : start + block], where=count > 0)
    return means


def middle(who: str, values: np.ndarray, level: float) -> tuple[float, float]:
    """Return the two ends of the middle ``level`` of some numbers; NaN is passed over.

    Args:
        who: The function that asks, for the message.
        values: ``(n,)``; with no number among them both ends are NaN.
        level: Share inside, in (0, 1).

    Raises:
        ValueError: If ``level`` is not in (0, 1).

    >>> middle("example", np.arange(101.0), 0.5)
    (25.0, 75.0)
    """
    if not 0 < level < 1:
        raise ValueError(f"{who} needs level between 0 and 1; got {level}. Use level=0.95.")
    known = values[~np.isnan(values)]
    if not len(known):
        return math.nan, math.nan
    tail = (1 - level) / 2
    low, high = np.quantile(known, [tail, 1 - tail])
    return float(low), float(high)
