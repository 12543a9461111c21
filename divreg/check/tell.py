"""What ``divreg check`` prints and writes."""

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from divreg.measure import generations, page
from divreg.measure.compare import compare, verdict
from divreg.measure.run import Measurement
from divreg.metrics.interval import Interval

if TYPE_CHECKING:
    from divreg.trace.sampling import Plan

_SHOWN = {
    "pass_at_1": "right answers, share",
    "distinct_correct_at_k": "different right answers",
    "different_pairs_correct": "two right answers differ, share",
    "class_entropy": "entropy of the answers, nats",
    "branching_factor": "branching factor",
    "vendi": "Vendi score",
}
_WORDS = 24  # characters of an answer that are shown
_CATEGORY = 18  # of a category
Favourites = Mapping[str, list[tuple[str, int, bool]]]
"""The answers to every category, the most frequent first: text, count, right."""


@dataclass(frozen=True)
class Checked:
    """One model.

    Attributes:
        plan: What it was asked.
        measured: Its numbers.
        favourites: Its answers.
    """

    plan: "Plan"
    measured: Measurement
    favourites: Favourites

    @property
    def numbers(self) -> Mapping[str, Interval]:
        """Means over the categories."""
        return self.measured.sets[0].numbers


def favourites(plan: "Plan") -> Favourites:
    """Return what a model answers."""
    from divreg.trace.sampling import asked

    counts: dict[str, Counter[str]] = {}
    said: dict[tuple[str, str], tuple[str, bool]] = {}
    for sample in generations.read([plan.path], generations.Problems()):
        key = str(sample.fields["class"])
        counts.setdefault(sample.prompt, Counter())[key] += 1
        text = " ".join(sample.text.split()) or "(nothing)"
        said.setdefault((sample.prompt, key), (text, bool(sample.fields["correct"])))
    return {
        row["category"]: [
            (said[asked(row), key][0], n, said[asked(row), key][1])
            for key, n in counts[asked(row)].most_common()
        ]
        for row in plan.rows
    }


def no_template(console: Console, name: str) -> None:
    """Say how a model is asked that has no chat template."""
    console.print(
        f"{name} has no chat template: it is asked in the few-shot style.",
        style="yellow",
        markup=False,
    )


def show(console: Console, found: Mapping[str, Checked], samples: int, seed: int) -> None:
    """Print the tables, and what they say in words."""
    console.print()
    console.print(_by_category(found, console.width))
    console.print()
    console.print(_overall(found, samples))
    console.print("±: half of the 95 % interval over categories.\n", style="dim")
    first, *others = found
    if not others:
        console.print(_sentence(first, found[first], samples), markup=False, soft_wrap=True)
    measured = {name: checked.measured for name, checked in found.items()}
    for name in others:
        change = compare({first: measured[first], name: measured[name]}, name, seed)
        for sentence in verdict(change, samples):
            console.print(sentence, markup=False, soft_wrap=True)


def write(path: Path, found: Mapping[str, Checked], written: Mapping[str, Any]) -> None:
    """Write every number and answer as JSON."""
    told = {
        "divreg_check": 1,
        **written,
        "models": {
            name: {
                **{k: v for k, v in checked.measured.facts.items() if k != "path"},
                "samples_file": checked.plan.path.name,
                "numbers": page.finites(checked.numbers),
                "categories": [
                    {"category": row["category"], "n": p.n, **p.numbers}
                    for row, p in _rows(checked)
                ],
                "answers": checked.favourites,
            }
            for name, checked in found.items()
        },
    }
    path.write_text(json.dumps(told, indent=1, ensure_ascii=False) + "\n", "utf-8")


def _rows(checked: Checked) -> list[tuple[Mapping[str, Any], Any]]:
    """Return the categories with their numbers, in the order in which they were asked."""
    from divreg.trace.sampling import asked

    numbers = {p.prompt: p for p in checked.measured.sets[0].prompts}
    return [(row, numbers[asked(row)]) for row in checked.plan.rows]


def _by_category(found: Mapping[str, Checked], width: int) -> Table:
    """Return a line a category: right, different right, and what is said most."""
    several, last = len(found) > 1, list(found)[-1]
    room = width - _CATEGORY - 2 - len(found) * (5 + 2 + 9 + 2)
    table = Table(box=None, pad_edge=False)
    table.add_column("", no_wrap=True, min_width=_CATEGORY)
    for name in found:
        own = f"\n{escape(name)}" if several else ""
        table.add_column(f"right{own}", justify="right", min_width=5)
        table.add_column(f"different{own}", justify="right", min_width=9)
    table.add_column(f"said most{f' by {escape(last)}' if several else ''}", no_wrap=True)
    lines = []
    for rows in zip(*(_rows(checked) for checked in found.values()), strict=True):
        category, different = rows[0][0]["category"], 0.0
        cells = []
        for _, prompt in rows:
            different = prompt.numbers["distinct_correct_at_k"] or 0.0
            cells += [f"{prompt.numbers['pass_at_1'] or 0.0:.2f}", f"{different:.1f}"]
        said = ", ".join(
            f"{text[:_WORDS]} {n}{'' if right else ' (wrong)'}"
            for text, n, right in found[last].favourites[category][:3]
        )
        said = said if len(said) <= room else f"{said[: room - 1]}…"
        lines.append((different, (category, *cells, escape(said))))
    for _, cells in sorted(lines, key=lambda line: line[0]):
        table.add_row(*cells)
    return table


def _overall(found: Mapping[str, Checked], samples: int) -> Table:
    table = Table(box=None, pad_edge=False)
    table.add_column("mean over categories", no_wrap=True)
    for name in found:
        table.add_column(escape(name) if len(found) > 1 else "", justify="right", no_wrap=True)
    for number, words in _SHOWN.items():
        values = [checked.numbers.get(number) for checked in found.values()]
        known = [x for x in values if x is not None]
        if len(known) == len(values):
            words = f"{words} in {samples}" if number == "distinct_correct_at_k" else words
            table.add_row(words, *map(_cell, known))
    return table


def _cell(x: Interval) -> str:
    return f"{x.estimate:.2f} ±{(x.high - x.low) / 2:.2f}"


def _sentence(name: str, checked: Checked, samples: int) -> str:
    """Return what one model does, in words, with the category that has the commonest answer."""
    right, different = checked.numbers["pass_at_1"], checked.numbers["distinct_correct_at_k"]
    said = [(c, *own[0]) for c, own in checked.favourites.items() if own and own[0][2]]
    most = max(said, key=lambda row: row[2], default=None)
    told = (
        f" Asked for a kind of {most[0]} {samples} times, it says {most[1]!r} {most[2]} times."
        if most
        else ""
    )
    return (
        f"{name}: {right.estimate:.0%} of the answers are right, and among {samples} there are "
        f"{different.estimate:.1f} different right ones ({different.low:.1f} to "
        f"{different.high:.1f}).{told}"
    )
