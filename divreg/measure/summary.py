"""Numbers of prompts become numbers of a set: means, and intervals over prompts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from divreg.metrics.interval import Interval, floats, middle, resampled_means

DRAWS = 1000


@dataclass(frozen=True, slots=True)
class Measured:
    """One prompt.

    Attributes:
        first: The order of prompts.
        set: The set it belongs to.
        prompt: What was asked.
        n: How many samples it has.
        numbers: By name; None where it has too few samples.
        samples: The beginnings of some, for a reader.
        centre: Mean of the unit embeddings of its samples, ``(d,)``, where that is kept.
    """

    first: int
    set: str
    prompt: str
    n: int
    numbers: Mapping[str, float | None]
    samples: Sequence[str] = ()
    centre: np.ndarray | None = None


@dataclass(frozen=True)
class Set:
    """All prompts that were measured together.

    Attributes:
        name: A step, a model; empty if there is but one set.
        prompts: In the order of the files.
        numbers: Mean and interval by name.
    """

    name: str
    prompts: list[Measured]
    numbers: dict[str, Interval] = field(default_factory=dict)

    @property
    def samples(self) -> int:
        """How many samples it has."""
        return sum(prompt.n for prompt in self.prompts)


def summarise(name: str, prompts: Sequence[Measured], names: Sequence[str], seed: int) -> Set:
    """Return the mean of every number over the prompts of a set, and its interval.

    Prompts are resampled whole: all numbers of a resample are of the same prompts.

    Args:
        name: Of the set.
        prompts: In any order.
        names: Of the numbers.
        seed: Of the resampling.
    """
    prompts = sorted(prompts, key=lambda p: p.first)
    columns = [floats("divreg measure", [p.numbers.get(n) for p in prompts]) for n in names]
    table = np.stack(columns, axis=1)
    means = resampled_means("divreg measure", table, DRAWS, seed)
    found = {}
    for i, n in enumerate(names):
        known = table[~np.isnan(table[:, i]), i]
        low, high = middle("divreg measure", means[:, i], 0.95)
        mean = float(known.mean()) if len(known) else float("nan")
        found[n] = Interval(mean, low, high, len(known), len(table) - len(known))
    return Set(name, list(prompts), found)
