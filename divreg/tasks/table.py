"""The demo's results as a table: a row for each way to train, and what diverse keeps of it."""

from collections.abc import Mapping, Sequence
from statistics import fmean, stdev
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from divreg.tasks import runs

Line = Mapping[str, Any]
"""The result of one run, or of the base model."""

_MEASURES = {
    "pass_at_1": ("pass@1", 2),
    "pass_at_k": ("pass@32", 2),
    "distinct_correct": ("distinct\ncorrect", 1),
    "entropy_nats": ("entropy\n(nats)", 2),
    "distinct_ngrams": ("distinct\nn-grams", 2),
}


def print_table(console: Console, found: Mapping[str, Any]) -> None:
    """Print what ``divreg demo --seeds N`` has found, the content of its ``table.json``."""
    by_row = {row: [line for line in found["runs"] if line["row"] == row] for row in runs.ROWS}
    best = max(runs.ENTROPY, key=lambda r: _mean(by_row[r.name], "distinct_correct"))
    rows = [(f"{r.label} *" if r is best else r.label, by_row[r.name]) for r in runs.ROWS.values()]
    console.print()
    console.print(score_table([("base", [found["base"]]), *rows]))
    console.print(
        f"Means over {len(by_row[runs.PLAIN.name])} seeds ± standard errors. * keeps most of the "
        f"{len(runs.ENTROPY)} coefficients.\n{legend(found['base'])}"
    )
    for row in (runs.PLAIN, best):
        console.print(_contrast(by_row[runs.DIVERSE.name], by_row[row.name], row.label))


def score_table(groups: Sequence[tuple[str, Sequence[Line]]], title: str = "") -> Table:
    """Lay out one row per group of results: means, and standard errors where there are several."""
    table = Table(
        title=title or None,
        title_justify="left",
        title_style="bold",
        box=SIMPLE_HEAD,
        show_edge=False,
        padding=(0, 1, 0, 0),
    )  # fits 80 columns
    table.add_column("", no_wrap=True)
    for heading, _ in _MEASURES.values():
        table.add_column(heading, justify="right", vertical="bottom", no_wrap=True)
    for label, lines in groups:
        style = "bold green" if label == runs.DIVERSE.label else ""
        cells = [_cell(lines, name, digits) for name, (_, digits) in _MEASURES.items()]
        table.add_row(label, *cells, style=style)
    return table


def legend(line: Line, task: str = "expressions") -> str:
    """Say what the columns of the table are, from any of its results."""
    from divreg.tasks import corpora, expressions

    if task != "expressions":
        return (
            f"On {line['targets']} prompts that the runs never saw, {line['samples']} samples "
            f"each.\npass@1: share right. Distinct correct: different right answers among "
            f"{line['k']}.\nEntropy: of a token. Distinct n-grams: of characters, unseen by the "
            f"reward.\n"
        )
    most = corpora.distinct_in_data(expressions.targets("held_out"), line["k"])
    return (
        f"On {line['targets']} numbers that the runs never asked for, {line['samples']} samples "
        f"each.\npass@1: share right. Distinct correct: different right answers among "
        f"{line['k']}\n(8*3 and 3*8 are one); {line['k']} right ones of the base model's own data "
        f"hold {most:.1f}.\nEntropy: of a token. Distinct n-grams: of characters, unseen by the "
        f"reward.\n"
    )


def _contrast(ours: list[Line], theirs: list[Line], label: str) -> str:
    """Say what diverse keeps of another row and what it costs, seed by seed."""
    parts = []
    for name, digits in {"distinct_correct": 2, "pass_at_1": 3}.items():
        gaps = [a[name] - b[name] for a, b in zip(ours, theirs, strict=True)]
        heading = _MEASURES[name][0].replace("\n", " ")
        parts.append(f"{heading} {fmean(gaps):+.{digits}f}±{_error(gaps):.{digits}f}")
    return f"diverse against {label}, paired by seed:\n  {', '.join(parts)}"


def _error(values: Sequence[float]) -> float:
    return stdev(values) / len(values) ** 0.5


def _cell(lines: Sequence[Line], name: str, digits: int) -> str:
    mean = f"{_mean(lines, name):.{digits}f}"
    if len(lines) < 2:
        return mean
    return f"{mean}±{_error([line[name] for line in lines]):.{digits}f}"


def _mean(lines: Sequence[Line], name: str) -> float:
    return fmean(line[name] for line in lines)
