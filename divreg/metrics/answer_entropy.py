"""Entropy of the shares of the classes in a group."""

import math
from collections import Counter
from collections.abc import Hashable, Sequence


def answer_entropy_nats(classes: Sequence[Hashable]) -> float:
    """Measure how evenly a group spreads over its classes: Shannon entropy of their shares.

    In nats: 0 for one class, ``log(g)`` for ``g`` completions in ``g`` classes. The plug-in
    estimate: small groups underestimate it. No completions: 0.

    Args:
        classes: One class, or answer, per completion.

    >>> round(answer_entropy_nats([0, 0, 1, 1]), 6)
    0.693147
    """
    sizes = Counter(classes).values()
    return sum(size / len(classes) * math.log(len(classes) / size) for size in sizes)
