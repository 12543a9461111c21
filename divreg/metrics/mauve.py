"""MAUVE: how near two distributions of texts are, from their histograms over the same bins."""

import numpy as np
from numpy.typing import ArrayLike


def mauve_from_histograms(
    p: ArrayLike, q: ArrayLike, scale: float = 5.0, points: int = 25
) -> float:
    r"""Measure how near two distributions are: area under the curve of their divergences.

    .. math:: \{ (e^{-c \, KL(Q | R_w)}, e^{-c \, KL(P | R_w)}) : R_w = w P + (1 - w) Q \}

    for ``w`` from 0 to 1. Range (0, 1], dimensionless, higher is nearer: 1 if they are equal, near
    0 if no bin holds both. Nothing in one of them: 0. It says how near a model is to a reference,
    in quality and diversity together; it is symmetric and is not a measure of diversity alone.

    Where the histograms come from is part of the number: the paper quantises features of
    ``gpt2-large`` (unit length, PCA to 0.9 of the variance, k-means with a tenth as many clusters
    as texts). Compare only what has the same bins and as many texts.

    Args:
        p: Count or share of each bin under the one, at least 0.
        q: The same bins under the other.
        scale: ``c``, above 0; higher lowers every value but 1.
        points: How many ``w`` between the ends, at least 2.

    Raises:
        ValueError: If the bins do not match, a value is negative or not finite, or an option does
            not fit.

    Source:
        Pillutla et al., MAUVE, arXiv:2102.01454, divergence curve with c = 5.

    >>> mauve_from_histograms([5, 5], [1, 1])
    1.0
    >>> round(mauve_from_histograms([0.5, 0.3, 0.2], [0.2, 0.3, 0.5]), 5)
    0.82141
    """
    one, other = _shares(p), _shares(q)
    if one.shape != other.shape:
        raise ValueError(
            f"mauve_from_histograms needs the same bins twice; got {one.size} and {other.size}. "
            f"Write 0 for a bin that one of them does not use."
        )
    if not scale > 0 or points < 2:
        raise ValueError(
            f"mauve_from_histograms needs scale above 0 and points of at least 2; got {scale} and "
            f"{points}. Use scale=5.0, points=25."
        )
    if not one.any() or not other.any():
        return 0.0
    w = np.linspace(1e-6, 1 - 1e-6, points)[:, None]
    mixed = w * one + (1 - w) * other
    # The ends: R is one of the two, infinitely far from the other where a bin is missing.
    x = np.concatenate([[1.0], np.exp(-scale * _divergence(other, mixed)), [0.0]])
    y = np.concatenate([[0.0], np.exp(-scale * _divergence(one, mixed)), [1.0]])
    # By parts, the area is the same along either axis.
    area = float((np.diff(y) * (x[1:] + x[:-1]) / 2).sum())
    return min(1.0, area)


def _shares(histogram: ArrayLike) -> np.ndarray:
    h = np.asarray(histogram, dtype=np.float64)
    if h.ndim != 1 or not np.isfinite(h).all() or (h < 0).any():
        raise ValueError(
            f"mauve_from_histograms needs one finite number of at least 0 per bin; got shape "
            f"{h.shape} from {h.min(initial=0.0):.3g}. Use numpy.bincount(bins, minlength=k)."
        )
    total = h.sum()
    return h / total if total else h


def _divergence(a: np.ndarray, mixed: np.ndarray) -> np.ndarray:
    """KL(a | mixed) in nats for each row; a mixture is above 0 wherever ``a`` is."""
    some = a > 0
    return (a[some] * np.log(a[some] / mixed[:, some])).sum(axis=1)
