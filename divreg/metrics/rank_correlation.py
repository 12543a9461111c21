"""Whether one thing rises with another, whatever the shape: Spearman's rank correlation."""

import math
from collections.abc import Sequence

import numpy as np


def rank_correlation(x: Sequence[float], y: Sequence[float]) -> float:
    """Measure how far ``y`` rises wherever ``x`` does: the correlation of their ranks.

    Range [-1, 1], dimensionless: 1 if the order of both is the same, -1 if it is the reverse. Equal
    values have the mean of their ranks. Where all values of one are equal, or with fewer than two,
    there is none: NaN. A few points in order are no proof: three are so by chance in one of six
    cases.

    Args:
        x: ``n`` finite numbers.
        y: As many.

    Raises:
        ValueError: If they are not equally many, or one is not finite.

    Source:
        Spearman, The proof and measurement of association between two things, American Journal of
        Psychology 15, 1904.

    >>> rank_correlation([1, 10, 100], [3, 2, 1]), rank_correlation([1, 2, 3], [5, 5, 9])
    (-1.0, 0.8660254037844387)
    """
    a, b = (np.asarray(values, dtype=np.float64) for values in (x, y))
    if a.shape != b.shape or a.ndim != 1 or not np.isfinite([a, b]).all():
        raise ValueError(
            f"rank_correlation needs as many finite numbers twice; got shapes {a.shape} and "
            f"{b.shape}. Leave out what has no number on one side."
        )
    if len(a) < 2:
        return math.nan
    one, other = (_ranks(values) - (len(a) + 1) / 2 for values in (a, b))
    size = math.sqrt(float(one @ one) * float(other @ other))
    return min(1.0, max(-1.0, float(one @ other) / size)) if size else math.nan


def _ranks(values: np.ndarray) -> np.ndarray:
    """Return ranks from 1; those of equal values are their mean."""
    _, at, count = np.unique(values, return_inverse=True, return_counts=True)
    return (np.cumsum(count) - (count - 1) / 2)[at]
