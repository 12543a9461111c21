"""Samples brought together by prompt, in bounded memory: what does not fit waits on the disk."""

import hashlib
import pickle
import tempfile
from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import IO

from divreg.measure.generations import Sample

MEMORY = 256 << 20  # characters that are held before anything goes to the disk
_BUCKETS = 256  # one for each first byte of a hash
_OVERHEAD = 300  # characters that a sample counts beside its own
_Row = tuple[int, str, Sample, int]  # which of all, its set, itself, the file for it


@dataclass
class Group:
    """All samples of one prompt.

    Attributes:
        first: Which sample of all was its first: the order of prompts.
        name: The set it belongs to; empty if there is but one.
        samples: In the order of the files.
    """

    first: int
    name: str
    samples: list[Sample] = field(default_factory=list)


class Groups:
    """The samples of every prompt together, after all were read once.

    Beyond ``memory``, samples go to files by a hash of their prompt, which are then read one after
    the other: a 256th of all is in memory then, and a few bytes a prompt.

    Args:
        samples: In any order.
        name: What a sample's set is called: groups are made within a set.
        memory: Characters that may be held.

    Attributes:
        sizes: How many prompts have how many samples.
        count: All samples.
    """

    def __init__(
        self, samples: Iterable[Sample], name: Callable[[Sample], str], memory: int = MEMORY
    ):
        self._held: list[_Row] = []
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._files: list[IO[bytes]] = []
        each: Counter[bytes] = Counter()
        size = self.count = 0
        for sample in samples:
            set_ = name(sample)
            key = f"{set_}\0{sample.prompt}".encode(errors="replace")
            digest = hashlib.blake2b(key, digest_size=8).digest()
            each[digest] += 1
            self._held.append((self.count, set_, sample, digest[0]))
            self.count += 1
            size += len(sample.prompt) + len(sample.text) + _OVERHEAD + _numbers(sample)
            if size > memory:
                self._spill()
                size = 0
        if self._files:
            self._spill()
        self.sizes = Counter(each.values())

    def __iter__(self) -> Iterator[Group]:
        """Yield all groups, in no order: see :attr:`Group.first`."""
        if not self._files:
            yield from _together(self._held)
        for file in self._files:
            yield from _together(_load(file))

    def __enter__(self) -> "Groups":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        for file in self._files:
            file.close()
        if self._folder is not None:
            self._folder.cleanup()

    def _spill(self) -> None:
        if not self._files:
            self._folder = tempfile.TemporaryDirectory(prefix="divreg-measure-")
            folder = Path(self._folder.name)
            self._files = [(folder / str(i)).open("w+b") for i in range(_BUCKETS)]
        for row in self._held:
            pickle.dump(row, self._files[row[-1]], pickle.HIGHEST_PROTOCOL)
        self._held = []


def _numbers(sample: Sample) -> int:
    """Return the bytes of a sample's columns of many numbers."""
    return sum(x.itemsize * len(x) for x in sample.fields.values() if isinstance(x, array))


def _load(file: IO[bytes]) -> Iterator[_Row]:
    file.seek(0)
    while True:
        try:
            yield pickle.load(file)
        except EOFError:
            return


def _together(rows: Iterable[_Row]) -> Iterator[Group]:
    groups: dict[tuple[str, str], Group] = {}
    for i, name, sample, _ in rows:
        group = groups.setdefault((name, sample.prompt), Group(i, name))
        group.samples.append(sample)
    yield from groups.values()
