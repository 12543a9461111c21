"""What the model says now that it did not say before: openings, n-grams and whole completions."""

import math
import re
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

from divreg.history import History
from divreg.report.inert import clipped
from divreg.report.numbers import Windows

ROWS = 8
PARTS = 8  # recorded steps read from each window
TEXT = 4000  # characters of a completion that are looked at
_Z = 3.0  # two shares differ when they are three standard errors apart


def wording(history: History, windows: Windows | None) -> dict[str, Any] | None:
    """Compare the texts of the two windows; None where either has no texts."""
    if windows is None:
        return None
    before = _texts(history, *windows.baseline)
    after = _texts(history, *windows.now)
    if not before or not after:
        return None
    spoken = sum(len(t.split()) for t in before + after) >= 4 * len(before + after)
    grams = _word_grams if spoken else _letter_grams
    tables = {
        "openings": (_opening if spoken else _letter_opening, "openings"),
        "ngrams": (grams, "three words in a row" if spoken else "four characters in a row"),
        "completions": (_whole, "whole completions"),
    }
    found: dict[str, Any] = {
        "completions_before": len(before),
        "completions_now": len(after),
    }
    for name, (features, what) in tables.items():
        gained, lost = _compare(before, after, features)
        found[name] = {"what": what, "gained": gained, "lost": lost}
    found["top_share_before"] = _top_share(before)
    found["top_share_now"] = _top_share(after)
    return found


def _texts(history: History, first: int, last: int) -> list[str]:
    steps = [s for s in history.completion_steps if first <= s <= last]
    stride = max(1, math.ceil(len(steps) / PARTS))
    return [
        (text or "")[:TEXT]
        for step in steps[::stride]
        for text in history.completions(step).get("completion", [])
    ]


def _compare(
    before: list[str], after: list[str], features: Callable[[str], Iterable[str]]
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The features whose share of completions rose and fell most, clear of chance."""
    old, new = (Counter(f for t in texts for f in set(features(t))) for texts in (before, after))
    rows = []
    for feature in old.keys() | new.keys():
        p, q = old[feature] / len(before), new[feature] / len(after)
        pooled = (old[feature] + new[feature]) / (len(before) + len(after))
        error = math.sqrt(pooled * (1 - pooled) * (1 / len(before) + 1 / len(after)))
        if error and abs(q - p) > _Z * error and max(p, q) >= 0.02:
            text, _ = clipped(feature, 80)
            rows.append({"text": text, "before": p, "now": q})
    rows.sort(key=lambda r: (r["before"] - r["now"], r["text"]))
    gained = [r for r in rows if r["now"] > r["before"]]
    lost = [r for r in reversed(rows) if r["now"] < r["before"]]
    return _without_nested(gained)[:ROWS], _without_nested(lost)[:ROWS]


def _without_nested(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Drop what only repeats a stronger row: shifted by a word, with the same shares."""
    kept: list[dict[str, Any]] = []
    for row in rows:
        inner = row["text"].strip()[1:-1]
        if not any(abs(k["now"] - row["now"]) < 0.01 and inner in k["text"] for k in kept):
            kept.append(row)
    return kept


def _words(text: str) -> list[str]:
    return re.findall(r"\w+|[^\w\s]", text.casefold())


def _opening(text: str) -> list[str]:
    return [" ".join(text.split()[:4])] if text.strip() else []


def _letter_opening(text: str) -> list[str]:
    return [text.strip()[:3]] if text.strip() else []


def _word_grams(text: str) -> list[str]:
    words = _words(text)
    return [" ".join(words[i : i + 3]) for i in range(len(words) - 2)]


def _letter_grams(text: str) -> list[str]:
    return [text[i : i + 4] for i in range(len(text) - 3)]


def _whole(text: str) -> list[str]:
    return [" ".join(text.split())] if text.strip() else []


def _top_share(texts: list[str]) -> float:
    """Share of the completions whose normalised text is the most frequent one."""
    return Counter(" ".join(t.casefold().split()) for t in texts).most_common(1)[0][1] / len(texts)
