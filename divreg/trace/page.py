"""The report of ``divreg trace`` as one HTML file that runs offline: where a lineage lost variety.

Everything is drawn from ``trace.json``. Samples are text that a model wrote: escaped, inert.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from markupsafe import Markup

from divreg.report.charts import Chart, line_key
from divreg.report.numbers import percent
from divreg.report.offline import draw, replace_file
from divreg.trace import definitions, lost, tables
from divreg.trace.lineage import Lineage, relative
from divreg.trace.spans import Span, digits, mean_of, number
from divreg.trace.stage_charts import LARGE, SMALL, WIDE, Row, loss_chart, reach, stage_chart

SCHEMA = 2  # of trace.json
MOST = 940_000  # bytes of a page
SAMPLES = 450_000  # bytes of them that are samples
FEW = 12  # prompts below which intervals are too narrow
_LINES = 4  # of a chart: colours and dashes that can be told apart
_HIGHEST = 200.0  # % of the first stage: what rose by more is drawn there

_OF_ALL = ("cosine_diversity", "vendi", "distinct_at_k", "ead", "class_entropy", "different_pairs")
_TILES = ("distinct_correct_at_k", "distinct_at_k", "vendi", "ead", "pass_at_1", "pass_at_k")
_SECTIONS = {
    "verdict": "Verdict",
    "stages": "Stages",
    "why": "Why",
    "tasks": "Tasks",
    "numbers-table": "Numbers",
    "prompts": "Prompts",
    "definitions": "Definitions",
    "measured": "Measured",
    "reproduce": "Reproduce",
}


def write(path: Path, result: Mapping[str, Any]) -> None:
    """Write the page of a trace.

    Args:
        path: An HTML file.
        result: What ``trace.json`` holds.

    Raises:
        ValueError: If it cannot be written, or ``result`` is of another version.
    """
    replace_file(path, render(result), "divreg trace", "Name another folder: --output-dir DIR.")


def render(result: Mapping[str, Any]) -> str:
    """Return the page of a trace.

    Args:
        result: What ``trace.json`` holds.

    Raises:
        ValueError: If it is of another version.
    """
    if result.get("divreg_trace") != SCHEMA:
        raise ValueError(
            f"the page of a trace needs a trace.json of version {SCHEMA}; got version "
            f"{result.get('divreg_trace')}. Run divreg trace once more: it keeps the samples."
        )
    view = _view(result)
    bare = draw("trace.html.jinja", part="trace", style="trace.css", **view)
    room = min(SAMPLES, MOST - len(bare.encode()))
    shown, left_out = lost.prompts(view["it"].tasks, view["it"].stages, view["it"].k, room)
    for task, prompts in zip(view["tasks"], shown, strict=True):
        task["prompts"] = prompts
    view["prompts_left_out"] = left_out
    return draw("trace.html.jinja", part="trace", style="trace.css", **view)


def _view(result: Mapping[str, Any]) -> dict[str, Any]:
    """Everything that the template prints."""
    it = Lineage(result)
    charts, cards = _overview(it), _cards(it)
    split = any(any(own) for own in it.losses)
    return {
        "version": result["versions"].get("divreg", ""),
        "sections": {k: v for k, v in _SECTIONS.items() if len(it.tasks) > 1 or k != "tasks"},
        "data": {c.id: c.data for c in (*charts, *(card["chart"] for card in cards))},
        "result": result,
        "it": it,
        "several": len(it.tasks) > 1,
        "keys": [line_key(i) for i in range(_LINES)],
        "tone": _tone(it),
        "tiles": _tiles(it),
        "cautions": _cautions(it),
        "charts": charts,
        "missing": _missing(it, result),
        "loss": _loss_picture(it),
        "losses": tables.losses(it),
        "split_tasks": sum(all(own) for own in it.losses),
        "unsplit": _unsplit(it),
        "matrix": tables.by_stage(it) if len(it.tasks) > 1 else None,
        "cards": cards,
        "tasks": [_task(it, task) for task in it.tasks],
        "prompts_left_out": 0,
        "definitions": definitions.rows(result["numbers"], it.k, it.leads[0] if split else None),
    }


def _overview(it: Lineage) -> list[Chart]:
    """Numbers over the stages: of all samples, of right ones, and how many are right."""
    more = [name for name, n in it.numbers.items() if n["higher"] == "more variety"]
    right = [name for name in more if "correct" in name]
    every = [name for name in _OF_ALL if name in more]
    every += [name for name in more if name not in (*every, *right)]
    rates = [name for name, n in it.numbers.items() if n["higher"] == "better answers"]
    charts = [
        _relative_chart(it, "all", "Variety of all samples", every),
        _relative_chart(it, "right", "Variety among right answers", right),
    ]
    rows, counts = [], set()
    for name in rates[:_LINES]:
        spans, count = it.over_tasks(name)
        if count:
            rows.append(Row(it.title(name), spans))
            counts.add(count)
    if rows:
        name = "Right answers"
        chart = stage_chart("stages-accuracy", name, "probability", it.stages, rows, top=1.0)
        chart.caption = _of_tasks(it, counts)
        charts.append(chart)
    return [chart for chart in charts if chart]


def _relative_chart(it: Lineage, id: str, name: str, numbers: Sequence[str]) -> Chart | None:
    rows, counts = [], set()
    for one in numbers:
        spans, count = it.over_tasks(one, relative)
        if count and len(rows) < _LINES:
            since = next(i for i, s in enumerate(spans) if s)
            label = it.title(one) + (f", in % of {it.stages[since]}" if since else "")
            rows.append(Row(label, spans))
            counts.add(count)
    if not rows:
        return None
    unit, highest = f"% of {it.stages[0]}", max(s.estimate for r in rows for s in r.spans if s)
    top = 1.04 * max(100.0, min(highest, 2 * _HIGHEST))
    chart = stage_chart(f"stages-{id}", name, unit, it.stages, rows, top=top, level=100.0, places=0)
    chart.caption = _of_tasks(it, counts)
    return chart


def _of_tasks(it: Lineage, counts: set[int]) -> str:
    if len(it.tasks) == 1:
        return ""
    listed = " to ".join(str(n) for n in sorted({min(counts), max(counts)}))
    return f"Mean over the {listed} of {len(it.tasks)} tasks that have it at every stage."


def _tone(it: Lineage) -> str:
    """The colour of the verdict: of a loss that is sure, of a gain that is, of neither."""
    for name in reversed(it.leads):
        if known := [change for task in it.tasks if (change := it.change(task, name))]:
            mean = mean_of(known)
            return "" if not mean.sure else "narrowing" if mean.estimate < 0 else "healthy"
    return ""


def _tiles(it: Lineage) -> list[dict[str, str]]:
    """First and last stage of numbers that the verdict does not tell."""
    found = []
    for name in filter(it.numbers.get, _TILES):
        spans, count = it.over_tasks(name)
        if not count or not spans[0] or not spans[-1]:
            continue
        places, (before, after) = digits(spans), (spans[0].estimate, spans[-1].estimate)
        accuracy = it.numbers[name]["higher"] == "better answers"
        change = percent((after - before) / before) if before > 0 and not accuracy else ""
        found.append(
            {
                "title": it.title(name),
                "before": number(before, places),
                "after": number(after, places),
                "change": number(after - before, places, signed=True) if accuracy else change,
            }
        )
    return found


def _cautions(it: Lineage) -> list[str]:
    few = [f"{task['task']} {task['prompts']}" for task in it.tasks if task["prompts"] < FEW]
    if not few:
        return []
    more = f" and {len(few) - 6} more tasks" if len(few) > 6 else ""
    return [
        f"Few prompts ({', '.join(few[:6])}{more}): intervals are too narrow then. With five "
        f"prompts, a 95 % interval holds the truth in some 84 % of cases, with twelve in 90 %."
    ]


def _missing(it: Lineage, result: Mapping[str, Any]) -> list[str]:
    """Why charts or lines are not there, in sentences."""
    said = []
    if not any("correct" in name and it.over_tasks(name)[1] for name in it.numbers):
        said.append(
            "Nothing is known of right answers: nobody says what is right in any of the tasks."
            if not any(task["graded"] for task in it.tasks)
            else "Variety among right answers is not known: too few prompts have two of them."
        )
    if not result.get("encoder"):
        said.append(
            "No encoder was given, so nothing says how far apart samples are in meaning: there is "
            "no cosine diversity and no Vendi score. Type --encoder NAME to have them."
        )
    return said


def _loss_picture(it: Lineage) -> Markup | None:
    overall = it.mean_losses()
    if not any(overall):
        return None
    named = list(zip(it.stages[1:], overall, strict=True))
    size = LARGE if len(it.tasks) > 1 else WIDE
    return loss_chart("What every stage lost", named, reach(overall), it.loss_unit, size=size)


def _unsplit(it: Lineage) -> list[str]:
    """Why the loss of some tasks is not split, in sentences."""
    pairs = list(zip(it.tasks, it.losses, strict=True))
    ungraded = [task["task"] for task, _ in pairs if not task["graded"]]
    few = [task["task"] for task, own in pairs if task["graded"] and not all(own)]
    said = []
    if ungraded:
        whole = "this task" if len(pairs) == 1 else "any task"
        which = whole if len(ungraded) == len(pairs) else ", ".join(ungraded)
        said.append(
            f"Nobody says what is right in {which}, so what was lost there cannot be split into "
            f"fewer wrong answers and narrowing among right ones."
        )
    if few:
        said.append(
            f"Not split at every stage, since too few prompts have two right answers before and "
            f"after it: {', '.join(few)}."
        )
    return said


def _cards(it: Lineage) -> list[dict[str, Any]]:
    """For every task a small chart of the leads, and what each stage lost.

    Of several tasks all charts are in % of the first stage, on one scale; of one in its own unit.
    """
    many = len(it.tasks) > 1
    span_of_all = reach([parts for own in it.losses for parts in own])
    way = relative if many else list
    size = SMALL if many else WIDE if any(it.losses[0]) else LARGE  # what it stands beside
    drawn = [[way(it.spans(task, name)) for name in it.leads] for task in it.tasks]
    highest = max((s.estimate for own in drawn for row in own for s in row if s), default=100.0)
    top = 1.04 * max(100.0, min(_HIGHEST, highest)) if many else None
    cards = []
    for i, (task, own) in enumerate(zip(it.tasks, drawn, strict=True)):
        rows = [
            Row(name, row)
            for name, row in zip(("all samples", "right ones"), own, strict=True)
            if any(row)
        ]
        chart = stage_chart(
            f"task-chart-{i}", task["task"], it.loss_unit, it.stages, rows, size=size, top=top,
            level=100.0 if many else None, places=0 if many else 2,
        )  # fmt: skip
        named = list(zip(it.stages[1:], it.losses[i], strict=True))
        late = [
            f"{row.label} in % of {it.stages[since]}"
            for row in rows
            if many and (since := next(j for j, s in enumerate(row.spans) if s))
        ]
        cards.append(
            {
                "name": task["task"],
                "group": task.get("group") or "",
                "graded": task["graded"],
                "chart": chart,
                "known": bool(rows),
                "late": late,
                "ends": [_ends(it.spans(task, name)) for name in (*it.leads, "pass_at_1")],
                "loss": loss_chart(task["task"], named, span_of_all, it.loss_unit, size=SMALL)
                if any(it.losses[i])
                else None,
            }
        )
    return cards


def _ends(spans: Sequence[Span | None]) -> str:
    """The first and the last value that is known."""
    known = [s for s in spans if s]
    if not known:
        return ""
    places = digits(known)
    return f"{number(known[0].estimate, places)} → {number(known[-1].estimate, places)}"


def _task(it: Lineage, task: Mapping[str, Any]) -> dict[str, Any]:
    """What the page tells of a task beside its charts."""
    stages = [(name, task["stages"].get(name) or {}) for name in it.stages]
    return {
        "task": task["task"],
        "group": task.get("group") or "",
        "graded": task["graded"],
        "source": task["source"],
        "count": task["prompts"],
        "max_tokens": task["max_tokens"],
        "classes": "their class" if task["classes"] == lost.BY_CLASS else task["classes"],
        "intervals": (stages[0][1].get("facts") or {}).get("intervals", ""),
        "verdict": task["verdict"],
        "lost_any": bool(task["lost_most"]),
        "rows": tables.numbers(it, task),
        "notes": [f"{name}: {says}" for name, one in stages for says in one.get("left_out", ())],
        "ends": [_ends(it.spans(task, name)) for name in (it.leads[0], "pass_at_1")],
        "prompts": [],
    }
