"""Entropy of the shares of the classes in a group: plug-in, and corrected for small groups."""

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


def answer_entropy_mm_nats(classes: Sequence[Hashable]) -> float:
    r"""Measure the same, corrected to first order for how few completions a group has.

    .. math:: H_{plug-in} + (S - 1) / (2 g)

    for ``S`` classes among ``g`` completions. In nats; groups of different sizes can be compared
    while most classes were seen more than once. Where nearly every completion is a class of its
    own no correction helps: there it may even exceed ``log(g)``. No completions: 0.

    Args:
        classes: One class, or answer, per completion.

    Source:
        Miller, Note on the bias of information estimates, 1955.

    >>> round(answer_entropy_mm_nats([0, 0, 1, 1]), 6)
    0.818147
    """
    if not classes:
        return 0.0
    return answer_entropy_nats(classes) + (len(set(classes)) - 1) / (2 * len(classes))
