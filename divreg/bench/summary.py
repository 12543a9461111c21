"""The results of a benchmark in numbers: means, standard errors, paired differences, the front."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import Any

Line = Mapping[str, Any]
"""The result of one run."""


@dataclass(frozen=True)
class Mean:
    """A mean over seeds and its standard error (None of a single seed)."""

    value: float
    error: float | None

    def show(self, digits: int | None = None) -> str:
        """Print it: ``0.89±0.01``; a count, where no digits are given, with one or two."""
        if digits is None:
            digits = 1 if abs(self.value) >= 2 else 2
        shown = f"{self.value:.{digits}f}"
        return shown if self.error is None else f"{shown}±{self.error:.{digits}f}"


@dataclass(frozen=True)
class Summary:
    """One row of the table.

    Attributes:
        name: The row.
        label: Its label.
        baseline: Whether a user would take it instead of a method.
        seeds: How many runs it has.
        right: pass@1.
        distinct: Different right answers in ``k`` samples.
        most: pass@k of the largest budget.
        curve: pass@k by k.
        entropy: [step, nats], of the first seed.
        step_ms: Milliseconds of a step, None where they were not measured.
        method_ms: What of them the method takes.
        gains: Paired by seed with the first row: what its ``right`` and ``distinct`` are more.
        on_front: Whether no other row has more of both ``right`` and ``distinct``.
        nats: What a held-out answer costs, by the name of the set of answers.
        others: Further columns by heading: of all that its runs, and the first row's, measured.
        more_nats: Paired by seed with the first row: what they are more, below 0 where likelier.
    """

    name: str
    label: str
    baseline: bool
    seeds: int
    right: Mean
    distinct: Mean
    most: Mean
    curve: Mapping[int, float]
    entropy: Sequence[Sequence[float]]
    step_ms: float | None
    method_ms: float | None
    gains: tuple[Mean, Mean] | None
    on_front: bool
    nats: Mapping[str, Mean]
    others: Mapping[str, Mean]
    more_nats: Mapping[str, Mean]


def summarise(found: Mapping[str, Any]) -> list[Summary]:
    """Summarise ``results.json``: the rows in the plan's order, those without a run left out."""
    by_row = {
        row["name"]: [line for line in found["runs"] if line["row"] == row["name"]]
        for row in found["rows"]
    }
    first = by_row[found["rows"][0]["name"]]
    points = {
        name: (_mean(lines, "pass_at_1").value, _mean(lines, "distinct_correct").value)
        for name, lines in by_row.items()
        if lines
    }
    costs = {line["row"]: line for line in found.get("costs", ())}
    return [
        Summary(
            row["name"],
            row["label"],
            row["baseline"],
            len(lines),
            _mean(lines, "pass_at_1"),
            _mean(lines, "distinct_correct"),
            mean([_largest(line) for line in lines]),
            {int(k): fmean(line["pass_at"][k] for line in lines) for k in lines[0]["pass_at"]},
            lines[0]["entropy_curve"],
            costs.get(row["name"], {}).get("step_ms"),
            costs.get(row["name"], {}).get("method_ms"),
            None if lines is first else _gains(lines, first),
            not any(_beats(other, points[row["name"]]) for other in points.values()),
            {n: mean([x["held_out_nats"][n] for x in lines]) for n in _sets(lines)},
            {head: mean([_at(x, path) for x in lines]) for head, path in _columns(found)},
            {} if lines is first else _paired_nats(lines, first),
        )
        for row in found["rows"]
        if (lines := by_row[row["name"]])
    ]


def mean(values: Sequence[float]) -> Mean:
    """Return the mean of one value per seed.

    >>> mean([1.0, 3.0]).show(1), mean([2.0]).show(0)
    ('2.0±1.0', '2')
    """
    error = stdev(values) / len(values) ** 0.5 if len(values) > 1 else None
    return Mean(fmean(values), error)


def _mean(lines: Sequence[Line], name: str) -> Mean:
    return mean([line[name] for line in lines])


def _largest(line: Line) -> float:
    return line["pass_at"][max(line["pass_at"], key=int)]


def _gains(lines: Sequence[Line], first: Sequence[Line]) -> tuple[Mean, Mean] | None:
    """Pair runs of one seed: what the seed does to both is no difference between them."""
    pairs = _paired(lines, first)
    if not pairs:
        return None
    right, distinct = (
        mean([a[name] - b[name] for a, b in pairs]) for name in ("pass_at_1", "distinct_correct")
    )
    return right, distinct


def _columns(found: Mapping[str, Any]) -> list[tuple[str, tuple[str, ...]]]:
    """Return heading and place of what benchmarks on some tasks measure besides, and all runs have.

    Entropy of the right answers and the Vendi score, and what is asked on the other splits.
    """
    k = found["runs"][0]["k"]
    splits = found["runs"][0].get("on", {})
    own = {"class entropy, nats": ("class_entropy_nats",), "Vendi": ("vendi",)}
    for split in splits:
        asked = {"pass@1": "pass_at_1", f"different in {k}": "distinct_correct"}
        own |= {f"{split}: {head}": ("on", split, name) for head, name in asked.items()}
    return [
        (head, path)
        for head, path in own.items()
        if all(_at(line, path) is not None for line in found["runs"])
    ]


def _at(line: Any, path: Sequence[str]) -> Any:
    for name in path:
        line = line.get(name) if line else None
    return line


def _sets(lines: Sequence[Line]) -> list[str]:
    """Return the names of the held-out answers that every run was asked for."""
    return [
        n for n in lines[0].get("held_out_nats", {}) if all("held_out_nats" in x for x in lines)
    ]


def _paired_nats(lines: Sequence[Line], first: Sequence[Line]) -> dict[str, Mean]:
    pairs = _paired(lines, first)
    names = [n for n in _sets(lines) if n in _sets(first)] if pairs else []
    return {
        n: mean([a["held_out_nats"][n] - b["held_out_nats"][n] for a, b in pairs]) for n in names
    }


def _paired(lines: Sequence[Line], first: Sequence[Line]) -> list[tuple[Line, Line]]:
    theirs = {line["seed"]: line for line in first}
    return [(line, theirs[line["seed"]]) for line in lines if line["seed"] in theirs]


def _beats(one: tuple[float, float], other: tuple[float, float]) -> bool:
    return one[0] > other[0] and one[1] > other[1]
