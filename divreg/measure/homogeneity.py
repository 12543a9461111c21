"""How alike two sets are beside how alike each is to itself, by the cosine of embeddings."""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from divreg.measure import page
from divreg.measure.summary import Measured
from divreg.metrics.interval import Interval, mean_interval


@dataclass(frozen=True)
class Alike:
    """Two sets, over the prompts that both have; means over prompts.

    Attributes:
        names: Of the two.
        prompts: How many.
        between: Mean cosine of a sample of the one with a sample of the other.
        within: Mean cosine of two samples of the first, and of the second.
    """

    names: tuple[str, str]
    prompts: int
    between: Interval
    within: tuple[Interval, Interval]

    def as_json(self) -> dict[str, Any]:
        """Return it as JSON can hold it."""
        first, second = self.within
        found = page.finites({"between": self.between, "first": first, "second": second})
        return {"sets": list(self.names), "prompts": self.prompts, **found}


def homogeneity(found: Mapping[str, Mapping[str, Measured]], seed: int) -> list[Alike]:
    """Compare every two sets whose prompts' mean embeddings were kept.

    Args:
        found: The prompts of every set, by set and prompt.
        seed: Of the intervals.

    Source:
        Artificial Hivemind, arXiv:2510.22954, inter-model homogeneity and intra-model repetition.
    """
    pairs = []
    for one, other in itertools.combinations(found, 2):
        both = [(p, found[other][name]) for name, p in found[one].items() if name in found[other]]
        across = [_across(a, b) for a, b in both]
        within = [mean_interval([_repetition(pair[i]) for pair in both], seed=seed) for i in (0, 1)]
        between = mean_interval(across, seed=seed)
        if between.prompts:
            pairs.append(Alike((one, other), len(both), between, (within[0], within[1])))
    return pairs


def _across(a: Measured, b: Measured) -> float | None:
    """Return the mean cosine across two sets: the product of the means of their unit vectors."""
    if a.centre is None or b.centre is None:
        return None
    return float(np.clip(a.centre.astype(np.float64) @ b.centre.astype(np.float64), -1.0, 1.0))


def _repetition(prompt: Measured) -> float | None:
    diversity = prompt.numbers.get("cosine_diversity")
    return None if diversity is None else 1.0 - diversity


def show(console: Console, pairs: Sequence[Alike]) -> None:
    """Print the table of all pairs."""
    table = Table(box=None, pad_edge=False)
    table.add_column("mean cosine", no_wrap=True)
    for words in ("between", "in the first", "in the second", "prompts"):
        table.add_column(words, justify="right", no_wrap=True)
    for pair in pairs:
        cells = [page.cell(x) for x in (pair.between, *pair.within)]
        table.add_row(escape(" and ".join(pair.names)), *cells, f"{pair.prompts:,}")
    console.print()
    console.print(table)
    console.print(
        "Of two samples of one prompt. Between two sets as high as within: they say the same. "
        "Another encoder has other numbers.",
        style="dim",
    )
