"""What a model thought of its samples: the columns that ``divreg trace`` writes beside them."""

import math
from array import array
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

_SLACK = 1e-3  # numbers are rounded, and of low precision

# Columns, and between what their numbers lie. Of `step_entropies` each row has a list.
THOUGHTS = {
    "logprob": (-math.inf, _SLACK),
    "entropy": (-_SLACK, math.inf),
    "top_mass": (0.0, 1 + _SLACK),
    "step_entropies": (-_SLACK, math.inf),
}
_LISTS = ("step_entropies",)
_WHOLE = {"top_p": (1,), "top_k": (0, -1), "min_p": (0,)}  # settings that cut nothing off


def compact(value: Any) -> Any:
    """Return a list of numbers as eight bytes each; anything else as it is.

    >>> compact([0.5, 1]), compact(["a"])
    (array('d', [0.5, 1.0]), ['a'])
    """
    if not isinstance(value, list) or not all(map(_is_number, value)):
        return value
    return array("d", value)


def thoughts(
    rows: Sequence[Mapping[str, Any]],
) -> tuple[dict[str, list[Any]], list[str]]:
    """Return the columns of :data:`THOUGHTS` that all rows of a prompt have.

    Args:
        rows: The fields of its samples.

    Returns:
        The values by column, and the columns that only some rows have, or that hold what their name
        does not promise: a log-probability above 0, a probability above 1.

    >>> thoughts([{"logprob": -0.5, "entropy": 0.1}, {"logprob": -1, "entropy": None}])
    ({'logprob': [-0.5, -1]}, ['entropy'])
    """
    found, odd = {}, []
    for name, (low, high) in THOUGHTS.items():
        values = [row.get(name) for row in rows]
        if all(value is None for value in values):
            continue
        if all(_within(value, name in _LISTS, low, high) for value in values):
            found[name] = values
        else:
            odd.append(name)
    return found, odd


def is_whole(rows: Iterable[Mapping[str, Any]]) -> bool:
    """Whether samples were drawn from all tokens, so that ``logprob`` is of what they came from.

    >>> is_whole([{"top_p": 1.0, "temperature": 0.7}]), is_whole([{"top_p": 0.9}])
    (True, False)
    """
    return all(row.get(name) in (None, *all_) for row in rows for name, all_ in _WHOLE.items())


def _within(value: Any, is_list: bool, low: float, high: float) -> bool:
    if is_list:
        numbers = isinstance(value, array) and not any(map(math.isnan, value))
        return numbers and all(low <= x <= high for x in value)
    return _is_number(value) and low <= value <= high


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
