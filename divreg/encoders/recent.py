"""What was computed lately, by its text or its pair of texts."""

from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import Any, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Recent(OrderedDict[K, V]):
    """The most recently used values, at most ``size`` of them; 0 keeps none.

    >>> squares = Recent(2)
    >>> squares.look_up([2, 3, 2, 4], lambda keys: [k * k for k in keys])
    [4, 9, 4, 16]
    >>> list(squares)
    [2, 4]
    """

    def __init__(self, size: int):
        super().__init__()
        self.size = size

    def look_up(self, keys: Sequence[K], compute: Callable[[list[K]], Iterable[Any]]) -> list[V]:
        """Return the value of each key; ``compute`` is asked once, for the distinct unknown ones.

        Args:
            keys: What is wanted, repetitions allowed.
            compute: A list of keys to as many values; not called where every key is known.
        """
        unseen = [key for key in dict.fromkeys(keys) if key not in self]
        fresh = dict(zip(unseen, compute(unseen), strict=True)) if unseen else {}
        values = [fresh[k] if k in fresh else self[k] for k in keys]
        for key, value in zip(keys, values, strict=True):
            self[key] = value
            self.move_to_end(key)
        while len(self) > self.size:
            self.popitem(last=False)
        return values
