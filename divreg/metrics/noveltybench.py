"""NoveltyBench: how many different answers a group holds, and what a patient user gains."""

import math
from bisect import bisect_left
from collections.abc import Callable, Hashable, Sequence
from typing import TypeVar

Item = TypeVar("Item")

# Rewards of Skywork-Reward-Gemma-2-27B-v0.2 above which a utility is one higher, from 1 to 10.
SKYWORK_GEMMA_27B = (
    -7.71875,
    -6.28125,
    -6.0,
    -5.71875,
    -5.5,
    -5.0,
    -4.375,
    -3.4375,
    -2.046875,
)


def partition_in_order(items: Sequence[Item], same: Callable[[Item, Item], bool]) -> list[int]:
    """Put each item in the first class whose first member it is the same as, or in a new one.

    Classes are numbered by first appearance. They depend on the order of the items wherever
    ``same`` is not transitive; :func:`~divreg.metrics.classes.classes_from_similarity` does not.

    Args:
        items: The generations of one prompt, in the order in which they were made.
        same: Whether an earlier item (first) and a later one say the same. Asked of each item at
            most once per class.

    Source:
        Zhang et al., NoveltyBench, arXiv:2504.05228, released code, ``partition.py``.

    >>> partition_in_order([1, 4, 2, 9, 5], lambda a, b: abs(a - b) < 3)
    [0, 1, 0, 2, 1]
    """
    first: list[Item] = []
    classes = []
    for item in items:
        found = next((c for c, member in enumerate(first) if same(member, item)), len(first))
        if found == len(first):
            first.append(item)
        classes.append(found)
    return classes


def distinct_k(classes: Sequence[Hashable]) -> int:
    """Count the classes of ``k`` generations: 1 to ``k``, 0 for none; higher is more diverse.

    Args:
        classes: The class of each generation.

    Source:
        Zhang et al., NoveltyBench, arXiv:2504.05228, distinct_k.

    Differs from the released code:
        Its ``partition.py`` records the largest class id, which is one less.

    >>> distinct_k([0, 1, 0, 2])
    3
    """
    return len(set(classes))


def utility_k(
    classes: Sequence[Hashable], utilities: Sequence[float], patience: float = 0.8
) -> float:
    r"""Measure what ``k`` generations give a user who only gains from what is new.

    .. math:: \sum_{i=0}^{k-1} p^i f_i u_i / \sum_{i=0}^{k-1} p^i

    where ``f_i`` is 1 for the first generation of its class and 0 for the others. The user looks at
    one after another and goes on with probability ``p``. From 0 to the largest utility, in its
    unit; higher is better and more diverse. All different and equally good: that utility. None: 0.

    Args:
        classes: The class of each generation, in order.
        utilities: How good each generation is, 1 to 10 in the paper: :func:`utility_of_reward`.
            Those that repeat a class are not read.
        patience: Probability of looking at the next one, in [0, 1]; at 0 only the first counts.

    Raises:
        ValueError: If there is not one utility per class, or the patience is no probability.

    Source:
        Zhang et al., NoveltyBench, arXiv:2504.05228, utility_k.

    >>> round(utility_k([0, 0, 1], [10, 10, 5], patience=0.5), 6)
    6.428571
    """
    if len(classes) != len(utilities):
        raise ValueError(
            f"utility_k needs one utility per generation; got {len(utilities)} for {len(classes)}. "
            f"Write 0 where a class is repeated."
        )
    if not 0 <= patience <= 1:
        raise ValueError(f"utility_k needs a patience in [0, 1]; got {patience}. Use patience=0.8.")
    seen: set[Hashable] = set()
    gained = shown = 0.0
    for i, (c, utility) in enumerate(zip(classes, utilities, strict=True)):
        weight = patience**i
        shown += weight
        if c not in seen:
            gained += weight * utility
            seen.add(c)
    return gained / shown if shown else 0.0


def utility_of_reward(reward: float, thresholds: Sequence[float] = SKYWORK_GEMMA_27B) -> int:
    """Turn a reward into a utility: one more than the thresholds it exceeds.

    With the nine default thresholds: 1 to 10. A reward on a threshold does not exceed it.

    Args:
        reward: Reward of one generation, in the unit of the thresholds.
        thresholds: Ascending; the default fits one reward model only,
            ``Skywork-Reward-Gemma-2-27B-v0.2``.

    Raises:
        ValueError: If the reward is NaN, or the thresholds do not ascend.

    Source:
        Zhang et al., NoveltyBench, arXiv:2504.05228, released code, ``score.py``.

    >>> [utility_of_reward(r) for r in (-9.0, -5.0, 0.0)]
    [1, 6, 10]
    """
    if math.isnan(reward):
        raise ValueError("utility_of_reward needs a reward; got NaN. Score the generation again.")
    if list(thresholds) != sorted(thresholds):
        raise ValueError(
            f"utility_of_reward needs thresholds in ascending order; got {list(thresholds)}. "
            f"Use sorted(thresholds)."
        )
    return bisect_left(thresholds, reward) + 1
