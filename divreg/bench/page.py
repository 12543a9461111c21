"""The results of a benchmark drawn as one HTML file that needs nothing from outside."""

from collections.abc import Sequence
from importlib import resources

from markupsafe import Markup

from divreg.bench.summary import Summary
from divreg.report.charts import Line, line_chart
from divreg.report.svg import Marks, picture, short, tag, ticks

WIDTH, HEIGHT = 720, 420
LEFT, RIGHT, TOP, BOTTOM = 52, 24, 30, 44
CURVES = 4  # rows whose curves are drawn: colours and dashes that can be told apart

_STYLE = """
figure { max-width: 760px; }
.pareto .bar { stroke: var(--quiet); stroke-width: 1; fill: none; }
.pareto .front { stroke: var(--run2); stroke-width: 1.5; fill: none; stroke-dasharray: 5 4; }
.pareto circle { fill: var(--run0); }
.pareto .baseline circle { fill: var(--run1); }
.pareto .best circle { stroke: var(--ink); stroke-width: 2; }
.pareto g text { font-size: 11px; fill: var(--ink); }
.dot0 { color: var(--run0); } .dot1 { color: var(--run1); } .dot2 { color: var(--run2); }
table.results { width: auto; min-width: 0; border-collapse: collapse; font-size: 14px; }
.results td, .results th { font-variant-numeric: tabular-nums; min-width: 0; width: auto; }
.results th, .results td { padding: 4px 8px; text-align: right; white-space: nowrap; }
.results th { font-weight: 600; color: var(--quiet); border-bottom: 1px solid var(--rule); }
.results td:nth-child(2), .results th:nth-child(2) { text-align: left; }
.results tr.front td { font-weight: 600; }
.wide { overflow-x: auto; }
"""


def render(title: str, says: Sequence[str], rows: Sequence[Summary], k: int) -> str:
    """Draw the page.

    Args:
        title: Its heading.
        says: Paragraphs under it.
        rows: The results.
        k: Budget of the distinct right answers.
    """
    css = resources.files("divreg.report").joinpath("report.css").read_text(encoding="utf-8")
    curves = chosen(rows)
    body = [
        tag("p", "divreg bench", class_="brand"),
        tag("h1", title),
        *(tag("p", paragraph) for paragraph in says),
        tag("h2", "Right against different"),
        _pareto(rows, k),
        tag(
            "p",
            tag("span", "●", class_="dot0"),
            " methods, ",
            tag("span", "●", class_="dot1"),
            " what a user would take instead; bars are standard errors; ",
            tag("span", "- -", class_="dot2"),
            " the front: nothing has more of both. Numbers are those of the table.",
            class_="quiet",
        ),
        tag("h2", "Every row"),
        tag("div", _table(rows, k), class_="wide"),
    ]
    if curves:
        budgets = [i for i, _ in enumerate(sorted(curves[0].curve))]
        exploring = line_chart(
            "pass-at-k",
            "pass@k",
            "pass@k; below: k as a power of 2",
            [
                Line(r.label, budgets, [r.curve[b] for b in sorted(r.curve)], i)
                for i, r in enumerate(curves)
            ],
            Marks(),
            (0, budgets[-1]),
            smooth=False,
        )
        body += [tag("h2", "More attempts"), tag("figure", exploring.svg)]
        with_entropy = [r for r in curves if r.entropy]
        if with_entropy:
            last = int(max(step for r in with_entropy for step, _ in r.entropy))
            falling = line_chart(
                "entropy",
                "Token entropy in training",
                "nats; below: steps",
                [
                    Line(r.label, [int(s) for s, _ in r.entropy], [v for _, v in r.entropy], i)
                    for i, r in enumerate(with_entropy)
                ],
                Marks(),
                (1, last),
            )
            body += [tag("h2", "Entropy in training"), tag("figure", falling.svg)]
    head = Markup("").join(
        [
            Markup('<meta charset="utf-8">'),
            Markup('<meta name="viewport" content="width=device-width, initial-scale=1">'),
            tag("title", title),
            Markup(f"<style>{css}{_STYLE}</style>"),
        ]
    )
    main = tag("main", *body)
    return f'<!doctype html>\n<html lang="en"><head>{head}</head><body>{main}</body></html>\n'


def chosen(rows: Sequence[Summary]) -> list[Summary]:
    """Return whose curves are drawn: the first row, the best other baseline, the best methods."""

    def best(among: list[Summary]) -> list[Summary]:
        return sorted(among, key=lambda r: -r.distinct.value)

    first = list(rows[:1])
    baselines = best([r for r in rows[1:] if r.baseline])[:1]
    methods = best([r for r in rows[1:] if not r.baseline])
    return [*first, *baselines, *methods][:CURVES]


def _pareto(rows: Sequence[Summary], k: int) -> Markup:
    rights = [r.right.value for r in rows]
    distincts = [r.distinct.value for r in rows]
    across, up = ticks(min(rights), max(rights), 6), ticks(0.0, max(distincts), 6)

    def x(value: float) -> float:
        return LEFT + (value - across[0]) / (across[-1] - across[0]) * (WIDTH - LEFT - RIGHT)

    def y(value: float) -> float:
        return HEIGHT - BOTTOM - (value - up[0]) / (up[-1] - up[0]) * (HEIGHT - TOP - BOTTOM)

    body = [tag("text", f"different right answers in {k}", class_="unit", x=2, y=11)]
    for value in up:
        line = f"M{LEFT} {short(y(value))}H{WIDTH - RIGHT}"
        body.append(tag("path", class_="grid", d=line))
        body.append(_tick(f"{value:g}", LEFT - 6, y(value) + 4, "end"))
    body += [_tick(f"{value:g}", x(value), HEIGHT - BOTTOM + 18, "middle") for value in across]
    body.append(_tick("pass@1", (LEFT + WIDTH - RIGHT) / 2, HEIGHT - 6, "middle"))
    front = sorted((r.right.value, r.distinct.value) for r in rows if r.on_front)
    path = "L".join(f"{short(x(a))} {short(y(b))}" for a, b in front)
    body.append(tag("path", class_="front", d=f"M{path}"))
    for number, row in enumerate(rows, 1):
        at = x(row.right.value), y(row.distinct.value)
        parts = [tag("title", f"{number}. {row.label}: {_in_words(row, k)}")]
        if row.right.error is not None and row.distinct.error is not None:
            dx = x(row.right.value + row.right.error) - at[0]
            dy = at[1] - y(row.distinct.value + row.distinct.error)
            cross = f"M{short(at[0] - dx)} {short(at[1])}h{short(2 * dx)}"
            cross += f"M{short(at[0])} {short(at[1] - dy)}v{short(2 * dy)}"
            parts.append(tag("path", class_="bar", d=cross))
        parts.append(tag("circle", cx=at[0], cy=at[1], r=4.5))
        parts.append(tag("text", str(number), x=at[0] + 7, y=at[1] - 5))
        style = ("baseline" if row.baseline else "method") + (" best" if row.on_front else "")
        body.append(tag("g", *parts, class_=style))
    says = "; ".join(f"{r.label}: {_in_words(r, k)}" for r in rows) + "."
    drawing = picture(
        "pareto", "pass@1 against different right answers", says, body, (WIDTH, HEIGHT), "chart"
    )
    return tag("figure", drawing, class_="pareto")


def _tick(text: str, x: float, y: float, anchor: str) -> Markup:
    return tag("text", text, class_="tick", x=float(x), y=float(y), text_anchor=anchor)


def _in_words(row: Summary, k: int) -> str:
    return f"pass@1 {row.right.show(2)}, {row.distinct.show()} different in {k}"


def headings(rows: Sequence[Summary], k: int) -> list[str]:
    """Return the headings of the table; held-out answers have columns, and costs if timed."""
    first = rows[0]
    costs = ["ms a step", *([] if first.nats else ["of them the method"])]
    return [
        "", "", "pass@1", f"different in {k}", f"pass@{max(first.curve)}", "more pass@1",
        "more different", *(f"{name}, nats" for name in first.nats), *first.others,
        *(costs if first.step_ms else []), "seeds",
    ]  # fmt: skip


def cells(number: int, row: Summary, first: Summary) -> list[str]:
    """Return the cells of one row of the table, under the headings of the first row's."""
    right, distinct = row.gains or (None, None)
    costs = [f"{row.step_ms:.0f}" if row.step_ms else "", *([] if first.nats else [_share(row)])]
    return [
        str(number),
        row.label,
        row.right.show(3),
        row.distinct.show(),
        row.most.show(3),
        _signed(right.show(3)) if right else "",
        _signed(distinct.show()) if distinct else "",
        *(row.nats[name].show(2) if name in row.nats else "" for name in first.nats),
        *(row.others[head].show(_digits(head)) for head in first.others),
        *(costs if first.step_ms else []),
        str(row.seeds),
    ]


def _digits(head: str) -> int:
    return 3 if head.endswith("pass@1") else 2 if head.endswith("nats") else 1


def _share(row: Summary) -> str:
    """Print what a method takes, in ms and in % of a step without it."""
    if not row.method_ms or not row.step_ms:
        return ""
    return f"{row.method_ms:.1f} ({100 * row.method_ms / (row.step_ms - row.method_ms):.1f} %)"


def _signed(shown: str) -> str:
    return shown if shown.startswith("-") else f"+{shown}"


def _table(rows: Sequence[Summary], k: int) -> Markup:
    lines = [tag("tr", *(tag("th", h) for h in headings(rows, k)))]
    for number, row in enumerate(rows, 1):
        parts = [tag("td", cell) for cell in cells(number, row, rows[0])]
        lines.append(tag("tr", *parts, class_="front" if row.on_front else None))
    return tag("table", *lines, class_="results")
