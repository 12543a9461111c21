"""Sets in the order of their models' sizes: are larger models less diverse?"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from divreg.measure import page
from divreg.measure.run import PARAMETERS, Measurement
from divreg.measure.summary import Measured
from divreg.metrics.interval import Interval, difference_interval
from divreg.metrics.rank_correlation import rank_correlation

LEAD = "distinct_at_k"
NUMBERS = (LEAD, "distinct_correct_at_k", "top_mass", "branching_factor")
_LABELS = {LEAD: "unique outputs", "distinct_correct_at_k": "unique right outputs"}
_TOKENS = ("top_mass", "branching_factor")  # of tokens, so of the tokenizer too
_PROOF = 6  # sets: fewer in order are too likely by chance to prove anything
_SIZE = re.compile(r"\d+(\.\d+)?(e\d+)?[kmb]?", re.IGNORECASE)
_UNITS = {"k": 10**3, "m": 10**6, "b": 10**9}


@dataclass(frozen=True)
class Trend:
    """One number of all sets, from the smallest model to the largest.

    Attributes:
        values: Means over the prompts that all sets have.
        correlation: Of their ranks with those of the sizes; NaN where nothing varies.
        difference: Of the largest model and the smallest, prompt by prompt.
    """

    values: list[float]
    correlation: float
    difference: Interval


@dataclass(frozen=True)
class BySize:
    """Sets in the order of their models' sizes.

    Attributes:
        sizes: Parameters by set, ascending.
        k: Samples that counts are brought to.
        trends: By number.
    """

    sizes: dict[str, float]
    k: int
    trends: dict[str, Trend]

    def as_json(self) -> dict[str, Any]:
        """Return it as JSON can hold it."""
        return {
            "parameters": self.sizes,
            "numbers": {
                name: {
                    "values": dict(zip(self.sizes, trend.values, strict=True)),
                    "rank_correlation": _known(trend.correlation),
                    **page.finites({"largest_minus_smallest": trend.difference}),
                }
                for name, trend in self.trends.items()
            },
            "said": sentence(self),
        }


def sizes_of(found: Mapping[str, Measurement], wanted: str | None) -> dict[str, float] | None:
    """Return the parameters of every set's model; None where they are not known, or all equal.

    Args:
        found: What was measured, by set.
        wanted: ``NAME=N,NAME=N``; None takes the column ``parameters`` of the rows.

    Raises:
        ValueError: If ``wanted`` does not name every set once, with a number.
    """
    if wanted is not None:
        named = [word.partition("=") for word in wanted.split(",")]
        given = {name.strip(): size.strip() for name, _, size in named}
        if set(given) != set(found) or not all(map(_SIZE.fullmatch, given.values())):
            example = ",".join(f"{name}={135 * 2**i}M" for i, name in enumerate(found))
            raise ValueError(
                f"--sizes needs the parameters of every set; got {wanted!r} for "
                f"{', '.join(found)}. Write --sizes {example}."
            )
        return {name: _number(given[name]) for name in found}
    said = {name: m.facts["settings"].get(PARAMETERS, []) for name, m in found.items()}
    one_each = all(len(own) == 1 and isinstance(own[0], int | float) for own in said.values())
    sizes = {name: float(own[0]) for name, own in said.items()} if one_each else {}
    return sizes if len(set(sizes.values())) > 1 else None


def by_size(
    sizes: Mapping[str, float],
    prompts: Mapping[str, Mapping[str, Measured]],
    k: int,
    seed: int,
) -> BySize:
    """Return what changes with the size of models.

    Args:
        sizes: Parameters by set.
        prompts: The prompts of every set, by set and prompt.
        k: Samples that counts are brought to.
        seed: Of the intervals.
    """
    order = dict(sorted(sizes.items(), key=lambda item: item[1]))
    trends = {}
    for name in NUMBERS:
        tables = [{p: m.numbers.get(name) for p, m in prompts[own].items()} for own in order]
        common = [p for p in tables[0] if all(t.get(p) is not None for t in tables)]
        if not common:
            continue
        columns = [[float(table[p]) for p in common] for table in tables]  # pyright: ignore[reportArgumentType]
        means = [sum(column) / len(common) for column in columns]
        trends[name] = Trend(
            means,
            rank_correlation(list(order.values()), means),
            difference_interval(columns[-1], columns[0], seed=seed),
        )
    return BySize(order, k, trends)


def sentence(found: BySize) -> str:
    """Return in one sentence whether larger models are less diverse."""
    if LEAD not in found.trends:
        return f"No prompt of all sets has {found.k} samples: unique outputs cannot be compared."
    trend, (small, *_, large) = found.trends[LEAD], found.sizes
    x, first, last = trend.difference, trend.values[0], trend.values[-1]
    if x.prompts < 2 or math.isnan(x.low):
        said = f"{x.prompts} prompt of all sets is too few to say anything"
    elif x.low <= 0 <= x.high:
        said = "the largest model says as many different things as the smallest, as far as seen"
    else:
        said = f"the largest model says {'more' if x.estimate > 0 else 'fewer'} different things"
        if x.estimate * trend.correlation <= 0:
            said += ", but those between do not follow"
    sets = len(found.sizes)
    sure = f"{sets} sets: a direction, no proof" if sets < _PROOF else f"{sets} sets"
    low, high = (page.parameters(found.sizes[name]) for name in (small, large))
    return (
        f"Unique outputs in {found.k}: {first:.2f} at {low} parameters ({small}), {last:.2f} at "
        f"{high} ({large}), a difference of {page.difference(x).rstrip('* ')} over "
        f"{x.prompts:,} prompts; {said} ({sure})."
    )


def show(console: Console, found: BySize) -> None:
    """Print the table by size, and the sentence."""
    table = Table(box=None, pad_edge=False)
    table.add_column("by size of model", no_wrap=True)
    for name, size in found.sizes.items():
        table.add_column(f"{escape(name)}\n{page.parameters(size)}", justify="right", no_wrap=True)
    table.add_column("largest -\nsmallest", justify="right", no_wrap=True)
    table.add_column("rank\ncorr.", justify="right", no_wrap=True)
    for name, trend in found.trends.items():
        label = _LABELS.get(name, name)
        label += f" in {found.k}" if name.endswith("_at_k") else ""
        correlation = _known(trend.correlation)
        table.add_row(
            label,
            *(f"{value:.2f}" for value in trend.values),
            page.difference(trend.difference),
            "none" if correlation is None else f"{correlation:+.2f}",
        )
    console.print()
    console.print(table)
    if set(_TOKENS) & set(found.trends):
        console.print(
            "top_mass and branching_factor are of tokens: compare models that share a tokenizer.",
            style="dim",
        )
    console.print(sentence(found), markup=False)


def _number(text: str) -> float:
    """Return what a size says.

    >>> _number("135M"), _number("1.35e8")
    (135000000.0, 135000000.0)
    """
    unit = _UNITS.get(text[-1].lower())
    return float(text[:-1]) * unit if unit else float(text)


def _known(x: float) -> float | None:
    return None if math.isnan(x) else x
