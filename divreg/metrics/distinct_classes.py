"""Number of different classes in a group, among all completions or the correct ones."""

from collections.abc import Hashable, Iterable, Sequence


def distinct_classes(
    classes: Sequence[Hashable], counted: Iterable[bool | None] | None = None
) -> int:
    """Count the different classes in a group.

    Args:
        classes: One class per completion.
        counted: Which completions count, for example the correct ones; None means all of them.

    Returns:
        A count, 0 to the size of the group.

    >>> distinct_classes([0, 1, 0, 2]), distinct_classes([0, 1, 0, 2], [True, False, True, None])
    (3, 1)
    """
    if counted is None:
        return len(set(classes))
    return len({c for c, yes in zip(classes, counted, strict=True) if yes})
