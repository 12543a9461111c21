"""How often two draws are alike: from a distribution, or from samples; and how that has changed."""

import math
from collections.abc import Hashable, Sequence

import numpy as np
from numpy.typing import ArrayLike

from divreg.metrics.richness import simpson_unbiased


def collision(p: ArrayLike, kernel: ArrayLike | None = None) -> float:
    r"""Measure how alike two independent draws of a distribution are on average.

    .. math:: C_k(p) = \sum_{ij} p_i p_j k_{ij}

    Without a kernel it is the probability that the two are equal, in (0, 1]: 1 for one outcome,
    ``1/v`` for ``v`` equal ones. With a kernel in [0, 1] it is in [0, 1]. Higher is less diverse.

    Args:
        p: ``(v,)``, probabilities that add up to 1.
        kernel: ``(v, v)``, how alike two outcomes are; the diagonal is 1 as a rule. Default: equal
            or not.

    Raises:
        ValueError: If ``p`` is no distribution, or the kernel does not fit it.

    Source:
        Simpson, Measurement of diversity, Nature 163, 1949; with a kernel, Rao, Diversity and
        dissimilarity coefficients, Theoretical Population Biology 21, 1982.

    >>> round(collision([0.5, 0.3, 0.2]), 6)
    0.38
    """
    x = np.asarray(p, dtype=np.float64)
    if x.ndim != 1 or not (x >= 0).all() or not math.isclose(x.sum(), 1.0, abs_tol=1e-3):
        least = min(x.ravel().tolist(), default=0.0)
        got = f"shape {x.shape}" if x.ndim != 1 else f"a sum of {x.sum():g}, the least {least:g}"
        raise ValueError(
            f"collision needs probabilities of at least 0 that add up to 1; got {got}. "
            f"Divide counts by their sum."
        )
    if kernel is None:
        return float(x @ x)
    return float(x @ _kernel("collision", kernel, len(x)) @ x)


def collision_ratio(after: ArrayLike, before: ArrayLike, kernel: ArrayLike | None = None) -> float:
    r"""Measure how much more alike two draws became: above 1 is collapse.

    .. math:: C_k(q) / C_k(p)

    At least 0; 1 if nothing changed. Both distributions are over the same outcomes. NaN if no two
    draws were alike before, which takes a kernel with zeros on its diagonal.

    Args:
        after: ``(v,)``, probabilities ``q`` that add up to 1.
        before: ``(v,)``, probabilities ``p`` that add up to 1.
        kernel: ``(v, v)``, how alike two outcomes are. Default: equal or not.

    Raises:
        ValueError: If one is no distribution, or they do not fit each other.

    Source:
        Skobelev et al., 2026, as reported by others; the paper was not read.

    >>> round(collision_ratio([0.8, 0.1, 0.1], [0.5, 0.3, 0.2]), 6)
    1.736842
    """
    if len(np.atleast_1d(after)) != len(np.atleast_1d(before)):
        raise ValueError(
            f"collision_ratio needs distributions over the same outcomes; got "
            f"{len(np.atleast_1d(after))} and {len(np.atleast_1d(before))}. Give an outcome that "
            f"does not occur the probability 0."
        )
    first = collision(before, kernel)
    return collision(after, kernel) / first if first else math.nan


def collision_of_classes(classes: Sequence[Hashable]) -> float:
    r"""Estimate how often two draws are of the same class, without bias, from a group.

    .. math:: \sum_c n_c (n_c - 1) / (n (n - 1))

    A probability, in [0, 1]: 1 if all are of one class, 0 if no two are; higher is less diverse.
    With fewer than two completions there is no pair: NaN.

    Args:
        classes: One class per completion.

    Source:
        Simpson, Measurement of diversity, Nature 163, 1949.

    >>> round(collision_of_classes("aab"), 6)
    0.333333
    """
    return 1 - simpson_unbiased(classes)


def collision_of_similarity(similarity: ArrayLike) -> float:
    r"""Estimate how alike two draws are on average, without bias, from a group.

    .. math:: \frac{1}{n (n - 1)} \sum_{i \ne j} k(y_i, y_j)

    In the range of the kernel; higher is less diverse. No completion is compared with itself: the
    diagonal is not read. With fewer than two completions there is no pair: NaN.

    Args:
        similarity: ``(n, n)``, the kernel of every two completions of one group.

    Raises:
        ValueError: If the matrix is not square or holds NaN.

    Source:
        The U-statistic: Hoeffding, A class of statistics with asymptotically normal distribution,
        1948.

    >>> round(collision_of_similarity([[1.0, 0.5, 0.1], [0.5, 1.0, 0.0], [0.1, 0.0, 1.0]]), 6)
    0.2
    """
    k = np.asarray(similarity, dtype=np.float64)
    n = len(k) if k.ndim else 0
    k = _kernel("collision_of_similarity", k.reshape(0, 0) if k.size == 0 else k, n)
    if n < 2:
        return math.nan
    return float((k.sum() - np.trace(k)) / (n * (n - 1)))


def _kernel(who: str, kernel: ArrayLike, v: int) -> np.ndarray:
    k = np.asarray(kernel, dtype=np.float64)
    if k.shape != (v, v):
        raise ValueError(
            f"{who} needs a square kernel, one row per outcome; got shape {k.shape} for {v}. "
            f"Pass k[i][j], how alike outcomes i and j are."
        )
    if np.isnan(k).any():
        raise ValueError(
            f"{who} needs numbers in the kernel; got NaN. Look at what computed it: an empty text "
            f"or a zero vector is the usual cause."
        )
    return k
