"""Choose training data that is best in different ways, not the best in one."""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike


class Axes(NamedTuple):
    """Scores of many rows, turned to axes that are uncorrelated.

    Attributes:
        values: ``(n, k)``: each row on each axis, 0 on average, in standard deviations of one
            score; the axis of most variance first.
        loadings: ``(k, m)``: how much of each score is in each axis; every row has length 1.
        variance_frac: ``(k,)``: share of the variance of all scores that is on each axis.
    """

    values: np.ndarray
    loadings: np.ndarray
    variance_frac: np.ndarray


class Selection(NamedTuple):
    """Rows that were selected.

    Attributes:
        rows: Positions, in their order, each once.
        by_axis: Positions that each axis selected, its best first.
        overlap_frac: Share of ``rows`` that more than one axis selected.
    """

    rows: list[int]
    by_axis: list[list[int]]
    overlap_frac: float


def principal_axes(scores: ArrayLike) -> Axes:
    """Turn several scores of every row into uncorrelated ones: principal component analysis.

    Args:
        scores: ``(n, m)``: ``m`` scores of ``n`` rows, any units; higher is better in each. They
            are standardised; one that is the same for all rows says nothing and has loading 0.

    Returns:
        As many axes as there are independent scores. Each points to where the sum of the scores
        grows; where it does not, to where the score with the largest loading does.

    Raises:
        ValueError: If a score is not finite, or all rows are alike.

    Source:
        He et al., Learning from the Best, Differently: A Diversity-Driven Rethinking on Data
        Selection (ODiS), arXiv:2510.18909: scores of quality, decorrelated by PCA.

    Differs from the paper:
        That scores are standardised and which way an axis points are ours; the paper was read in
        its abstract and reviews only. Its models that predict an axis from a text are left out.

    >>> principal_axes([[1, 10], [2, 20], [3, 30]]).variance_frac
    array([1.])
    """
    x = np.array(scores, dtype=np.float64)
    if x.ndim != 2 or not np.isfinite(x).all():
        raise ValueError(
            f"principal_axes needs finite scores of shape (rows, scores); got shape {x.shape}, "
            f"{int((~np.isfinite(x)).sum())} of them not finite. Leave those rows out."
        )
    spread = x.std(axis=0)
    told = spread > 1e-12 * np.maximum(1.0, np.abs(x).max(axis=0, initial=0.0))
    if not told.any():
        raise ValueError(
            f"principal_axes needs rows that differ; got {len(x)} that are all alike. Use scores "
            f"that tell them apart."
        )
    z = np.where(told, (x - x.mean(axis=0)) / np.where(told, spread, 1.0), 0.0)
    _, sizes, loadings = np.linalg.svd(z, full_matrices=False)
    real = sizes > 1e-9 * sizes[0]
    sizes, loadings = sizes[real], loadings[real]
    loadings = loadings * np.array([[_direction(row)] for row in loadings])
    return Axes(z @ loadings.T, loadings, sizes**2 / (sizes**2).sum())


def select_per_axis(scores: ArrayLike, k: int, *, axes: int = 4, least: float = 0.0) -> Selection:
    """Select the best ``k`` rows of each axis: best in different ways.

    Taking the best rows of one number, or of a mean, takes rows that are good in the same way. An
    axis beyond the first sets one score against another, so that rows can be far along it that are
    bad in all: ``least`` keeps those out.

    Args:
        scores: ``(n, m)``, see :func:`principal_axes`.
        k: Rows that each axis selects; of equal ones the earlier.
        axes: Most axes that select, those of most variance. More than four did not help in the
            paper, as an account of it says.
        least: Mean of its standardised scores that a row has to have; 0 is that of all rows, minus
            infinity lets every row in.

    Returns:
        At most ``k * axes`` rows: those that several axes select are there once.

    Raises:
        ValueError: If ``k`` is not in 1 to ``n``, ``axes`` is less than 1, or no row is good
            enough.

    Source:
        He et al., arXiv:2510.18909, which reports an overlap below 2 %. It has a threshold on a
        joint score too; this one is ours.

    >>> select_per_axis([[9, 6], [8, 8], [0, 3], [1, 1]], 1)  # their sum, then their difference
    Selection(rows=[0, 1], by_axis=[[1], [0]], overlap_frac=0.0)
    """
    values, loadings, _ = principal_axes(scores)
    if not 1 <= k <= len(values):
        raise ValueError(
            f"select_per_axis needs k of 1 to {len(values)}, the number of rows; got {k}. Use a "
            f"smaller k."
        )
    if axes < 1:
        raise ValueError(f"select_per_axis needs at least one axis; got {axes}. Use axes=4.")
    good = np.flatnonzero((values @ loadings).mean(axis=1) >= least - 1e-9)
    if not len(good):
        raise ValueError(f"select_per_axis found no row with a mean of {least}. Use least=0.")
    best = good[np.argsort(-values[good, :axes], axis=0, kind="stable")[:k]]
    rows, times = np.unique(best, return_counts=True)
    return Selection(rows.tolist(), best.T.tolist(), float((times > 1).mean()))


def _direction(loadings: np.ndarray) -> float:
    total = loadings.sum()
    if abs(total) < 1e-9:
        total = loadings[np.abs(np.round(loadings, 9)).argmax()]
    return float(np.sign(total))
