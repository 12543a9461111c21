"""What ``divreg measure`` prints and writes."""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from divreg.measure.generations import Problems
from divreg.measure.run import PARAMETERS, VALUES, Measurement
from divreg.measure.summary import Set
from divreg.metrics.interval import Interval

_NAMES, _COLUMN, _UNITS = 28, 13, 36  # characters that parts of the table take
_ORDER = "distinct_at_k"  # prompts with least of it are shown
_WIDTH = 88
HIGHER = {"more variety": "+", "less variety": "-", "better answers": "", "neither": ""}


def show(console: Console, found: Measurement, worst: int) -> None:
    """Print the table of all sets, what was left out, and the prompts with least variety."""
    facts, sets, numbers = found.facts, found.sets, found.numbers
    k = facts["k"]
    sizes = facts["samples_per_prompt"]
    each = f"{sizes[0]}" if len(sizes) == 1 else f"{sizes[0]} to {sizes[-1]}"
    console.print(
        f"\n{facts['prompt_count']:,} prompts, {each} samples each, {facts['samples']:,} in all. "
        f"k = {k}. The same: {facts['classes']}."
    )
    for sentence in models(facts):
        console.print(sentence, markup=False)
    if settings := facts["settings"]:
        said = "; ".join(
            f"{name} {', '.join(_setting(name, v) for v in x)}"
            f"{' and others' if len(x) >= VALUES else ''}"
            for name, x in settings.items()
        )
        console.print(f"Sampled with {said}.", markup=False)
    for sentence in left_out(facts, found.problems):
        console.print(sentence, style="yellow", markup=False)
    fit = max(2, (console.width - _NAMES) // _COLUMN)
    shown = list(sets) if len(sets) <= fit else [*sets[: fit - 1], sets[-1]]
    units = _NAMES + _COLUMN * len(shown) + _UNITS <= max(console.width, 80)
    table = Table(box=None, pad_edge=False)
    table.add_column("mean over prompts", no_wrap=True)
    for s in shown:
        table.add_column(escape(s.name), justify="right", no_wrap=True)
    table.add_column("", style="dim", no_wrap=True)
    table.add_column("", style="dim")
    for number in numbers:
        name = number.name.replace("_at_k", f"_at_{k}")
        values = [cell(s.numbers[number.name]) for s in shown]
        table.add_row(name, *values, HIGHER[number.higher], number.unit if units else "")
    console.print(table)
    console.print(
        "±: half of the 95 % interval over prompts. + more is more variety, - less.", style="dim"
    )
    if len(shown) < len(sets):
        console.print(
            f"{len(sets) - len(shown)} sets between the last two are in the JSON (--json FILE)."
        )
    _show_worst(console, sets[-1], worst, k)


def write(path: Path, measured: Measurement) -> None:
    """Write everything as JSON: facts, what was left out, sets, and every prompt."""
    facts, sets, problems = measured.facts, measured.sets, measured.problems
    found = {
        "divreg_measure": 1,
        **facts,
        "left_out": {"rows": problems.total, "why": problems.counts, "first": problems.places},
        "sets": [
            {
                "name": s.name,
                "prompts": len(s.prompts),
                "samples": s.samples,
                "numbers": finites(s.numbers),
            }
            for s in sets
        ],
        "prompts": None,
    }
    lines = [
        json.dumps({"set": p.set, "prompt": p.prompt, "n": p.n, **p.numbers}, ensure_ascii=False)
        for s in sets
        for p in s.prompts
    ]
    whole = json.dumps(found, indent=1, ensure_ascii=False)
    listed = "[\n  " + ",\n  ".join(lines) + "\n ]"
    path.parent.mkdir(parents=True, exist_ok=True)
    head, _, tail = whole.rpartition('"prompts": null')
    path.write_text(f'{head}"prompts": {listed}{tail}\n', encoding="utf-8")


def parameters(count: float) -> str:
    """Return a number of parameters as it is spoken of.

    >>> parameters(135e6), parameters(1.7e9), parameters(600_000), parameters(12)
    ('135M', '1.7B', '600K', '12')
    """
    for unit, scale in (("B", 1e9), ("M", 1e6), ("K", 1e3)):
        if count >= scale:
            return f"{count / scale:.3g}{unit}"
    return f"{count:g}"


def _setting(name: str, value: Any) -> str:
    counted = name == PARAMETERS and isinstance(value, int | float)
    return parameters(value) if counted else str(value)


def models(facts: Mapping[str, Any]) -> list[str]:
    """Return a sentence for every model and option that numbers depend on."""
    found = []
    if x := facts["encoder"]:
        found.append(f"Embedded by {x['model']}, {_cut(x)}.")
    if x := facts["judge"]:
        both = "both ways" if x["symmetric"] else "one way"
        found.append(f"Judged by {x['model']}, {both}, label {x['same']}, {_cut(x)}.")
    if x := facts["nli"]:
        found.append(f"NLI by {x['model']}, {_cut(x)}, the first {x['samples']} samples.")
    if x := facts["utility"]:
        found.append(f"Utility: the column {x}, patience 0.8.")
    if x := facts["code"]:
        found.append(f"Code: {x}.")
    if x := facts["formats"]:
        found.append(f"Formats: {', '.join(f'{n} {e}' for n, e in x.items())}; else text.")
    return found


def _cut(x: Mapping[str, Any]) -> str:
    return f"{x['truncate']}-truncated to {x['max_tokens']} tokens"


def left_out(facts: Mapping[str, Any], problems: Problems) -> list[str]:
    """Return a sentence for every reason why a row or a prompt is not in the numbers."""
    found = problems.sentences()
    if few := facts["prompts_below_k"]:
        prompts = "1 prompt has" if few == 1 else f"{few:,} prompts have"
        found.append(f"{prompts} fewer than {facts['k']} samples: not in the rows at k.")
    if unjudged := facts["prompts_unjudged"]:
        prompts = "1 prompt has" if unjudged == 1 else f"{unjudged:,} prompts have"
        found.append(f"{prompts} samples that nobody judges: not in the rows of right answers.")
    if cut := facts["cut_in_reasoning"]:
        ends = "sample ends" if cut == 1 else "samples end"
        found.append(f"{cut:,} {ends} inside reasoning: what came before it is counted.")
    if none := facts["no_program"]:
        are = "sample is" if none == 1 else "samples are"
        found.append(f"{none:,} {are} no Python: not in the rows of code.")
    for column, count in facts["columns_unread"].items():
        prompts = "1 prompt has" if count == 1 else f"{count:,} prompts have"
        found.append(
            f"{prompts} a sample without the column {column}, or with another thing in it: not in "
            f"its rows."
        )
    return found


def _show_worst(console: Console, last: Set, worst: int, k: int) -> None:
    """Print the prompts of the last set whose samples differ least."""
    known = [p for p in last.prompts if p.numbers.get(_ORDER) is not None]
    known.sort(key=lambda p: (p.numbers[_ORDER], p.first))
    if not worst or not known:
        return
    console.print(f"\nLeast variety{f' in {last.name}' if last.name else ''}:", markup=False)
    for prompt in known[:worst]:
        value = prompt.numbers[_ORDER]
        console.print(f"  {value:.1f} of {k}  {_line(prompt.prompt)}", markup=False)
        for text in prompt.samples:
            console.print(f"            {_line(text)}", style="dim", markup=False)


def _line(text: str) -> str:
    flat = " ".join(text.split())
    return flat if len(flat) <= _WIDTH else flat[: _WIDTH - 3] + "..."


def cell(x: Interval) -> str:
    """Return a mean and half of its interval.

    >>> cell(Interval(2.25, 2.0, 2.5, 40, 0)), cell(Interval(math.nan, math.nan, math.nan, 0, 3))
    ('2.25 ±0.25', 'none')
    """
    if math.isnan(x.estimate):
        return "none"
    return f"{x.estimate:.2f}" + ("" if math.isnan(x.low) else f" ±{(x.high - x.low) / 2:.2f}")


def difference(x: Interval | None) -> str:
    """Return a difference and half of its interval; a star where that excludes 0.

    >>> difference(Interval(-0.5, -0.75, -0.25, 9, 0))
    '-0.50 ±0.25*'
    >>> difference(Interval(0.5, math.nan, math.nan, 1, 8))
    '+0.50'
    """
    if x is None or math.isnan(x.estimate):
        return "none"
    if math.isnan(x.low):
        return f"{x.estimate:+.2f}"
    star = "*" if not x.low <= 0 <= x.high else " "
    return f"{x.estimate:+.2f} ±{(x.high - x.low) / 2:.2f}{star}"


def finites(named: Mapping[str, Any]) -> dict[str, Any]:
    """Return intervals, and what is beside them, as JSON can hold it: None for what is not known.

    >>> finites({"x": Interval(1.0, math.nan, math.nan, 1, 0)})["x"]["low"] is None
    True
    """
    return {n: _finite(x) if isinstance(x, Interval) else x for n, x in named.items()}


def _finite(x: Interval) -> dict[str, Any]:
    return {
        k: None if isinstance(v, float) and math.isnan(v) else v for k, v in x._asdict().items()
    }
