"""How many classes there are, and how evenly they are filled, without a bias from group size."""

from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from operator import index

import numpy as np

# One class per completion, or how many completions each class has.
Classes = Sequence[Hashable] | Mapping[Hashable, int]


def rarefied_distinct(classes: Classes, k: int, n: int | None = None) -> float:
    r"""Estimate how many different classes ``k`` completions hold, from more of them, without bias.

    .. math:: \sum_c \left( 1 - \binom{n - n_c}{k} / \binom{n}{k} \right)

    The mean number of classes over all subsets of ``k`` of the ``n`` completions. In classes, 0 to
    ``k``; higher is more diverse. It is 1 at ``k = 1`` and the plain count at ``k = n``. Unlike
    that count it can be compared between groups of different sizes, at the same ``k``.

    Args:
        classes: One class per completion, or a mapping from each class to its completions' number.
        k: Completions of the smaller group, 0 to ``n``; 0 holds no class.
        n: All completions drawn, where some are in no class (invalid ones); default, those in
            ``classes``.

    Raises:
        ValueError: If ``k`` is more than ``n``, or ``n`` less than the completions in classes.

    Source:
        Hurlbert, The nonconcept of species diversity, Ecology 52(4), 1971, Eq. 14.

    >>> round(rarefied_distinct("aab", 2), 6), round(rarefied_distinct("aab", 2, n=4), 6)
    (1.666667, 1.333333)
    """
    sizes = _sizes("rarefied_distinct", classes)
    inside = int(sizes.sum())
    n, k = inside if n is None else index(n), index(k)
    if n < inside:
        raise ValueError(
            f"rarefied_distinct needs n of at least the {inside} completions in classes; got {n}. "
            f"Leave n out, or count every completion that was drawn."
        )
    if not 0 <= k <= n:
        raise ValueError(
            f"rarefied_distinct needs k between 0 and n={n}; got {k}. Draw more samples, or take a "
            f"smaller k."
        )
    return float(sum(s * (1 - _missed(n, int(m), k)) for m, s in _by_size(sizes)))


def simpson(classes: Classes) -> float:
    r"""Measure how evenly a group spreads: the chance that two draws of its shares differ.

    .. math:: 1 - \sum_c (n_c / n)^2

    A probability, in [0, 1): 0 for one class, ``1 - 1/n`` for ``n`` classes of one; higher is more
    diverse. The plug-in estimate: small groups underestimate it. No completions: 0.

    Args:
        classes: One class per completion, or a mapping from each class to its completions' number.

    Source:
        Simpson, Measurement of diversity, Nature 163, 1949.

    >>> simpson("aabb")
    0.5
    """
    sizes = _sizes("simpson", classes)
    n = int(sizes.sum())
    return float(1 - (sizes * sizes).sum() / (n * n)) if n else 0.0


def simpson_unbiased(classes: Classes) -> float:
    r"""Measure the share of pairs of completions that are of different classes.

    .. math:: 1 - \sum_c n_c (n_c - 1) / (n (n - 1))

    A probability, in [0, 1]: 0 if all are of one class, 1 if no two are; higher is more diverse.
    Its mean does not depend on the group's size. With fewer than two completions there is no pair:
    NaN.

    Args:
        classes: One class per completion, or a mapping from each class to its completions' number.

    Source:
        Simpson, Measurement of diversity, Nature 163, 1949.

    >>> simpson_unbiased("aabb")
    0.6666666666666667
    """
    sizes = _sizes("simpson_unbiased", classes)
    n = int(sizes.sum())
    if n < 2:
        return float("nan")
    return float(1 - (sizes * (sizes - 1)).sum() / (n * (n - 1)))


def chao1(classes: Classes) -> float:
    r"""Estimate how many classes there are, those that no completion showed included.

    .. math:: S + f_1 (f_1 - 1) / (2 (f_2 + 1))

    for ``S`` classes seen, ``f_1`` of them once and ``f_2`` twice. In classes, at least ``S``;
    higher is more diverse. A lower bound in expectation: rare classes leave no trace. Where each
    completion is a class of its own it is ``n (n + 1) / 2`` and says only that ``n`` was too small.
    No completions: 0; one: 1.

    Args:
        classes: One class per completion, or a mapping from each class to its completions' number.

    Source:
        Chao, Nonparametric estimation of the number of classes in a population, Scandinavian
        Journal of Statistics 11, 1984; the bias-corrected form.

    >>> chao1("aaaaabbbcd")
    5.0
    """
    sizes = _sizes("chao1", classes)
    once, twice = int((sizes == 1).sum()), int((sizes == 2).sum())
    return float(len(sizes) + once * (once - 1) / (2 * (twice + 1)))


def coverage_frac(classes: Classes) -> float:
    r"""Estimate how much of what a model says falls in classes that were seen.

    .. math:: 1 - f_1 / n

    for ``f_1`` classes seen once. A share, in [0, 1]: near 1, more completions would bring little
    that is new; 0 if every completion is a class of its own, and with none or one. Not a measure of
    diversity: read it beside one, to know whether there were completions enough.

    Args:
        classes: One class per completion, or a mapping from each class to its completions' number.

    Source:
        Good, The population frequencies of species and the estimation of population parameters,
        Biometrika 40, 1953.

    >>> coverage_frac("aaaaabbbcd")
    0.8
    """
    sizes = _sizes("coverage_frac", classes)
    n = int(sizes.sum())
    return float(1 - (sizes == 1).sum() / n) if n else 0.0


def _sizes(who: str, classes: Classes) -> np.ndarray:
    """Count the completions of each class that has any."""
    counts = list(Counter(classes).values())
    if not isinstance(classes, Mapping):
        return np.array(counts, dtype=np.int64)
    wrong = [c for c in counts if not isinstance(c, int | np.integer) or c < 0]
    if wrong:
        raise ValueError(
            f"{who} needs whole numbers of at least 0 in a mapping of classes; got {wrong[0]!r}. "
            f"Pass one class per completion, or collections.Counter of them."
        )
    return np.array([c for c in counts if c], dtype=np.int64)


def _by_size(sizes: np.ndarray) -> list[tuple[int, int]]:
    """Return each size of a class and how many classes have it."""
    found, times = np.unique(sizes, return_counts=True)
    return list(zip(found.tolist(), times.tolist(), strict=True))


def _missed(n: int, size: int, k: int) -> float:
    """Return the chance that ``k`` of ``n`` completions hold none of a class of ``size``."""
    if k > n - size:
        return 0.0
    return float(np.prod(1 - k / np.arange(n - size + 1, n + 1)))
