"""Pictures of a lineage: numbers over its stages with their intervals, and losses in two parts."""

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from divreg.report.charts import DASHES, Chart
from divreg.report.inert import visible
from divreg.report.svg import Box, levels, picture, short, tag, tick, ticks
from divreg.trace.spans import Span, digits, in_words, number

WIDE, LARGE, SMALL = (520, 236), (360, 226), (270, 158)  # two, three and four beside each other
RIGHT = 8
_LETTER = 7.0  # pixels that one letter of a label takes
_GUTTER = {WIDE: 84, LARGE: 72, SMALL: 64}  # for the names of stages
_ROW = {WIDE: 38, LARGE: 34, SMALL: 26}
_TOTALS = 46  # to the right of the bars


@dataclass(frozen=True)
class Row:
    """A number over the stages; None where a stage does not have it."""

    label: str
    spans: Sequence[Span | None]


@dataclass(frozen=True)
class Parts:
    """A loss of variety and what it is made of, in the unit of the number that was lost.

    Attributes:
        total: What was lost; below 0: gained.
        narrowing: Of it, among right answers.
        fewer_wrong: The rest, since there are fewer wrong ones.
    """

    total: Span
    narrowing: Span
    fewer_wrong: Span


def stage_chart(
    id: str,
    title: str,
    unit: str,
    stages: Sequence[str],
    rows: Sequence[Row],
    *,
    size: tuple[int, int] = LARGE,
    top: float | None = None,
    level: float | None = None,
    places: int = 2,
) -> Chart:
    """Draw numbers over stages, from zero: a dot and its interval a stage, the dots of one joined.

    Args:
        id: Of the picture.
        title: For those who do not see it.
        unit: Written above the axis.
        stages: Their names.
        rows: What is drawn, four at most: colours and dashes that can be told apart.
        size: Of the picture.
        top: Of the axis; what is higher is drawn there. None: the highest number.
        level: Where a line is drawn all across.
        places: Decimals of the numbers.
    """
    known = [s for row in rows for s in row.spans if s]
    highest = max((s.estimate if s.high is None else s.high for s in known), default=1.0)
    lowest = min((s.estimate if s.low is None else s.low for s in known), default=0.0)
    grid = ticks(min(0.0, lowest), highest if top is None else top, 2 if size == SMALL else 4)
    if top is not None:
        grid = [value for value in grid if value <= top]
    box = Box((-0.5, len(stages) - 0.5), (grid[0], top or grid[-1]), RIGHT, size)
    body = [*levels(box, grid, _cut(unit, int(size[0] / _LETTER))), *_names(box, stages)]
    if level is not None:
        body.append(tag("path", class_="level", d=f"M{box.left} {short(box.y(level))}H{box.right}"))
    apart = min(6.0, 0.5 * (box.x(1) - box.x(0)) / max(1, len(rows)))
    for i, row in enumerate(rows):
        body += _line(box, row.spans, i, apart * (i - (len(rows) - 1) / 2))
    suffix = " %" if unit.startswith("%") else ""
    data = {
        "x": [box.x(0), box.x(len(stages) - 1), 0, len(stages) - 1],
        "y": [box.top, box.bottom],
        "names": [visible(name) for name in stages],
        "lines": [_data(row, i, places, suffix) for i, row in enumerate(rows)],
    }
    says = "; ".join(_in_words(row, stages, places, suffix) for row in rows) + "."
    legend = [(f"run{i}", row.label) for i, row in enumerate(rows)]
    svg = picture(id, title, says, body, size, "chart stages")
    return Chart(id, title, unit, svg, data, says, legend=legend)


def _names(box: Box, stages: Sequence[str]) -> list[Markup]:
    """The names below the axis: cut where they would touch, some left out where there are many."""
    room = box.x(1) - box.x(0)
    every = max(1, -(-30 // int(room)))
    fit = int((room * every - 4) / _LETTER)
    return [
        tick(_cut(name, fit), box.x(i), box.bottom + 17, "middle")
        for i, name in enumerate(stages)
        if i % every == 0
    ]


def _cut(name: str, fit: int) -> str:
    return name if len(name) <= fit else name[: max(1, fit - 1)] + "…"


def _line(box: Box, spans: Sequence[Span | None], run: int, beside: float) -> list[Markup]:
    """Lines between stages that follow each other, intervals, dots on top."""
    ys = [None if s is None else _inside(box, s.estimate) for s in spans]
    xs = [box.x(i) + beside for i in range(len(spans))]
    joined, pen = "", "M"
    for x, y in zip(xs, ys, strict=True):
        joined += "" if y is None else f"{pen}{short(x)} {short(y)}"
        pen = "M" if y is None else "L"
    bars = "".join(
        f"M{short(x)} {short(_inside(box, s.low))}V{short(_inside(box, s.high))}"
        for x, s in zip(xs, spans, strict=True)
        if s and s.low is not None and s.high is not None
    )
    dash = DASHES[run % len(DASHES)]
    parts = [tag("path", class_=f"line run{run}", d=joined, stroke_dasharray=dash)]
    parts.append(tag("path", class_=f"interval run{run}", d=bars))
    for x, y in zip(xs, ys, strict=True):
        if y is not None:
            parts.append(tag("circle", class_=f"dot run{run}", r=3, cx=x, cy=y))
    return parts


def _inside(box: Box, value: float) -> float:
    return box.y(min(max(value, box.values[0]), box.values[1]))


def _data(row: Row, run: int, places: int, suffix: str) -> dict[str, object]:
    known = [(i, s) for i, s in enumerate(row.spans) if s]
    return {
        "label": visible(row.label),
        "run": run,
        "x": [i for i, _ in known],
        "says": [in_words(s, places, suffix) for _, s in known],
    }


def _in_words(row: Row, stages: Sequence[str], places: int, suffix: str) -> str:
    values = [
        f"{number(s.estimate, places)}{suffix} at {name}"
        for name, s in zip(stages, row.spans, strict=True)
        if s
    ]
    return f"{row.label}: {', '.join(values) or 'no values'}"


def loss_chart(
    title: str,
    losses: Sequence[tuple[str, Parts | None]],
    span: tuple[float, float],
    unit: str,
    *,
    size: tuple[int, int] = LARGE,
) -> Markup:
    """Draw what each stage lost: to the right of zero what went, to the left what came.

    Args:
        title: For those who do not see it.
        losses: Of every stage but the first.
        span: The axis, with zero inside: :func:`reach` of all that is compared.
        unit: Of the losses, written below.
        size: ``WIDE``, ``LARGE`` or ``SMALL``.
    """
    grid = ticks(*span, 3 if size == SMALL else 4)
    places = 0 if unit.startswith("%") else digits([p.total for _, p in losses if p])
    left, right, height = _GUTTER[size], size[0] - _TOTALS, _ROW[size]
    low, high = grid[0], grid[-1]

    def x(value: float) -> float:
        return left + (value - low) / (high - low) * (right - left)

    foot = 4 + height * len(losses)
    body = []
    for value in grid:
        style = "zero" if value == 0 else "grid"
        body.append(tag("path", class_=style, d=f"M{short(x(value))} 0V{foot}"))
        body.append(tick(f"{value:g}".replace("-", "−"), x(value), foot + 15, "middle"))
    for i, (stage, parts) in enumerate(losses):
        y = 4.0 + height * i
        middle = y + height / 2
        fit = int((left - 6) / _LETTER)
        body.append(tick(_cut(stage, fit), left - 6, middle + 4, "end"))
        if parts is None:
            body.append(tag("text", "not known", class_="tick", x=x(0) + 6, y=middle + 4))
            continue
        body += [
            tag("rect", class_=style, x=x(a), y=y + 4, width=x(b) - x(a), height=height - 8.0)
            for style, a, b in _stacked(parts)
        ]
        body.append(_total(x, parts.total, middle))
        lost = number(parts.total.estimate, places)
        body.append(tag("text", lost, class_="end", x=right + 8, y=middle + 4))
    words = _cut(unit, int((right - left) / _LETTER))
    body.append(tick(words, (left + right) / 2, foot + 30, "middle"))
    said = (f"{stage}: {_parts_in_words(parts, places)}" for stage, parts in losses)
    says = f"In {unit}. {'; '.join(said)}."
    return picture("", title, says, body, (size[0], foot + 34), "stages losses")


def reach(losses: Sequence[Parts | None]) -> tuple[float, float]:
    """From the largest gain to the largest loss, zero between them.

    >>> half = Span(0.5, 0.4, 0.7, 9)
    >>> reach([Parts(half, half.times(1.5), half.times(-0.5)), None])
    (-0.25, 0.75)
    """
    ends = [0.0]
    for parts in filter(None, losses):
        ends += [end for _, *pair in _stacked(parts) for end in pair]
        ends += [end for end in (parts.total.low, parts.total.high) if end is not None]
    return min(ends), max(ends)


def _stacked(parts: Parts) -> list[tuple[str, float, float]]:
    """Style, left and right end of each piece: losses after each other from zero, gains before."""
    pieces, lost, gained = [], 0.0, 0.0
    for style, value in (
        ("narrowing", parts.narrowing.estimate),
        ("fewer-wrong", parts.fewer_wrong.estimate),
    ):
        if value >= 0:
            pieces.append((style, lost, lost + value))
            lost += value
        else:
            pieces.append((style, gained + value, gained))
            gained += value
    return pieces


def _total(x, total: Span, y: float) -> Markup:
    """A diamond at what was lost in all, on its interval."""
    at = x(total.estimate)
    diamond = tag("path", class_="diamond", d=f"M{short(at - 4)} {short(y)}l4 -4l4 4l-4 4z")
    if total.low is None or total.high is None:
        return diamond
    line = f"M{short(x(total.low))} {short(y)}H{short(x(total.high))}"
    return tag("g", tag("path", class_="total", d=line), diamond)


def _parts_in_words(parts: Parts | None, places: int) -> str:
    if parts is None:
        return "not known"
    return (
        f"lost {in_words(parts.total, places)}, of it narrowing "
        f"{number(parts.narrowing.estimate, places)} and fewer wrong answers "
        f"{number(parts.fewer_wrong.estimate, places)}"
    )
