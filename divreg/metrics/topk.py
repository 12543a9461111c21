"""The k most likely next tokens: their entropy and mass, and two signs of over-optimisation.

Shi et al. read both during preference training, every 50 steps: an entropy that turns down after
it rose (DPO, IPO), or a mass that leaks to the tail (hinge), goes with fewer wins.
"""

import math
from collections import deque
from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from divreg.metrics.next_token import entropy_nats, probabilities

# A row is read in lanes of so many numbers where it is at least so many times `k` of them wide.
_LANE, _WORTH = 16, 4


def topk_entropy_bits(
    logits: ArrayLike | None = None,
    *,
    probs: ArrayLike | None = None,
    k: int = 10,
    shares: Literal["renormalised", "raw"] = "renormalised",
) -> np.ndarray:
    r"""Measure how evenly the ``k`` most likely next tokens share their probability.

    .. math:: -\sum_{j \le k} p_j \log_2 p_j

    In bits: 0 if one token is certain, ``log2(k)`` if all ``k`` are equal (3.321928 for 10); higher
    is more diverse. ``"raw"`` leaves the probabilities as they are: then the sum is no entropy, and
    the whole vocabulary's is an upper bound. Fewer than ``k`` tokens: all of them.

    Args:
        logits: ``(..., v)``.
        probs: ``(..., v)`` in place of ``logits``; may be the most likely tokens alone.
        k: How many tokens, at least 1; 10 in the paper.
        shares: Whether the ``k`` probabilities are scaled to add up to 1. The paper speaks of a
            distribution over them and does not say.

    Returns:
        ``(...)``.

    Raises:
        ValueError: If ``k`` is below 1, ``shares`` is unknown, or the numbers make no distribution.

    Source:
        Shi et al., Understanding Likelihood Over-optimisation in Direct Alignment Algorithms,
        arXiv:2410.11677, entropy over top-k tokens.

    >>> topk_entropy_bits(probs=[[0.5, 0.25, 0.25], [1.0, 0.0, 0.0]], k=2).round(6).tolist()
    [0.918296, 0.0]
    """
    if shares not in ("renormalised", "raw"):
        raise ValueError(
            f"topk_entropy_bits needs shares 'renormalised' or 'raw'; got {shares!r}. "
            f"Use shares='renormalised'."
        )
    top = _top("topk_entropy_bits", logits, probs, k)
    if shares == "renormalised":
        top = top / top.sum(axis=-1, keepdims=True)
    return entropy_nats(top) / math.log(2)


def topk_mass(
    logits: ArrayLike | None = None, *, probs: ArrayLike | None = None, k: int = 10
) -> np.ndarray:
    r"""Measure how much probability the ``k`` most likely next tokens have.

    .. math:: \sum_{j \le k} p_j

    In (0, 1]: 1 if nothing is left for the others; higher is less diverse. Fewer than ``k`` tokens:
    all of them.

    Args:
        logits: ``(..., v)``.
        probs: ``(..., v)`` in place of ``logits``; may be the most likely tokens alone.
        k: How many tokens, at least 1; 10 in the paper.

    Returns:
        ``(...)``.

    Raises:
        ValueError: If ``k`` is below 1, or the numbers make no distribution.

    Source:
        Shi et al., Understanding Likelihood Over-optimisation in Direct Alignment Algorithms,
        arXiv:2410.11677, top-k probability mass.

    >>> topk_mass(probs=[[0.5, 0.25, 0.25], [1.0, 0.0, 0.0]], k=2).tolist()
    [0.75, 1.0]
    """
    return np.minimum(_top("topk_mass", logits, probs, k).sum(axis=-1), 1.0)


def reversal(
    series: Sequence[float | None], delta: float, patience: int = 3, window: int = 3
) -> int | None:
    """Find where a series has turned down from its highest value, and stays down.

    It fires at the last of ``patience`` checks in a row whose smoothed value is more than ``delta``
    below the highest smoothed value before them. A series that only falls turns down from its
    start. Meant for the top-k entropy; checks without a value (None or NaN) are passed over.

    Args:
        series: One value per check, in order.
        delta: How far below is a turn, at least 0, in the unit of the series.
        patience: Checks in a row, at least 1.
        window: Checks of which each smoothed value is the mean, itself the last; 1 is none.

    Returns:
        The index of the check at which it fires first, or None. No value, or one: None.

    Raises:
        ValueError: If an argument is out of range.

    Source:
        The sign: Shi et al., arXiv:2410.11677, decreasing entropy over top-k tokens. The rule is
        ours; the paper reads curves.

    >>> reversal([1.0, 1.4, 1.5, 1.1, 1.0, 0.9], delta=0.2, patience=2, window=1)
    4
    """
    _limits("reversal", delta=(delta, 0), patience=(patience, 1), window=(window, 1))
    recent: deque[float] = deque(maxlen=window)
    highest, below = -math.inf, 0
    for i, value in _known(series):
        recent.append(value)
        smooth = sum(recent) / len(recent)
        below = below + 1 if smooth < highest - delta else 0
        highest = max(highest, smooth)
        if below >= patience:
            return i
    return None


def leak(series: Sequence[float | None], delta: float) -> int | None:
    """Find where a series is more than ``delta`` below its first value.

    Meant for the top-k mass, which then went to the tail; checks without a value (None or NaN) are
    passed over.

    Args:
        series: One value per check, in order.
        delta: How far below is a leak, at least 0, in the unit of the series.

    Returns:
        The index of the check at which it fires first, or None. No value, or one: None.

    Raises:
        ValueError: If ``delta`` is negative.

    Source:
        The sign: Shi et al., arXiv:2410.11677, diminishing top-k probability mass. The rule is
        ours; the paper reads curves.

    >>> leak([0.99, 0.985, 0.96, 0.93], delta=0.02)
    2
    """
    _limits("leak", delta=(delta, 0))
    known = list(_known(series))
    return next((i for i, value in known if value < known[0][1] - delta), None)


def _top(who: str, logits: ArrayLike | None, probs: ArrayLike | None, k: int) -> np.ndarray:
    """Return the ``k`` largest probabilities, in no order."""
    if k < 1:
        raise ValueError(f"{who} needs k of at least 1; got {k}. Use k=10.")
    p = probabilities(who, logits, probs)
    if p.shape[-1] >= _WORTH * k * _LANE:
        p = _candidates(p, k)
    rest = max(0, p.shape[-1] - k)
    return np.partition(p, rest, axis=-1)[..., rest:] if rest else p


def _candidates(p: np.ndarray, k: int) -> np.ndarray:
    """Return fewer probabilities of each row, the ``k`` largest among them; zeros fill up.

    The k-th largest of the maxima of disjoint lanes is a bound that k of all reach.
    """
    rows = p.reshape(-1, p.shape[-1])
    lanes = rows.shape[1] // _LANE
    highest = rows[:, : lanes * _LANE].reshape(len(rows), _LANE, lanes).max(axis=1)
    bound = np.partition(highest, lanes - k, axis=-1)[:, lanes - k]
    at = np.flatnonzero(rows >= bound[:, None])
    row = at // rows.shape[1]
    each = np.bincount(row, minlength=len(rows))
    place = np.arange(len(row)) - np.repeat(np.cumsum(each) - each, each)
    found = np.zeros((len(rows), int(each.max(initial=k))))
    found[row, place] = rows.ravel()[at]
    return found.reshape(*p.shape[:-1], -1)


def _known(series: Sequence[float | None]) -> list[tuple[int, float]]:
    return [(i, x) for i, x in enumerate(series) if x is not None and not math.isnan(x)]


def _limits(who: str, **limits: tuple[float, float]) -> None:
    for name, (value, least) in limits.items():
        if not value >= least:
            raise ValueError(
                f"{who} needs {name} of at least {least}; got {value}. Write "
                f"{who}(series, delta=0.05)."
            )
