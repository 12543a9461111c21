"""One word for a run, and the numbers and kinds of evidence behind it.

The detector decides; the report only replays it, or believes the alerts that a monitor recorded.
"""

from dataclasses import dataclass, field
from typing import Any

from divreg.history import History
from divreg.report.numbers import FEWEST, Change, Windows, percent, shown

_WORDS = {  # the gravest first
    "seed_bug": "Seed bug",
    "collapsed": "Collapsed",
    "exploding": "Exploding",
    "narrowing": "Narrowing",
    "saturated": "Saturated",
    "stalled": "Stalled",
}
UNHEALTHY = ("Seed bug", "Collapsed", "Exploding")
_MEANS = {
    "Healthy": "The model gives about as many different answers as at the start.",
    "Narrowing": "The model gives fewer different answers than at the start.",
    "Collapsed": "The model gives far fewer different answers than at the start of this run.",
    "Exploding": "The model drifts towards noise: entropy or length grows and answers scatter.",
    "Saturated": "Most groups are all correct, so their rewards teach nothing more. That alone is "
    "not collapse.",
    "Stalled": "Hardly any group has rewards that differ, so hardly anything is learned.",
    "Seed bug": "Parts of the groups repeat each other in order: processes share a seed, and every "
    "number below counts the same samples twice.",
    "Cannot tell": "There is too little evidence for a verdict.",
}
_SAME = 0.1  # a relative change below this counts as none


@dataclass
class Verdict:
    """What the report says first; ``exit_code`` is 3 for what is in UNHEALTHY, else 0."""

    word: str
    means: str
    sentence: str
    evidence: list[dict[str, Any]] = field(default_factory=list)
    agree: str = ""

    @property
    def exit_code(self) -> int:
        """The exit code of ``divreg report``."""
        return 3 if self.word in UNHEALTHY else 0


def judge(
    history: History,
    windows: Windows | None,
    changes: dict[str, Change],
    standing: list[str],
) -> Verdict:
    """Return the verdict on a run from the alerts that still stand and its numbers."""
    evidence = _evidence(changes)
    if windows is None:
        steps = len({row["step"] for row in history.steps})
        says = f"{steps} steps were recorded; a verdict needs {FEWEST} at least."
        return Verdict("Cannot tell", _MEANS["Cannot tell"], says, evidence)
    word = _word(changes, standing)
    return Verdict(
        word, _means(word, changes), _sentence(history, changes), evidence, _agreement(evidence)
    )


def _means(word: str, changes: dict[str, Change]) -> str:
    """Say what the word means; for a healthy run that knows what is right, of right answers."""
    right = changes.get("distinct_correct")
    if word == "Healthy" and right is not None and _direction(right.relative) != "fewer":
        return "The model gives as many different right answers as at the start, or more."
    return _MEANS[word]


def _word(changes: dict[str, Change], standing: list[str]) -> str:
    for kind, word in _WORDS.items():
        if kind in standing:
            return word
    return "Healthy" if "distinct_classes" in changes else "Cannot tell"


def _sentence(history: History, changes: dict[str, Change]) -> str:
    size = (history.run.get("config") or {}).get("num_generations")
    names = {
        "distinct_classes": f"distinct answers per group{f' of {size}' if size else ''}",
        "distinct_correct": "right ones among them",
        "pass_at_1": "pass@1",
        "pass_at_k": changes["pass_at_k"].name if "pass_at_k" in changes else "",
        "entropy": "token entropy",
    }
    parts = [_clause(changes[key], name) for key, name in names.items() if key in changes]
    if not parts:
        return "None of the numbers that a verdict rests on was recorded."
    text = ", ".join(parts[:-1]) + " and " * (len(parts) > 1) + parts[-1] + "."
    return text[0].upper() + text[1:]


def _clause(change: Change, name: str) -> str:
    before, now = shown(change.baseline, change.unit), shown(change.now, change.unit)
    unit = " nats" if change.unit == "nats" else ""
    little = abs(change.difference) < 0.015 if change.share else abs(change.relative or 0) < 0.05
    if before == now or little:
        return f"{name} stayed at {now}{unit}"
    verb = "fell" if change.difference < 0 else "rose"
    share = "" if change.share else f" ({percent(change.relative)})"
    return f"{name} {verb} from {before} to {now}{unit}{share}"


def _evidence(changes: dict[str, Change]) -> list[dict[str, Any]]:
    """The three kinds of evidence: token entropy, classes of answers, pass@1 against pass@k.

    Where it is known which answers are right, only their classes count: that wrong answers go is
    what training is for.
    """
    return [
        _one("token entropy", changes.get("entropy") or changes.get("answer_entropy_nats")),
        _one(
            "classes of answers", changes.get("distinct_correct") or changes.get("distinct_classes")
        ),
        _gap(changes.get("pass_at_1"), changes.get("pass_at_k")),
    ]


def _one(kind: str, change: Change | None) -> dict[str, Any]:
    if change is None:
        return {"kind": kind, "known": False, "says": "not recorded", "points_to": None}
    ends = f"{change.name.lower()} {shown(change.baseline, change.unit)}"
    says = f"{ends} → {shown(change.now, change.unit)} ({percent(change.relative)})"
    return {"kind": kind, "known": True, "says": says, "points_to": _direction(change.relative)}


def _gap(one: Change | None, many: Change | None) -> dict[str, Any]:
    kind = "pass@1 against pass@k"
    if one is None or many is None:
        return {"kind": kind, "known": False, "says": "correctness is not known", "points_to": None}
    before, now = many.baseline - one.baseline, many.now - one.now
    says = f"gap between {many.name} and pass@1 {shown(before, 'share')} → {shown(now, 'share')}"
    if many.now >= 0.98 and one.now >= 0.9:
        return {"kind": kind, "known": True, "says": says + ", both near 1", "points_to": "same"}
    relative = (now - before) / before if before > 0.02 else None
    if many.difference <= 0.02 < one.difference:
        says += ": what is gained is concentration, not new solutions"
    return {"kind": kind, "known": True, "says": says, "points_to": _direction(relative)}


def _direction(relative: float | None) -> str:
    if relative is None or abs(relative) < _SAME:
        return "same"
    return "fewer" if relative < 0 else "more"


def _agreement(evidence: list[dict[str, Any]]) -> str:
    known = [e["points_to"] for e in evidence if e["known"]]
    words = {"fewer": "less variety", "same": "no change", "more": "more variety"}
    counts = {d: known.count(d) for d in words if d in known}
    direction = max(counts, key=lambda d: counts[d], default="same")
    if list(counts.values()).count(counts.get(direction, 0)) > 1:
        return "Kinds of evidence: " + ", ".join(f"{n} for {words[d]}" for d, n in counts.items())
    return f"{known.count(direction)} of {len(known)} kinds of evidence point to {words[direction]}"
