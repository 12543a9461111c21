"""The data of a report drawn as a page."""

from collections.abc import Sequence
from typing import Any

from markupsafe import Markup

from divreg.report.build import CAUSES
from divreg.report.charts import Chart, Line, bars, heat_chart, line_chart, line_key, stacked_chart
from divreg.report.inert import clipped
from divreg.report.numbers import Windows, label_of, percent, shown, unit_of
from divreg.report.offline import draw
from divreg.report.svg import Marks

_SINGLE = (
    ("distinct_classes", "Distinct answers per group"),
    ("distinct_correct", "Distinct right answers per group"),
    ("entropy", "Token entropy"),
)
_SHARE = "format_share_"
_FORMATS = 6  # colours of the chart
_FURTHER = (
    ("answer_entropy_nats", "Answer entropy"),
    ("anchor_entropy_nats", "Entropy of annotations"),
    ("anchor_kl_nats", "KL of annotations to the start"),
    ("anchor_js_nats", "JS divergence of annotations to the start"),
    ("explored_answers", "Answers explored per prompt"),
    ("new_answers", "New answers per prompt"),
    ("pair_distinct_correct_frac", "Two right answers differ"),
    ("mean_length_tokens", "Length"),
    ("mean_length_words", "Length"),
    ("truncated_frac", "Truncated"),
    ("distinct_ngrams", "Distinct n-grams"),
    ("dup_frac", "Duplicate texts"),
    ("reward_mean", "Reward"),
    ("kl", "KL to the reference"),
)
_TILES = ("distinct_classes", "distinct_correct", "pass_at_1", "pass_at_k", "entropy")
_CAPTIONS = {
    "distinct_classes": "Falls when the completions of one prompt become the same.",
    "distinct_correct": "What is left once wrong answers are gone: the variety worth keeping.",
    "entropy": "Depends on temperature and tokenizer; only its change means something.",
    "pair_distinct_correct_frac": "Does not depend on how many answers are right.",
    "pass": "A gap that closes from above is concentration: fewer problems are solved by any of "
    "k samples.",
    "answer_entropy_nats": "How evenly a group spreads over its answers.",
    "anchor_entropy_nats": "Anchored, it should stay where it began.",
    "explored_answers": "Since the run began. Where it is flat, sampling finds nothing new.",
    "new_answers": "Falls by itself as prompts come back; at 0 only old answers are repeated.",
    "truncated_frac": "Completions that ran into the length limit.",
    "zero_variance": "Groups whose rewards are all equal give no gradient; the cause matters.",
}


_SECTIONS = {
    "verdict": "Verdict",
    "alerts": "Alerts",
    "timeline": "Timeline",
    "numbers-table": "Numbers",
    "where": "Where",
    "why": "Why",
    "wording": "Wording",
    "definitions": "Definitions",
    "reproduce": "Reproduce",
}


def render(report: dict[str, Any]) -> str:
    """Return the page of a report made by :func:`divreg.report.build.build`."""
    charts = _timeline(report)
    heats = [
        heat_chart(f"heat-{i}", f"Distinct answers by step, {run['name']}", run["heatmap"])
        if run["heatmap"]
        else None
        for i, run in enumerate(report["runs"])
    ]
    drawn = [*charts, *(h for h in heats if h)]
    return draw(
        "report.html.jinja",
        version=report["versions"]["divreg"],
        sections=_SECTIONS,
        data={chart.id: chart.data for chart in drawn},
        report=report,
        runs=report["runs"],
        several=len(report["runs"]) > 1,
        charts=charts,
        heats=heats,
        splits=[_split(run) for run in report["runs"]],
        keys=[line_key(i) for i in range(len(report["runs"]))],
        tiles=_TILES,
        zeros=_zeros(report["runs"]),
        change=_change,
    )


def _change(number: dict[str, Any]) -> str:
    """A change as it is printed: the difference of shares, the relative change of the rest."""
    if number["unit"] not in ("share", "probability"):
        return percent(number["relative"])
    size = shown(abs(number["difference"]), "share")
    return "±0" if size == ".00" else f"{'−' if number['difference'] < 0 else '+'}{size}"


def _zeros(runs: list[dict[str, Any]]) -> list[str]:
    """Names of the numbers that are zero wherever they are known; the tables leave them out."""
    names: dict[str, bool] = {}
    for n in (n for run in runs for n in run["numbers"]):
        names[n["name"]] = names.get(n["name"], True) and not (n["baseline"] or n["now"])
    return [name for name, zero in names.items() if zero]


def _timeline(report: dict[str, Any]) -> list[Chart]:
    runs = report["runs"]
    span = (min(r["steps"]["first"] for r in runs), max(r["steps"]["last"] for r in runs))
    marks = _marks(runs[0]) if len(runs) == 1 else _marks_of_all(runs)
    charts = []
    for key, title in _SINGLE:
        charts += _one(runs, key, title, marks, span)
    charts += _pass(runs, marks, span)
    for i, run in enumerate(runs):
        causes = run["zero_variance"]
        if causes and max(map(sum, causes["shares"].values()), default=0) > 0.02 * len(
            causes["steps"]
        ):
            title = "Groups that cannot teach" + (f", {run['name']}" if len(runs) > 1 else "")
            chart = stacked_chart(
                f"causes-{i}", title, causes["steps"], causes["shares"], CAUSES, _marks(run), span
            )
            chart.caption = _CAPTIONS["zero_variance"]
            charts.append(chart)
    for i, run in enumerate(runs):
        title = "Formats" + (f", {run['name']}" if len(runs) > 1 else "")
        charts += _formats(run, f"formats-{i}", title, span)
    for key, title in _FURTHER:
        if key == "mean_length_words" and any("mean_length_tokens" in r["series"] for r in runs):
            continue
        charts += _one(runs, key, title, marks, span)
    return charts


def _formats(run: dict[str, Any], id: str, title: str, span: tuple[int, int]) -> list[Chart]:
    """Shares of the formats on top of each other, the largest first; of many the rest is one."""
    found = {
        key.removeprefix(_SHARE): dict(zip(one["steps"], one["values"], strict=True))
        for key, one in run["series"].items()
        if key.startswith(_SHARE)
    }
    if not found:
        return []
    steps = sorted({step for values in found.values() for step in values})
    rows = {name: [values.get(s, 0.0) for s in steps] for name, values in found.items()}
    order = sorted(rows, key=lambda name: -sum(rows[name]))
    shown_alone = order if len(order) <= _FORMATS else order[: _FORMATS - 1]
    drawn = [(clipped(name, 40)[0], rows[name]) for name in shown_alone]
    if rest := [rows[name] for name in order[len(shown_alone) :]]:
        drawn.append((f"{len(rest)} more", [sum(column) for column in zip(*rest, strict=True)]))
    shares: dict[str, Sequence[float]] = {f"f{i}": row for i, (_, row) in enumerate(drawn)}
    names = {f"f{i}": name for i, (name, _) in enumerate(drawn)}
    chart = stacked_chart(id, title, steps, shares, names, _marks(run), span)
    chart.caption = _told_apart(run["run"].get("formats"))
    return [chart]


def _told_apart(formats: Any) -> str:
    """Say what names a format, as far as the records do."""
    if isinstance(formats, dict):
        listed = "; ".join(f"{name}: {expression}" for name, expression in formats.items())
        return f"By the first expression that matches, else text. {clipped(listed, 200)[0]}"
    return f"As {clipped(formats, 80)[0]} names them." if isinstance(formats, str) else ""


def _one(
    runs: list[dict[str, Any]], key: str, title: str, marks: Marks, span: tuple[int, int]
) -> list[Chart]:
    lines = [
        Line(run["name"], run["series"][key]["steps"], run["series"][key]["values"], run=i)
        for i, run in enumerate(runs)
        if key in run["series"]
    ]
    if not lines or not any(any(line.values) for line in lines):
        return []
    unit = unit_of(key)
    if len(runs) == 1:
        lines[0].label = ""
    top = 1.0 if unit == "probability" or key == "distinct_ngrams" else None
    caption = _CAPTIONS.get(key, "")
    if key == "explored_answers":
        caption = " ".join([caption, *filter(None, (_spread(run, len(runs) > 1) for run in runs))])
    return [line_chart(f"chart-{key}", title, unit, lines, marks, span, caption=caption, top=top)]


def _spread(run: dict[str, Any], named: bool) -> str:
    """Say how unequally the prompts were explored."""
    if not (e := run["explored"]):
        return ""
    who = f"{run['name']}, {e['prompts']} prompts" if named else f"{e['prompts']} prompts"
    return f"At the end ({who}): {e['least']} to {e['most']}, median {e['median']}."


def _pass(runs: list[dict[str, Any]], marks: Marks, span: tuple[int, int]) -> list[Chart]:
    lines = []
    for i, run in enumerate(runs):
        for key in ("pass_at_1", "pass_at_k"):
            if key in run["series"]:
                label, one = label_of(key, run["pass_k"]), run["series"][key]
                thin = key == "pass_at_k"
                lines.append(Line(label, one["steps"], one["values"], run=i, thin=thin))
    if not lines:
        return []
    title = " against ".join(dict.fromkeys(line.label for line in lines))
    return [
        line_chart(
            "chart-pass",
            title,
            "share",
            lines,
            marks,
            span,
            shade=len(runs) == 1,
            caption=_CAPTIONS["pass"],
            top=1.0,
        )
    ]


def _marks_of_all(runs: list[dict[str, Any]]) -> Marks:
    """The alerts of every run, in its colour."""
    alerts = [{**alert, "of_run": i} for i, run in enumerate(runs) for alert in run["alerts"]]
    return Marks(alerts=alerts)


def _marks(run: dict[str, Any]) -> Marks:
    return Marks(
        alerts=run["alerts"],
        checkpoints=[c["step"] for c in run["checkpoints"]],
        resumes=run["resumes"],
        windows=Windows(**run["windows"]) if run["windows"] else None,
    )


def _split(run: dict[str, Any]) -> Markup | None:
    """Two bars: right and wrong distinct answers of a group, at the baseline and now."""
    parts = run["decomposition"]
    if parts is None:
        return None
    rows = [
        (name, [("right", "right", parts[key]["right"]), ("wrong", "wrong", parts[key]["wrong"])])
        for name, key in (("baseline", "baseline"), ("now", "now"))
    ]
    return bars(rows, f"Distinct answers per group, {run['name']}", parts["says"])
