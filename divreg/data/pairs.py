"""Which responses of a prompt to prefer to which, and how much each pair counts: DivPO and DDPO.

Pure functions of the numbers of one prompt. ``divreg pairs`` applies them to files.
"""

import hashlib
import math
from collections import Counter
from collections.abc import Hashable, Sequence
from typing import Literal, NamedTuple, get_args

import numpy as np
from numpy.typing import ArrayLike

from divreg.metrics.cosine import unit_rows

Threshold = Literal["range", "count", "count-floor"]
"""What a share ``rho`` is of: the range of the rewards, or their count, rounded up or down."""

# Why a prompt has no pair; each completes "prompts ...".
ONE = "with one response only"
EQUAL = "whose rewards are all equal"
OVERLAP = "whose best and worst responses overlap"
SAME = "whose chosen and rejected text are the same"

_DECIMALS = 6  # of a distance: the last bits depend on the order of a sum
_ON = 1e-9  # shares nearer than this to a threshold are on it
_SPREAD = 1e-5  # of distances that do not differ: those of equal texts, in float32


class Picked(NamedTuple):
    """Pairs of one prompt.

    Attributes:
        pairs: (chosen, rejected), as positions of responses.
        why_not: Why there are none; empty if there are some.
    """

    pairs: list[tuple[int, int]]
    why_not: str = ""


def divpo_pairs(
    rewards: ArrayLike,
    diversity: ArrayLike,
    *,
    rho: float = 0.25,
    threshold: Threshold = "range",
    count: int = 1,
    texts: Sequence[Hashable] | None = None,
) -> Picked:
    r"""Pair the most diverse of a prompt's best responses with the least diverse of its worst.

    .. math:: y_c = \arg\max_{y \in Y_c} D(y), \quad y_r = \arg\min_{y \in Y_r} D(y)

    with the sets of :func:`best_and_worst`. ``rho=0`` pairs the best with the worst, as DPO does,
    and looks at diversity where several are the best; ``rho=0.5`` chooses by diversity within
    either half. A chosen response always has the higher reward.

    Args:
        rewards: Of the ``n`` responses of one prompt, any unit.
        diversity: Of each, any unit; higher is rarer. Equal ones: the better reward is chosen, the
            worse rejected.
        rho: Share of what ``threshold`` says, in [0, 0.5].
        threshold: See :func:`best_and_worst`.
        count: Most pairs that are wanted. The i-th most diverse of the best goes with the i-th
            least diverse of the worst, so that no response is in two pairs.
        texts: Of the responses: equal ones count as one, and never stand against each other. What
            is still tied goes by a hash of them: not by their order, and not by the alphabet.

    Raises:
        ValueError: If lengths differ, a number is not finite, or an argument is out of range.

    Source:
        Lanchantin et al., Diverse Preference Optimization, arXiv:2501.18101.

    Differs from the paper:
        Several pairs of a prompt, and how ties are broken, are ours.

    >>> divpo_pairs([0.9, 0.88, 0.5, 0.45, 0.2, 0.1], [1, 2.5, 3, 1.2, 0.8, 2]).pairs
    [(1, 4)]
    """
    r, d = _numbers(rewards, "rewards"), _numbers(diversity, "diversity")
    names = range(len(r)) if texts is None else texts
    if not len(r) == len(d) == len(names):
        raise ValueError(
            f"divpo_pairs needs one reward, diversity and text a response; got {len(r)}, {len(d)} "
            f"and {len(names)}. Pass those of one prompt."
        )
    if count < 1:
        raise ValueError(f"divpo_pairs needs a count of at least 1; got {count}. Use count=1.")
    best, worst, why_not = best_and_worst(r, rho=rho, threshold=threshold)
    if why_not:
        return Picked([], why_not)
    lot = range(len(r)) if texts is None else _lots(texts)
    best.sort(key=lambda i: (-d[i], -r[i], lot[i]))
    worst.sort(key=lambda i: (d[i], r[i], lot[i]))
    chosen, rejected = (_first_of_each(side, names)[:count] for side in (best, worst))
    pairs = [(i, j) for i, j in zip(chosen, rejected, strict=False) if names[i] != names[j]]
    return Picked(pairs, "" if pairs else SAME)


class Sides(NamedTuple):
    """Positions of the best and of the worst responses, or why they are not apart."""

    best: list[int]
    worst: list[int]
    why_not: str = ""


def best_and_worst(rewards: ArrayLike, *, rho: float, threshold: Threshold = "range") -> Sides:
    r"""Return the best and the worst responses of one prompt.

    ``"range"``: those with :math:`r \ge r_{max} - \rho (r_{max} - r_{min})`, and those with
    :math:`r \le r_{min} + \rho (r_{max} - r_{min})`. ``"count"``: the best and the worst
    :math:`\lceil \rho n \rceil` of them, at least one; ``"count-floor"`` rounds down.
    Responses with the reward of the last one that counts count as well, whatever their order. Those
    that are on both sides, such as the middle of an odd number at ``rho=0.5``, are on neither.

    Args:
        rewards: Of the ``n`` responses, any unit.
        rho: A share, in [0, 0.5].
        threshold: What it is a share of.

    Raises:
        ValueError: If a reward is not finite, or an argument is out of range.

    Source:
        arXiv:2501.18101. Accounts of the paper differ on what ``rho`` is a share of; most say the
        range. At 0 and 0.5 both mean much the same. What is on both sides is ours.

    >>> best_and_worst([0, 1, 1, 0, 1], rho=0.25)
    Sides(best=[1, 2, 4], worst=[0, 3], why_not='')
    """
    r = _numbers(rewards, "rewards")
    if threshold not in get_args(Threshold):
        raise ValueError(
            f"best_and_worst has no threshold {threshold!r}; it has "
            f"{', '.join(get_args(Threshold))}. Use 'range'."
        )
    if not 0 <= rho <= 0.5:
        raise ValueError(
            f"rho is a share of the responses on either side, in [0, 0.5]; got {rho}. Use 0.25."
        )
    if len(r) < 2:
        return Sides([], [], ONE)
    low, high = r.min(), r.max()
    if low == high:
        return Sides([], [], EQUAL)
    if threshold == "range":
        share = (r - low) / (high - low)
        good, bad = share >= 1 - rho - _ON, share <= rho + _ON
    else:
        up = threshold == "count"
        many = math.ceil(rho * len(r) - _ON) if up else math.floor(rho * len(r) + _ON)
        many = max(1, many)
        ordered = np.sort(r)
        good, bad = r >= ordered[-many], r <= ordered[many - 1]
    best, worst = np.flatnonzero(good & ~bad).tolist(), np.flatnonzero(bad & ~good).tolist()
    return Sides(best, worst) if best and worst else Sides([], [], OVERLAP)


def inverse_frequency(classes: Sequence[Hashable]) -> list[float]:
    """Return how rare each response's class is among them: responses over those of its class.

    1 if all say the same, ``n`` for a class of its own; dimensionless.

    Args:
        classes: Of the ``n`` responses of one prompt.

    Source:
        arXiv:2501.18101, the frequency criterion, of whole answers in place of words.

    >>> inverse_frequency(["owl", "owl", "wren", "owl"])
    [1.3333333333333333, 1.3333333333333333, 4.0, 1.3333333333333333]
    """
    sizes = Counter(classes)
    return [len(classes) / sizes[c] for c in classes]


def mean_distance(embeddings: ArrayLike) -> list[float]:
    r"""Return how far each response is from the others: its mean cosine distance to them.

    .. math:: d_i = 1 - \frac{1}{n - 1} \sum_{j \ne i} \cos(x_i, x_j)

    Range [0, 2], dimensionless, rounded to six decimals. Fewer than two: 0.

    Args:
        embeddings: ``(n, d)``, of the responses of one prompt.

    Raises:
        ValueError: If a row is zero or not finite, or the shape is another.

    Source:
        Chung et al., arXiv:2503.17126, deviation.

    >>> mean_distance([[1, 0], [2, 0], [0, 3]])
    [0.5, 0.5, 1.0]
    """
    x = unit_rows(embeddings, "mean_distance")
    if len(x) < 2:
        return [0.0] * len(x)
    near = (x @ x.sum(axis=0) - 1) / (len(x) - 1)
    return np.round(np.clip(1 - near, 0, 2), _DECIMALS).tolist()


def deviation_scores(*axes: ArrayLike) -> np.ndarray:
    r"""Bring the deviations of a prompt's responses to [-1, 1]; several axes are one.

    .. math:: s_m = 2 \frac{d_m - \min d_m}{\max d_m - \min d_m} - 1, \quad
        s = 2 \Bigl(\prod_m \frac{s_m + 1}{2}\Bigr)^{1/M} - 1

    An axis on which all deviate alike says 0 of each. Least deviant of one axis: -1, most: 1.

    Args:
        axes: ``(n,)`` each: deviation of every response from the others, such as
            :func:`mean_distance` by meaning and by style; any unit.

    Returns:
        ``(n,)``, dimensionless.

    Raises:
        ValueError: If there is no axis, their lengths differ, or a number is not finite.

    Source:
        Chung et al., Modifying Large Language Model Post-Training for Diverse Creative Writing,
        arXiv:2503.17126, released code.

    >>> deviation_scores([0.2, 0.5, 0.3, 0.6]).round(3).tolist()
    [-1.0, 0.5, -0.5, 1.0]
    """
    rows = [_numbers(axis, "deviations") for axis in axes]
    if len({len(row) for row in rows}) != 1:
        raise ValueError(
            f"deviation_scores needs axes of one length; got {[len(row) for row in rows]}. Pass a "
            f"number for every response on each."
        )
    scaled = np.array([_to_unit(row) for row in rows])
    return 2 * np.prod(scaled, axis=0) ** (1 / len(rows)) - 1


def deviation_weights(scores: ArrayLike) -> np.ndarray:
    r"""Return how much a pair counts whose chosen response deviates so: 1 on average.

    .. math:: w_i = 1 + \frac{n s_i - S}{n + S} = \frac{n (1 + s_i)}{n + S}, \quad S = \sum_j s_j

    The least deviant response of one axis has weight 0; all alike: 1. DDPO multiplies the loss of a
    pair by the weight of its chosen response.

    Args:
        scores: ``(n,)`` of :func:`deviation_scores`: all responses of one prompt.

    Returns:
        ``(n,)``, dimensionless, at least 0.

    Raises:
        ValueError: If a score is outside [-1, 1].

    Source:
        arXiv:2503.17126, released code.

    >>> deviation_weights([-1, 0.5, -0.5, 1]).tolist()
    [0.0, 1.5, 0.5, 2.0]
    """
    s = _numbers(scores, "scores")
    if (np.abs(s) > 1 + _ON).any():
        raise ValueError(
            f"deviation_weights needs scores in [-1, 1]; got {s.min()} to {s.max()}. Pass those of "
            f"deviation_scores."
        )
    if not len(s) or s.min() == s.max():
        return np.ones(len(s))
    return (1 + s) / (1 + s).mean()


def _to_unit(deviations: np.ndarray) -> np.ndarray:
    if not len(deviations):
        return deviations
    low, spread = deviations.min(), np.ptp(deviations)
    if spread <= _SPREAD * max(abs(low), abs(low + spread)):
        return np.full(len(deviations), 0.5)
    return (deviations - low) / spread


def _lots(names: Sequence[Hashable]) -> list[bytes]:
    """Draw a lot for every name: the same in every run, another beside other names."""
    salt = hashlib.blake2b("\0".join(sorted(map(str, names))).encode(), digest_size=16).digest()
    return [hashlib.blake2b(str(n).encode(), key=salt, digest_size=8).digest() for n in names]


def _first_of_each(order: Sequence[int], names: Sequence[Hashable]) -> list[int]:
    seen: dict[Hashable, int] = {}
    for i in order:
        seen.setdefault(names[i], i)
    return list(seen.values())


def _numbers(values: ArrayLike, what: str) -> np.ndarray:
    found = np.array(values, dtype=np.float64)
    if found.ndim != 1 or not np.isfinite(found).all():
        raise ValueError(
            f"Pairs need one finite number a response; got {what} of shape {found.shape}, "
            f"{int((~np.isfinite(found)).sum())} of them not finite. Leave those responses out."
        )
    return found
