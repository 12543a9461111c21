"""Inline SVG: lines over steps, stacked shares, a heat map, bars. No script is needed to read them.

Each chart comes with its numbers as plain data, which ``report.js`` shows under the pointer.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from markupsafe import Markup

from divreg.report.inert import visible
from divreg.report.numbers import shown
from divreg.report.svg import (
    HEIGHT,
    WIDTH,
    Box,
    Marks,
    axes,
    marks_along,
    picture,
    short,
    tag,
    ticks,
)

POINTS = 180  # of one line in the page; more steps are averaged in bins
DASHES = (None, "7 3", "2 3", "10 3 2 3")
LEVELS = 7  # of the heat map


@dataclass
class Line:
    """One line of a chart: its run decides colour and dash; ``thin`` is the lesser of two."""

    label: str
    steps: Sequence[int]
    values: Sequence[float]
    run: int = 0
    thin: bool = False


@dataclass
class Chart:
    """A drawn chart and the numbers behind it."""

    id: str
    title: str
    unit: str
    svg: Markup
    data: dict[str, Any]
    says: str
    caption: str = ""
    legend: list[tuple[str, str]] = field(default_factory=list)


def binned(
    steps: Sequence[int], values: Sequence[float], points: int = POINTS
) -> tuple[list[float], list[float]]:
    """At most ``points`` means of consecutive steps, each at the middle of its bin.

    >>> binned([1, 2, 3, 4], [1.0, 3.0, 5.0, 7.0], points=2)
    ([1.5, 3.5], [2.0, 6.0])
    """
    n = len(steps)
    if n <= points:
        return [float(s) for s in steps], list(values)
    bins = list(pairwise(i * n // points for i in range(points + 1)))
    middles = [sum(steps[a:b]) / (b - a) for a, b in bins]
    return middles, [sum(values[a:b]) / (b - a) for a, b in bins]


def smoothed(values: Sequence[float]) -> list[float]:
    """Mean over some neighbours on each side, fewer at the ends; short lines stay as they are."""
    n = len(values)
    if n <= 8:
        return list(values)
    reach = max(1, n // 30)
    sums = [0.0]
    for v in values:
        sums.append(sums[-1] + v)
    spans = ((max(0, i - reach), min(n, i + reach + 1)) for i in range(n))
    return [(sums[b] - sums[a]) / (b - a) for a, b in spans]


@dataclass
class _Drawn:
    line: Line
    xs: list[float]
    raw: list[float]
    mean: list[float]


def line_chart(
    id: str,
    title: str,
    unit: str,
    lines: list[Line],
    marks: Marks,
    steps: tuple[int, int],
    shade: bool = False,
    caption: str = "",
    top: float | None = None,
    smooth: bool = True,
) -> Chart:
    """Draw lines over steps, from zero: the raw numbers faint, their moving mean bold.

    ``smooth`` off draws the raw numbers alone; ``shade`` fills the area between the first two
    lines.
    """
    drawn = []
    for line in lines:
        xs, ys = binned(line.steps, line.values)
        drawn.append(_Drawn(line, xs, ys, smoothed(ys) if smooth else ys))
    values = [y for d in drawn for y in d.raw] or [1.0]
    grid = ticks(min(0.0, *values), top if top is not None else max(values))
    box = Box(steps, (grid[0], grid[-1]))
    body = [*axes(box, grid, unit), *marks_along(box, marks)]
    if shade and len(drawn) > 1:
        a, b = drawn[0], drawn[1]
        body.append(_area(box, (b.xs, b.mean), (a.xs, a.mean), "gap"))
    for d in drawn:
        body += _line(box, d)
    body += _end_labels(box, drawn)
    data = {"x": [box.left, box.right, *steps], "unit": unit, "lines": [_data(d) for d in drawn]}
    says = "; ".join(_in_words(d, unit) for d in drawn) + "."
    svg = picture(id, title, says, body, (WIDTH, HEIGHT))
    return Chart(id, title, unit, svg, data, says, caption)


def _line(box: Box, d: _Drawn) -> list[Markup]:
    style = f"run{d.line.run}{' thin' if d.line.thin else ''}"
    parts = []
    if d.raw != d.mean:
        parts.append(tag("path", class_=f"line raw {style}", d="M" + box.path(d.xs, d.raw)))
    dash = DASHES[d.line.run % len(DASHES)]
    path = "M" + box.path(d.xs, d.mean)
    parts.append(tag("path", class_=f"line {style}", d=path, stroke_dasharray=dash))
    if len(d.xs) == 1:
        place = {"cx": box.x(d.xs[0]), "cy": box.y(d.raw[0])}
        parts.append(tag("circle", class_=f"dot {style}", r=3, **place))
    return parts


def _area(box: Box, there: Any, back: Any, style: str) -> Markup:
    path = f"M{box.path(*there)}L{box.path(back[0][::-1], back[1][::-1])}z"
    return tag("path", class_=style, d=path)


def _end_labels(box: Box, drawn: list[_Drawn]) -> list[Markup]:
    """Label lines at their right ends, pushed apart where they would overlap."""
    placed = sorted(((box.y(d.mean[-1]), d.line) for d in drawn if d.mean), key=lambda p: p[0])
    ys, height = [y for y, _ in placed], 13.0
    for i in range(1, len(ys)):
        ys[i] = max(ys[i], ys[i - 1] + height)
    over = max(0.0, ys[-1] - box.bottom) if ys else 0.0
    ys = [y - over for y in ys]
    for i in range(len(ys) - 2, -1, -1):
        ys[i] = min(ys[i], ys[i + 1] - height)
    return [
        tag("text", _clip(line.label), class_=f"end run{line.run}", x=box.right + 6, y=y + 4)
        for y, (_, line) in zip(ys, placed, strict=True)
    ]


def _clip(label: str, limit: int = 11) -> str:
    return label if len(label) <= limit else label[: limit - 1] + "…"


def _data(d: _Drawn) -> dict[str, Any]:
    return {"label": visible(d.line.label), "run": d.line.run, "x": _few(d.xs), "y": _few(d.raw)}


def _few(values: Iterable[float]) -> list[float]:
    return [float(f"{v:.5g}") for v in values]


def _in_words(d: _Drawn, unit: str) -> str:
    if not d.mean:
        return f"{d.line.label}: no values"
    first, last = shown(d.mean[0], unit), shown(d.mean[-1], unit)
    return f"{d.line.label}: {first} at step {d.xs[0]:g}, {last} at step {d.xs[-1]:g}"


def stacked_chart(
    id: str,
    title: str,
    steps: Sequence[int],
    shares: dict[str, Sequence[float]],
    names: dict[str, str],
    marks: Marks,
    span: tuple[int, int],
) -> Chart:
    """Draw shares on top of each other; what is left to 1 stays empty."""
    box = Box(span, (0.0, 1.0))
    body = [*axes(box, [0, 0.25, 0.5, 0.75, 1.0], "share"), *marks_along(box, marks)]
    lines, ends, below = [], [], None
    for key, values in shares.items():
        xs, raw = binned(steps, values)
        ys = smoothed(raw)
        below = below or [0.0] * len(xs)
        above = [a + b for a, b in zip(below, ys, strict=True)]
        body.append(_area(box, (xs, above), (xs, below), f"part cause-{key}"))
        lines.append({"label": names.get(key, key), "run": 0, "x": _few(xs), "y": _few(raw)})
        ends.append(f"{names.get(key, key)}: {shown(ys[0], 'share')} to {shown(ys[-1], 'share')}")
        below = above
    says = "; ".join(ends) + "." if ends else "No group without variance."
    data = {"x": [box.left, box.right, *span], "unit": "share", "lines": lines}
    legend = [(f"cause-{key}", names.get(key, key)) for key in shares]
    svg = picture(id, title, says, body, (WIDTH, HEIGHT))
    return Chart(id, title, "share", svg, data, says, legend=legend)


def heat_chart(id: str, title: str, heat: dict[str, Any]) -> Chart:
    """Draw a map of shares in LEVELS colours, one path each; the stronger, the fewer answers."""
    rows, width = heat["values"], len(heat["columns"])
    left, top, total = 96, 6, 2 * WIDTH
    w, h = (total - left - 10) / width, max(6, min(16, 260 // len(rows)))
    paths: dict[int, list[str]] = {}
    for r, values in enumerate(rows):
        for c, value in enumerate(values):
            if value is not None:
                level = min(LEVELS - 1, max(0, int((1 - value) * LEVELS)))
                cell = (
                    f"M{short(left + c * w)} {top + r * h}h{short(w - 1)}v{h - 1}h-{short(w - 1)}z"
                )
                paths.setdefault(level, []).append(cell)
    body = [tag("path", class_=f"heat{k}", d="".join(d)) for k, d in sorted(paths.items())]
    every = 1 if heat["rows"] == "rank" or h >= 11 else 2
    for r, label in enumerate(heat["labels"]):
        if label and r % every == 0:
            y = top + r * h + h / 2 + 4
            text = _clip(label, 14)
            body.append(tag("text", text, class_="tick", x=left - 6, y=y, text_anchor="end"))
    for c in sorted({round(i * (width - 1) / 6) for i in range(7)}):
        x, y = left + c * w + w / 2, top + len(rows) * h + 15.0
        first = heat["columns"][c][0]
        body.append(tag("text", first, class_="tick", x=x, y=y, text_anchor="middle"))
    data = {
        "heat": [[None if v is None else round(v, 3) for v in row] for row in rows],
        "labels": [visible(label) for label in heat["labels"]],
        "columns": heat["columns"],
        "box": [left, top, round(w, 3), h],
        "rows": heat["rows"],
    }
    says = _heat_in_words(rows)
    size = (total, top + len(rows) * h + 22)
    return Chart(id, title, "share", picture(id, title, says, body, size, "heatmap"), data, says)


def _heat_in_words(rows: list[list[float | None]]) -> str:
    def mean(column: int) -> float | None:
        known = [row[column] for row in rows]
        known = [v for v in known if v is not None]
        return sum(known) / len(known) if known else None

    first, last = shown(mean(0), "share"), shown(mean(-1), "share")
    return f"Share of different answers, mean of the first column {first}, of the last {last}."


def line_key(run: int) -> Markup:
    """A short piece of the line that stands for a run."""
    line = tag("path", class_=f"line run{run}", d="M1 6H33", stroke_dasharray=DASHES[run % 4])
    return tag("svg", line, class_="key", viewBox="0 0 34 12", aria_hidden="true")


def bars(rows: list[tuple[str, list[tuple[str, str, float]]]], title: str, says: str) -> Markup:
    """Draw horizontal stacked bars: per row a label and its (class, name, length) pieces."""
    longest = max((sum(v for _, _, v in pieces) for _, pieces in rows), default=0.0) or 1.0
    left, body = 84, []
    for r, (label, pieces) in enumerate(rows):
        x, y = float(left), 4 + r * 38
        body.append(tag("text", label, class_="tick", x=left - 8, y=y + 20, text_anchor="end"))
        for style, name, value in pieces:
            width = (WIDTH - left - 8) * value / longest
            place = {"x": x, "y": y, "width": max(0.0, width - 2), "height": 30, "rx": 3}
            body.append(tag("rect", class_=style, **place))
            text = f"{shown(value, 'classes')} {name}"
            text = text if width > 9 * len(text) else shown(value, "classes") if width > 36 else ""
            body.append(tag("text", text, class_=f"inbar on-{style}", x=x + 9, y=y + 20))
            x += width
    return picture("", title, says, body, (WIDTH, 4 + 38 * len(rows)))
