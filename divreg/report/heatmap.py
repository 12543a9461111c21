"""Prompts x steps: how many different answers each group had, in a map of bounded size."""

from collections import Counter
from typing import Any

from divreg.history import History

ROWS = 32
COLUMNS = 60
PARTS = 16  # recorded steps that are opened to find the words of the prompts


def heatmap(history: History) -> dict[str, Any] | None:
    """Distinct answers as a share of the group size; None where no groups were recorded.

    Where prompts come back, a row is a prompt and the rows that lost most stand on top. Where they
    do not, a row is a rank: each column's groups from the most to the least varied.
    """
    steps = sorted({step for step, _, _ in _cells(history)})
    if len(steps) < 2:
        return None
    width = min(COLUMNS, len(steps))
    column = {step: i * width // len(steps) for i, step in enumerate(steps)}
    bounds: list[list[int]] = [[] for _ in range(width)]
    for step in steps:
        bounds[column[step]].append(step)
    spread: dict[str, set[int]] = {}
    for step, prompt, _ in _cells(history):
        spread.setdefault(prompt, set()).add(column[step])
    often = {p for p, columns in spread.items() if len(columns) >= max(3, width // 8)}
    by_prompt = len(often) >= 4
    if by_prompt:
        rows = _by_prompt(history, column, width, often)
    else:
        rows = _by_rank(history, column, width)
    texts = _texts(history, {label for label, _ in rows}) if by_prompt else {}
    common = _common(list(texts.values()))
    return {
        "rows": "prompt" if by_prompt else "rank",
        "prompts": len(spread),
        "columns": [[b[0], b[-1]] for b in bounds],
        "labels": [texts[label][common:][:60] if label in texts else label for label, _ in rows],
        "values": [values for _, values in rows],
    }


def _texts(history: History, wanted: set[str]) -> dict[str, str]:
    """The words of prompts by their id, from the newest completions back."""
    found: dict[str, str] = {}
    for step in history.completion_steps[: -PARTS - 1 : -1]:
        part = history.completions(step)
        pairs = zip(part.get("prompt_id") or [], part.get("prompt") or [], strict=False)
        found |= {i: " ".join((text or "").split()) for i, text in pairs if i in wanted}
        if len(found) == len(wanted):
            break
    return found


def _common(texts: list[str]) -> int:
    """Length of the words that all texts begin with: labels leave them out."""
    if len(texts) < 2:
        return 0
    low, high = min(texts), max(texts)  # what these two share, all share
    same = next((i for i, (a, b) in enumerate(zip(low, high, strict=False)) if a != b), len(low))
    return low[:same].rfind(" ") + 1


def _cells(history: History):
    for row in history.judged:
        groups = row.get("groups") or {}
        ids, sizes, counts = (groups.get(k) or [] for k in ("prompt_id", "size", "distinct"))
        for prompt, size, count in zip(ids, sizes, counts, strict=False):
            if size and count is not None:
                yield row["step"], prompt, count / size


def _by_prompt(
    history: History, column: dict[int, int], width: int, often: set[str]
) -> list[tuple[str, list[float | None]]]:
    sums: dict[str, list[float]] = {p: [0.0] * width for p in often}
    counts: dict[str, list[int]] = {p: [0] * width for p in often}
    for step, prompt, value in _cells(history):
        if prompt in often:
            sums[prompt][column[step]] += value
            counts[prompt][column[step]] += 1
    rows = [
        (p, [s / n if n else None for s, n in zip(sums[p], counts[p], strict=True)]) for p in often
    ]
    rows.sort(key=lambda row: (-_lost(row[1]), row[0]))
    if len(rows) > ROWS:
        rows = [rows[i * (len(rows) - 1) // (ROWS - 1)] for i in range(ROWS)]
    return rows


def _lost(values: list[float | None]) -> float:
    """How much a row fell from its first third to its last."""
    known = [v for v in values if v is not None]
    third = max(1, len(known) // 3)
    return (sum(known[:third]) - sum(known[-third:])) / third


def _by_rank(
    history: History, column: dict[int, int], width: int
) -> list[tuple[str, list[float | None]]]:
    seen: list[Counter[float]] = [Counter() for _ in range(width)]
    per_step: Counter[int] = Counter()
    for step, _, value in _cells(history):
        seen[column[step]][value] += 1
        per_step[step] += 1
    height = min(ROWS, max(4, max(per_step.values())))
    rows = []
    for i in range(height):
        label = "most varied" if i == 0 else "least varied" if i == height - 1 else ""
        rows.append((label, [_quantile(values, i / (height - 1)) for values in seen]))
    return rows


def _quantile(values: Counter[float], q: float) -> float | None:
    """The value at share ``q`` of the way from the highest to the lowest."""
    left = round(q * (values.total() - 1))
    for value in sorted(values, reverse=True):
        left -= values[value]
        if left < 0:
            return value
    return None
