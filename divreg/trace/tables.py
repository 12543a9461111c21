"""The tables of a trace's page: losses in parts, tasks by stages, the numbers of every task."""

from collections.abc import Mapping
from typing import Any

from divreg.report.numbers import percent
from divreg.trace.lineage import Lineage
from divreg.trace.spans import Span, digits, in_words, number, span, with_half
from divreg.trace.stage_charts import Parts

_UNDEFINED = 0.05  # of the draws: beyond that a share of a loss says nothing
_SANE = 1.25  # of a loss: a larger share of narrowing means that wrong answers hide it
_TINTS = (0.05, 0.2, 0.5)  # relative changes from which on a cell is tinted, stronger each time


def losses(it: Lineage) -> list[dict[str, Any]]:
    """What each stage lost and why: the mean over tasks first, then every task that is split."""
    groups = []
    places = 1 if len(it.tasks) > 1 else digits([p.total for own in it.losses for p in own if p])
    overall = it.mean_losses()
    if len(it.tasks) > 1 and any(overall):
        groups.append(("mean over tasks", overall, [{}] * len(overall)))
    for task, own in zip(it.tasks, it.losses, strict=True):
        if any(own):
            found = [it.split(change) for change in task["against_the_stage_before"]]
            groups.append((task["task"], own, found))
    return [
        {
            "task": task,
            "rows": [
                {"stage": stage, **_loss(parts, found, places)}
                for stage, parts, found in zip(it.stages[1:], own, raw, strict=True)
            ],
        }
        for task, own, raw in groups
    ]


def _loss(parts: Parts | None, found: Mapping[str, Any], places: int) -> dict[str, Any]:
    if parts is None:
        return {"cells": None}
    spans = (parts.total, parts.narrowing, parts.fewer_wrong)
    return {
        "cells": [with_half(s, places) for s in spans],
        "share": _share(parts, found),
        "prompts": parts.total.prompts,
    }


def _share(parts: Parts, found: Mapping[str, Any]) -> str:
    """Which share of a loss is narrowing, where there is a loss to share."""
    total, narrowing = parts.total, parts.narrowing
    if not (total.sure and total.estimate > 0):
        return "no sure loss"
    genuine = span(found.get("genuine_frac"))
    whole = narrowing.estimate / total.estimate if genuine is None else genuine.estimate
    if whole > _SANE:
        return "more than was lost"
    if genuine is None:  # a mean over tasks
        return f"{number(100 * whole, 0)} %"
    if (found.get("undefined_frac") or 0.0) > _UNDEFINED:
        return "not known"
    return in_words(genuine.times(100), 0, " %")


def by_stage(it: Lineage) -> dict[str, Any]:
    """Tasks by stages: what went of a lead, in % of the first stage, so that a row adds up."""
    right = any(any(it.spans(task, it.leads[1])) for task in it.tasks)
    used = it.leads if right else it.leads[:1]
    rows = []
    for i, task in enumerate(it.tasks):
        cells = [cell for name in used for cell in _went(it, task, name)]
        rates = [number(s.estimate) if s else "–" for s in it.spans(task, "pass_at_1")]
        rows.append({"task": task["task"], "at": i, "cells": cells, "rates": rates})
    return {"leads": [it.title(name) for name in used], "rows": rows, "graded": right}


def _went(it: Lineage, task: Mapping[str, Any], name: str) -> list[dict[str, str]]:
    first = it.spans(task, name)[0]
    changes = [*it.changes(task, name), it.change(task, name)]
    if first is None or first.estimate <= 0:
        return [{"text": "–", "style": ""} for _ in changes]
    return [
        {"text": "–", "style": ""} if c is None else _tinted(c, c.estimate / first.estimate)
        for c in changes
    ]


def _tinted(change: Span, share: float) -> dict[str, str]:
    """A relative change; a question mark where it may be none, a tint where it is large."""
    text = percent(share) if change.sure or change.half == 0 else f"{percent(share)}?"
    if not change.sure:
        return {"text": text, "style": "quiet"}
    strength = sum(abs(share) >= limit for limit in _TINTS)
    kind = "loss" if share < 0 else "gain"
    return {"text": text, "style": f"{kind}{strength}" if strength else ""}


def numbers(it: Lineage, task: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The numbers of a task that it has at any stage, with what changed."""
    return [row for name in it.numbers if (row := _row(it, task, name))]


def _row(it: Lineage, task: Mapping[str, Any], name: str) -> dict[str, Any] | None:
    spans = it.spans(task, name)
    if not any(spans):
        return None
    places, higher = digits(spans), it.numbers[name]["higher"]
    total = it.change(task, name)
    cells = [_cell(s, places, task["prompts"]) for s in spans]
    for cell, change in zip(cells, (None, *it.changes(task, name)), strict=True):
        cell["change"] = _change(change, places, higher)
    return {
        "name": name,
        "title": it.title(name),
        "higher": higher,
        "cells": cells,
        "total": _change(total, places, higher) if len(it.stages) > 2 else None,
    }


def _cell(s: Span | None, places: int, prompts: int) -> dict[str, Any]:
    if s is None:
        return {"value": "–"}
    half = None if s.half is None else number(s.half, places)
    return {
        "value": number(s.estimate, places),
        "half": half,
        "of": f"{s.prompts} of {prompts}" if s.prompts < prompts else "",
    }


def _change(change: Span | None, places: int, higher: str) -> dict[str, str] | None:
    """A difference; coloured where it is sure, by whether variety or rightness went or came."""
    if change is None:
        return None
    better = (change.estimate > 0) != (higher == "less variety")
    half = "" if change.half is None else f" ±{number(change.half, places)}"
    text = f"{number(change.estimate, places, signed=True)}{half}"
    return {"text": text, "style": ("gain" if better else "loss") if change.sure else ""}
