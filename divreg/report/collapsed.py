"""The groups that lost most, with what they said at the baseline and what they say now."""

from typing import Any

from divreg.history import History
from divreg.report.inert import clipped
from divreg.report.numbers import Windows

GROUPS = 8
EXAMPLES = 2  # shown where no group lost anything
CLASSES = 8  # shown on each side; twice as many where texts are short
SHORT = 48  # characters
TEXTS = 2  # different texts shown of one class
BUDGET = 110_000  # characters of completions in the page
PROMPT = 600
COLOURS = 8  # of the chips


def collapsed_groups(history: History, windows: Windows | None) -> dict[str, Any] | None:
    """Pick the groups whose distinct answers fell most and load their completions.

    A prompt that comes back is compared with itself; where none does, the least varied groups of
    now stand beside ordinary groups of the baseline, and ``same_prompt`` is False.
    """
    if windows is None or not history.completion_steps:
        return None
    pairs = _same_prompts(history)
    same = len(pairs) >= 2
    if not same:
        pairs = _strangers(history, windows)
    fallen = [pair for pair in pairs if pair[1][3] < pair[0][3]]
    pairs = fallen or pairs[:EXAMPLES]
    shown = []
    limit = max(80, BUDGET // (2 * TEXTS * CLASSES * max(1, len(pairs))))
    cache: dict[int, dict[str, list[Any]]] = {}
    for before, now in pairs:
        sides = [_side(history, place, cache, limit) for place in (before, now)]
        if sides[0] is None or sides[1] is None:
            continue
        _letters(sides)
        prompt, more = clipped(sides[1].pop("prompt"), PROMPT)
        other, _ = clipped(sides[0].pop("prompt"), PROMPT)
        shown.append(
            {"prompt": prompt, "prompt_more": more, "before": sides[0], "now": sides[1]}
            | ({} if same else {"prompt_before": other})
        )
    return {"same_prompt": same, "fell": bool(fallen), "groups": shown} if shown else None


def _places(history: History, first: int, last: int):
    """Where whole groups with texts are: (step, index of the group, prompt, distinct share)."""
    known = set(history.completion_steps)
    for row in history.judged:
        step, groups = row["step"], row.get("groups") or {}
        if step not in known:
            continue
        if not first <= step <= last or row.get("groups_of"):  # sampled rows lost their index
            continue
        columns = (groups.get(k) or [] for k in ("prompt_id", "size", "distinct"))
        for i, (prompt, size, distinct) in enumerate(zip(*columns, strict=False)):
            if size and distinct is not None:
                yield step, i, prompt, distinct / size


def _same_prompts(history: History) -> list[tuple[Any, Any]]:
    """Groups of one prompt in the first and in the last third, the largest falls first."""
    steps = history.completion_steps
    cut = max(1, len(steps) // 3)
    early: dict[str, Any] = {}
    late: dict[str, Any] = {}
    for place in _places(history, steps[0], steps[cut - 1]):
        early.setdefault(place[2], place)
    for place in _places(history, steps[-cut], steps[-1]):
        if place[0] > steps[cut - 1]:
            late[place[2]] = place
    pairs = [(early[p], late[p]) for p in early.keys() & late.keys()]
    pairs.sort(key=lambda pair: (pair[1][3] - pair[0][3], pair[1][2]))
    return pairs[:GROUPS]


def _strangers(history: History, windows: Windows) -> list[tuple[Any, Any]]:
    before = sorted(_places(history, *windows.baseline), key=lambda p: (p[3], p[0], p[1]))
    now = sorted(_places(history, *windows.now), key=lambda p: (p[3], -p[0], p[1]))
    if not before or not now:
        return []
    count = min(GROUPS // 2, len(before), len(now))
    middle = max(0, len(before) // 2 - count // 2)
    return list(zip(before[middle : middle + count], now[:count], strict=True))


def _side(
    history: History, place: tuple[int, int, str, float], cache: dict[int, Any], limit: int
) -> dict[str, Any] | None:
    step, index, prompt, _ = place
    if step not in cache:
        cache.clear()
        cache[step] = history.completions(step)
    part = cache[step]
    wanted = [i for i, g in enumerate(part.get("group", [])) if g == index]
    if not wanted or (part.get("prompt_id") or [prompt])[wanted[0]] != prompt:
        return None

    def column(name: str) -> list[Any]:
        return [part[name][i] if name in part else None for i in wanted]

    return {
        "step": step,
        "size": len(wanted),
        "prompt": column("prompt")[0] or "",
        **_classes(column("completion"), column("class"), column("correct"), limit),
    }


def _classes(
    texts: list[str | None], classes: list[Any], correct: list[bool | None], limit: int
) -> dict[str, Any]:
    """The classes of a group, the largest first, with a text or two of each."""
    members: dict[Any, list[int]] = {}
    for i, c in enumerate(classes):
        members.setdefault(c, []).append(i)
    order = sorted(members.values(), key=lambda rows: (-len(rows), rows[0]))
    brief = all(len(text or "") <= SHORT for text in texts)
    most = 2 * CLASSES if brief else CLASSES
    shown = []
    for rows in order[:most]:
        different = list(dict.fromkeys(texts[i] or "" for i in rows))
        marks = [correct[i] for i in rows if correct[i] is not None]
        shown.append(
            {
                "count": len(rows),
                "right": sum(map(bool, marks)) if marks else None,
                "texts": [_text(t, limit) for t in different[:TEXTS]],
                "other_texts": max(0, len(different) - TEXTS),
                "_keys": {" ".join(t.casefold().split()) for t in different},
            }
        )
    known = [c for c in correct if c is not None]
    return {
        "distinct": len(order),
        "right": sum(map(bool, known)) if known else None,
        "classes": shown,
        "brief": brief,
        "classes_more": max(0, len(order) - most),
        "completions_more": sum(map(len, order[most:])),
    }


def _letters(sides: list[Any]) -> None:
    """Name the classes A, B, ...; one that is there on both sides keeps its letter."""
    before, now = (side["classes"] for side in sides)
    for i, one in enumerate(before):
        one["letter"], one["colour"] = letter(i), i % COLOURS
    following = len(before)
    for one in now:
        twin = next((b for b in before if b["_keys"] & one["_keys"]), None)
        one["survives"] = twin is not None
        if twin is None:
            one["letter"], one["colour"] = letter(following), following % COLOURS
            following += 1
        else:
            one["letter"], one["colour"] = twin["letter"], twin["colour"]
    for one in (*before, *now):
        del one["_keys"]


def letter(index: int) -> str:
    """Name classes in their order.

    >>> letter(0), letter(25), letter(26), letter(52)
    ('A', 'Z', 'AA', 'AAA')
    """
    return chr(65 + index % 26) * (1 + index // 26)


def _text(text: str, limit: int) -> dict[str, Any]:
    kept, more = clipped(text, limit)
    return {"text": kept, "more": more}
