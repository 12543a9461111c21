"""Histories to the data of a report: plain JSON, from which the page is drawn."""

import platform
import time
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import Any

from divreg.history import History, replay
from divreg.report.collapsed import collapsed_groups
from divreg.report.decomposition import decompose
from divreg.report.heatmap import heatmap
from divreg.report.numbers import (
    FAMILIES,
    QUANTITIES,
    Windows,
    changes_of,
    k_of,
    label_of,
    quantity_of,
    series_of,
    shown,
    unit_of,
    windows_of,
)
from divreg.report.verdict import judge
from divreg.report.wording import wording

SCHEMA = 1
CAUSES = {
    "all_correct": "all correct",
    "all_wrong": "all wrong",
    "identical_text": "one text",
    "truncated": "all truncated",
    "rewards_cancel": "rewards cancel",
    "equal_rewards": "equal rewards",
}


def build(histories: list[History], command: str = "") -> dict[str, Any]:
    """Return everything that the report says about one or more runs."""
    names = _names([h.path for h in histories])
    runs = [_run(history, name) for history, name in zip(histories, names, strict=True)]
    return {
        "schema": SCHEMA,
        "written": time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime()),
        "command": command,
        "versions": {"divreg": _version(), "python": platform.python_version()},
        "runs": runs,
        "comparison": _comparison(runs) if len(runs) > 1 else [],
        "contrast": _contrast(runs),
        "cautions": _cautions(runs),
        "definitions": _definitions(runs),
    }


def _run(history: History, name: str) -> dict[str, Any]:
    windows, k = windows_of(history), k_of(history)
    series = series_of(history)
    changes = changes_of(series, windows, k)
    replayed, standing = replay(history)
    alerts = history.alerts or replayed
    if alerts and not replayed:  # the monitor saw more than it recorded
        standing = [alerts[-1].get("kind", "")]
    verdict = judge(history, windows, changes, standing)
    return {
        "name": name,
        "path": str(history.path),
        "source": history.source,
        "mode": history.mode,
        "run": {k: v for k, v in history.run.items() if k not in ("v", "event")},
        "verdict": {**asdict(verdict), "exit_code": verdict.exit_code},
        "windows": asdict(windows) if windows else None,
        "steps": _extent(history),
        "numbers": [
            {**asdict(c), "difference": c.difference, "relative": c.relative}
            for c in changes.values()
        ],
        "alerts": [{**alert, "number": i} for i, alert in enumerate(alerts, start=1)],
        "alerts_recorded": bool(history.alerts),
        "actions": history.actions,
        "checkpoints": history.checkpoints,
        "resumes": history.resumes,
        "end": history.end,
        "torn_lines": history.torn_lines,
        "other_runs": history.other_runs,
        "missing": history.missing,
        "notes": history.notes + _unseen(history),
        "pass_k": k,
        "series": {key: asdict(one) for key, one in series.items()},
        "evaluation": _evaluation(history, k),
        "zero_variance": _zero_variance(history),
        "decomposition": decompose(changes),
        "heatmap": heatmap(history),
        "collapsed": collapsed_groups(history, windows),
        "wording": wording(history, windows),
        "explored": _explored(history),
        "effects": _effects(history, windows),
    }


def _unseen(history: History) -> list[str]:
    """How many rollouts the monitor could not look at, in words."""
    rows = [*history.steps[-1:], *([history.end] if history.end else [])]
    count = max((row.get("unseen") or 0 for row in rows), default=0)
    return [f"{count} rollouts were generated that the monitor could not see"] if count else []


def _names(paths: list[Path]) -> list[str]:
    """Short names that tell the runs apart: the last part of each path, more where they agree."""
    parts = [path.resolve().parts for path in paths]
    for depth in range(1, max(map(len, parts)) + 1):
        names = ["/".join(p[-depth:]) for p in parts]
        if len(set(names)) == len(names):
            return names
    return [f"{'/'.join(p[-1:])} ({i})" for i, p in enumerate(parts, start=1)]


def _extent(history: History) -> dict[str, Any]:
    steps = [row["step"] for row in history.judged]
    steps = steps or [row["step"] for row in history.logs]
    return {
        "first": min(steps, default=0),
        "last": max(steps, default=0),
        "recorded": len(set(steps)),
        "with_texts": len(history.completion_steps),
    }


def _evaluation(history: History, k: int | None) -> list[dict[str, Any]]:
    """First and last evaluation of every number, where the run evaluated."""
    if history.mode == "eval":
        return []
    rows = []
    for key, one in series_of(history, "eval").items():
        first, last = one.values[0], one.values[-1]
        ends = {"first_step": one.steps[0], "last_step": one.steps[-1], "first": first}
        name, unit = label_of(key, k), unit_of(key)
        rows.append({"key": key, "name": name, "unit": unit, **ends, "last": last})
    return rows


def _zero_variance(history: History) -> dict[str, Any] | None:
    """Shares of the groups whose rewards are all equal, by cause and step."""
    steps, rows = [], []
    for row in history.judged:
        causes = (row.get("groups") or {}).get("zero_variance")
        if causes:
            counts = Counter(cause for cause in causes if cause)
            steps.append(row["step"])
            rows.append({c: n / len(causes) for c, n in counts.items()})
    if not steps:
        return None
    seen = {cause for row in rows for cause in row}
    order = [c for c in CAUSES if c in seen] + sorted(seen - CAUSES.keys())
    return {"steps": steps, "shares": {c: [row.get(c, 0.0) for row in rows] for c in order}}


def _explored(history: History) -> dict[str, Any] | None:
    """How many different answers the prompts had had when they were last seen: the spread."""
    last: dict[str, int] = {}
    for row in history.judged:
        groups = row.get("groups") or {}
        counts = zip(groups.get("prompt_id") or (), groups.get("explored") or (), strict=False)
        last |= {prompt: count for prompt, count in counts if isinstance(count, int)}
    if not last:
        return None
    counts = sorted(last.values())
    middle = counts[len(counts) // 2]
    return {"prompts": len(counts), "least": counts[0], "median": middle, "most": counts[-1]}


def _effects(history: History, windows: Windows | None) -> list[dict[str, Any]]:
    """What each intervention changed: the mean over the baseline, over now and over the run."""
    found: dict[str, list[tuple[int, float]]] = {}
    for row in history.steps:
        for key, value in (row.get("effects") or {}).items():
            if isinstance(value, (int, float)):
                found.setdefault(key, []).append((row["step"], float(value)))
    rows = []
    for key, pairs in found.items():
        ends = {"baseline": None, "now": None}
        if windows:
            ends = {
                "baseline": _mean([v for s, v in pairs if s <= windows.baseline[1]]),
                "now": _mean([v for s, v in pairs if s >= windows.now[0]]),
            }
        rows.append({"key": key, **ends, "mean": _mean([v for _, v in pairs])})
    return rows


def _mean(values: list[float]) -> float | None:
    return sum(values) / len(values) if values else None


def _comparison(runs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Every number that two of the runs have, side by side."""
    tables = [{n["key"]: n for n in run["numbers"]} for run in runs]
    keys = [k for k in QUANTITIES if sum(k in t for t in tables) > 1]
    keys += sorted(
        {k for t in tables for k in t if k not in QUANTITIES and sum(k in u for u in tables) > 1}
    )
    rows = []
    for key in keys:
        one = next(t[key] for t in tables if key in t)
        cells = [t.get(key) for t in tables]
        differs = any(c and (c["baseline"] or c["now"]) for c in cells)
        head = {"key": key, "name": one["name"], "unit": one["unit"]}
        rows.append({**head, "runs": cells, "differs": differs})
    return rows


def _contrast(runs: list[dict[str, Any]]) -> str:
    """Two runs in one sentence: what the more varied one keeps, and at what accuracy."""
    if len(runs) != 2:
        return ""
    first, second = ({n["key"]: n["now"] for n in run["numbers"]} for run in runs)
    key = "distinct_correct" if "distinct_correct" in first.keys() & second else "distinct_classes"
    if key not in first or key not in second:
        return ""
    more, less = (0, 1) if first[key] >= second[key] else (1, 0)
    ends = [first, second]
    high, low = ends[more], ends[less]
    ratio = f" ({high[key] / low[key]:.1f} times as many)" if low[key] > 0 else ""
    what = "distinct right answers" if key == "distinct_correct" else "distinct answers"
    says = (
        f"{runs[more]['name']} ends with {shown(high[key], 'classes')} {what} per group, "
        f"{runs[less]['name']} with {shown(low[key], 'classes')}{ratio}"
    )
    if "pass_at_1" in high and "pass_at_1" in low:
        rates = (shown(side["pass_at_1"], "share") for side in (high, low))
        says += ", at pass@1 {} against {}".format(*rates)
    return says + "."


def _cautions(runs: list[dict[str, Any]]) -> list[str]:
    """Why numbers of these runs cannot be compared, where they cannot."""
    says = []
    for key, effect in (
        ("temperature", "token entropy and the variety of samples depend on it"),
        ("num_generations", "larger groups have more distinct answers"),
        ("max_completion_length", "longer completions differ more easily"),
    ):
        values = [(run["run"].get("config") or {}).get(key) for run in runs]
        values = [v for v in values if v is not None]
        if len(set(map(str, values))) > 1:
            listed = ", ".join(map(str, values))
            says.append(f"The runs differ in {key} ({listed}): {effect}.")
    ways = {str(run["run"].get("equivalence")) for run in runs}
    if len(ways) > 1:
        says.append(f"The runs count distinct answers differently: {'; '.join(sorted(ways))}.")
    lasts = [run["steps"]["last"] for run in runs]
    if len(set(lasts)) > 1:
        says.append(f"The runs end at different steps: {', '.join(map(str, lasts))}.")
    ks = {run["pass_k"] for run in runs if run["pass_k"]}
    if len(ks) > 1:
        says.append(f"pass@k has different k: {', '.join(map(str, sorted(ks)))}.")
    return says


def _definitions(runs: list[dict[str, Any]]) -> list[dict[str, str]]:
    used = {q.key for run in runs for key in run["series"] if (q := quantity_of(key))}
    return [
        {"key": q.key, "name": q.name, "unit": q.unit, "formula": q.formula, "source": q.source}
        for q in [*QUANTITIES.values(), *FAMILIES.values()]
        if q.key in used
    ]


def _version() -> str:
    from divreg import __version__

    return __version__
