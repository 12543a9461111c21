"""Share of completions that repeat an earlier one of their group."""

from collections.abc import Sequence

from divreg.metrics.classes import normalise_text


def duplicate_frac(texts: Sequence[str]) -> float:
    """Measure how much of a group is repetition: texts that already occurred in it.

    Range [0, 1): 0 if all are different, ``(g - 1) / g`` if all are equal; 0 for no texts.
    Equality is that of :func:`~divreg.metrics.classes.normalise_text`.

    Args:
        texts: The texts of one group.

    >>> duplicate_frac(["7", "12", " 7 ", "7"])
    0.5
    """
    if not texts:
        return 0.0
    return 1.0 - len({normalise_text(text) for text in texts}) / len(texts)
