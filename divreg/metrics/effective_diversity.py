"""Diversity among the completions of a group that are good enough, and how many are.

A completion whose validity is unknown (None) counts as not valid.
"""

import math
from collections.abc import Hashable, Sequence

from divreg.metrics.distinct_classes import distinct_classes
from divreg.metrics.richness import rarefied_distinct, simpson_unbiased

Valid = Sequence[bool | None]


def validity_frac(valid: Valid) -> float:
    """Measure how many completions are valid: a share, in [0, 1]; without completions 0.

    Args:
        valid: Whether each completion is good enough.

    >>> validity_frac([True, False, None, True])
    0.5
    """
    return sum(bool(v) for v in valid) / len(valid) if len(valid) else 0.0


def effective_fixed(classes: Sequence[Hashable], valid: Valid) -> float:
    r"""Measure how many different valid classes a group has, as a share of its size.

    .. math:: |\{ c_i : v_i \}| / K

    In [0, 1]: 1 if all ``K`` completions are valid and different, 0 if none is valid; higher is
    more diverse. It falls with the validity, by design, and with ``K``: compare at the same ``K``,
    or use :func:`expected_distinct_valid`. Without completions: 0.

    Args:
        classes: One class per completion, of the invalid ones too.
        valid: Whether each completion is good enough.

    Raises:
        ValueError: If the two are not equally long.

    Source:
        Shypula et al., Evaluating the Diversity and Quality of LLM Generated Content,
        arXiv:2504.12522, the fixed-budget measure; in our words, not checked against its equation.

    >>> effective_fixed([0, 0, 1, 2, 3, 3], [True, True, True, False, True, False])
    0.5
    """
    _check("effective_fixed", classes, valid)
    return distinct_classes(classes, valid) / len(classes) if len(classes) else 0.0


def effective_pairwise(classes: Sequence[Hashable], valid: Valid) -> float:
    r"""Measure the share of all pairs of completions that are both valid and of different classes.

    .. math:: \binom{K}{2}^{-1} \sum_{i < j} v_i v_j [c_i \ne c_j]

    In [0, 1]; higher is more diverse. A pair with an invalid completion counts as equal, so it
    falls with the validity, by design; its mean does not depend on ``K``. With fewer than two
    completions there is no pair: NaN.

    Args:
        classes: One class per completion, of the invalid ones too.
        valid: Whether each completion is good enough.

    Raises:
        ValueError: If the two are not equally long.

    Source:
        Shypula et al., Evaluating the Diversity and Quality of LLM Generated Content,
        arXiv:2504.12522, the pairwise measure; in our words, not checked against its equation.

    >>> round(effective_pairwise([0, 0, 1, 2, 3, 3], [True, True, True, False, True, False]), 6)
    0.333333
    """
    _check("effective_pairwise", classes, valid)
    k, n = len(classes), sum(bool(v) for v in valid)
    if k < 2:
        return math.nan
    if n < 2:
        return 0.0
    return effective_conditional(classes, valid) * (n * (n - 1)) / (k * (k - 1))


def effective_conditional(classes: Sequence[Hashable], valid: Valid) -> float:
    """Measure the share of pairs of valid completions that are of different classes.

    In [0, 1]: 0 if the valid ones are all of one class, 1 if no two are; higher is more diverse.
    What is left of :func:`effective_pairwise` when the validity is taken out: read the two and
    :func:`validity_frac` together. With fewer than two valid completions there is no pair: NaN.

    Args:
        classes: One class per completion, of the invalid ones too.
        valid: Whether each completion is good enough.

    Raises:
        ValueError: If the two are not equally long.

    >>> round(effective_conditional([0, 0, 1, 2, 3, 3], [True, True, True, False, True, False]), 6)
    0.833333
    """
    _check("effective_conditional", classes, valid)
    return simpson_unbiased(_valid_ones(classes, valid))


def expected_distinct_valid(classes: Sequence[Hashable], valid: Valid, k: int) -> float:
    """Estimate how many different valid classes ``k`` completions hold, without bias.

    In classes, 0 to ``k``; higher is more diverse. What a user gets who draws ``k`` times and
    throws the invalid ones away. At ``k = 1`` it is the validity.

    Args:
        classes: One class per completion, of the invalid ones too.
        valid: Whether each completion is good enough.
        k: Completions drawn, 0 to the size of the group.

    Raises:
        ValueError: If the two are not equally long, or ``k`` is more than the group has.

    Source:
        Rarefaction: Hurlbert, The nonconcept of species diversity, Ecology 52(4), 1971, Eq. 14.

    >>> expected_distinct_valid([0, 0, 1, 2], [True, True, True, False], 4)
    2.0
    """
    _check("expected_distinct_valid", classes, valid)
    return rarefied_distinct(_valid_ones(classes, valid), k, n=len(classes))


def _valid_ones(classes: Sequence[Hashable], valid: Valid) -> list[Hashable]:
    return [c for c, v in zip(classes, valid, strict=True) if v]


def _check(who: str, classes: Sequence[Hashable], valid: Valid) -> None:
    if len(classes) != len(valid):
        raise ValueError(
            f"{who} needs one value of valid per completion; got {len(valid)} for {len(classes)}. "
            f"Write False where a completion is not good enough."
        )
