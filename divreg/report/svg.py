"""The paper that charts are drawn on: escaped tags, axes with round numbers, marks along the steps.

Everything that becomes text goes through :func:`tag`, which escapes it.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from markupsafe import Markup, escape

from divreg.report.inert import visible
from divreg.report.numbers import Windows

WIDTH, HEIGHT = 520, 236
LEFT, RIGHT, TOP, BOTTOM = 44, 62, 24, 30


def short(value: float) -> str:
    """Print a coordinate with one decimal at most."""
    return f"{value:.1f}".removesuffix(".0")


def tag(name: str, *content: Any, **attributes: Any) -> Markup:
    """Return one element; strings are made visible and escaped, ``class_`` is ``class``.

    >>> tag("text", "a<b", x=1.25, class_="t", text_anchor="end")
    Markup('<text x="1.2" class="t" text-anchor="end">a&lt;b</text>')
    """
    parts = []
    for key, value in attributes.items():
        if value is None:
            continue
        text = short(value) if isinstance(value, float) else value
        text = visible(text) if isinstance(text, str) else text
        parts.append(f' {key.rstrip("_").replace("_", "-")}="{escape(text)}"')
    inner = "".join(c if isinstance(c, Markup) else escape(visible(str(c))) for c in content)
    close = f">{inner}</{name}>" if content else "/>"
    return Markup(f"<{name}{''.join(parts)}{close}")


def picture(
    id: str, title: str, says: str, body: list[Markup], size: tuple[int, int], style: str = "chart"
) -> Markup:
    """Wrap shapes in an image whose numbers a screen reader hears."""
    return tag(
        "svg",
        *body,
        id=id or None,
        class_=style,
        viewBox=f"0 0 {size[0]} {size[1]}",
        role="img",
        aria_label=f"{title}. {says}",
        tabindex="0" if id else None,
    )


def ticks(low: float, high: float, count: int = 4) -> list[float]:
    """Round numbers that span ``low`` to ``high``, about ``count`` steps of them.

    >>> ticks(0, 13)
    [0.0, 5.0, 10.0, 15.0]
    """
    high = high if high > low else low + 1.0
    raw = (high - low) / count
    size = 10.0 ** math.floor(math.log10(raw))
    step = next(m * size for m in (1, 2, 2.5, 5, 10) if m * size >= raw * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(i * step, 12) for i in range(first, last + 1)]


@dataclass
class Marks:
    """What is drawn along the steps of a chart; an alert has step, number, level, message."""

    alerts: list[dict[str, Any]] = field(default_factory=list)
    checkpoints: list[int] = field(default_factory=list)
    resumes: list[int] = field(default_factory=list)
    windows: Windows | None = None


class Box:
    """Maps steps and values to places in the picture."""

    def __init__(
        self,
        steps: tuple[float, float],
        values: tuple[float, float],
        right: int = RIGHT,
        size: tuple[int, int] = (WIDTH, HEIGHT),
    ) -> None:
        self.left, self.right = LEFT, size[0] - right
        self.top, self.bottom = TOP, size[1] - BOTTOM
        self.steps, self.values = steps, values

    def x(self, step: float) -> float:
        """The horizontal place of a step."""
        first, last = self.steps
        return self.left + (step - first) / ((last - first) or 1) * (self.right - self.left)

    def y(self, value: float) -> float:
        """The vertical place of a value."""
        low, high = self.values
        share = (value - low) / ((high - low) or 1)
        return self.bottom - share * (self.bottom - self.top)

    def path(self, xs: Sequence[float], ys: Sequence[float]) -> str:
        """The path through the points, without its first letter."""
        points = zip(xs, ys, strict=True)
        return "L".join(f"{short(self.x(x))} {short(self.y(y))}" for x, y in points)


def levels(box: Box, grid: list[float], unit: str) -> list[Markup]:
    """Horizontal lines with their values."""
    parts = [tag("text", unit, class_="unit", x=2, y=11)]
    for value in grid:
        y = box.y(value)
        parts.append(tag("path", class_="grid", d=f"M{box.left} {short(y)}H{box.right}"))
        parts.append(tick(f"{value:g}", box.left - 6, y + 4, "end"))
    return parts


def axes(box: Box, grid: list[float], unit: str) -> list[Markup]:
    """Horizontal lines with their values, and the steps below."""
    parts = levels(box, grid, unit)
    first, last = box.steps
    room = (last - first) / 11
    inner = {t for t in ticks(first, last, 5) if t == int(t) and first + room < t < last - room}
    for t in sorted({first, last} | inner):
        anchor = "start" if t == first else "end" if t == last else "middle"
        parts.append(tick(f"{int(t)}", box.x(t), box.bottom + 18, anchor))
    return parts


def tick(text: str, x: float, y: float, anchor: str) -> Markup:
    """A label of an axis."""
    return tag("text", text, class_="tick", x=float(x), y=float(y), text_anchor=anchor)


def marks_along(box: Box, marks: Marks) -> list[Markup]:
    """Windows, checkpoints, resumes and alerts, in this order from back to front."""
    parts = []
    if marks.windows:
        for name, (a, b) in (("baseline", marks.windows.baseline), ("now", marks.windows.now)):
            parts.append(
                tag(
                    "rect",
                    tag("title", f"{name}: steps {a} to {b}"),
                    class_="window",
                    x=box.x(a),
                    y=box.top,
                    width=max(2.0, box.x(b) - box.x(a)),
                    height=box.bottom - box.top,
                )
            )
    for step in marks.checkpoints:
        place = f"M{short(box.x(step) - 3)} {box.bottom + 6}h6l-3 -6z"
        parts.append(
            tag("path", tag("title", f"checkpoint at step {step}"), class_="checkpoint", d=place)
        )
    for step in marks.resumes:
        place = f"M{short(box.x(step))} {box.top}V{box.bottom}"
        parts.append(
            tag("path", tag("title", f"resumed from step {step}"), class_="resume", d=place)
        )
    return parts + _alerts_along(box, marks.alerts)


def _tone(alert: dict[str, Any]) -> str:
    """The colour of an alert: of its run where there are several, else of its level."""
    if "of_run" in alert:
        return f"of{alert['of_run']}"
    return "error" if alert.get("level") == "error" else "warning"


def _alerts_along(box: Box, alerts: list[dict[str, Any]]) -> list[Markup]:
    parts, taken = [], []
    for alert in alerts:
        x = box.x(alert["step"])
        outside = not box.steps[0] <= alert["step"] <= box.steps[1]
        if outside or any(abs(x - t) < 17 for t in taken):
            continue
        taken.append(x)
        says = f"alert {alert['number']}, step {alert['step']}: {alert.get('message', '')}"
        parts.append(
            tag(
                "g",
                tag("title", says),
                tag("path", d=f"M{short(x)} {box.top}V{box.bottom}"),
                tag("path", class_="flag", d=f"M{short(x)} {box.top - 20}l10 18h-20z"),
                tag("text", alert["number"], x=x, y=box.top - 5, text_anchor="middle"),
                class_=f"alert {_tone(alert)}",
            )
        )
    return parts
