"""The prompts that lost most, with their samples at every stage, as many as a page can hold."""

from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import escape

from divreg.report.collapsed import COLOURS, SHORT, letter
from divreg.report.inert import clipped
from divreg.trace.definitions import title

LONGEST, SHORTEST = 600, 160  # characters of a sample, by how many are shown
PROMPT = 600
_BRIEF = 90  # characters of a prompt where it is a heading
_AROUND = 260  # bytes of the tags around a sample
BY_CLASS = "class"  # what a task says of samples that are the same by a class of their own


def prompts(
    tasks: Sequence[Mapping[str, Any]], stages: Sequence[str], k: Any, room: int
) -> tuple[list[list[dict[str, Any]]], int]:
    """Choose what is shown of every task: the first prompt of each, then the second, and so on.

    Args:
        tasks: Of ``trace.json``.
        stages: Their names.
        k: Samples that counts are brought to.
        room: Bytes that the page has left.

    Returns:
        For every task its prompts, and how many there was no room for.
    """
    texts = sum(len(own) for t in tasks for p in t["lost_most"] for own in p["samples"].values())
    limit = max(SHORTEST, min(LONGEST, room // (2 * max(1, texts))))
    found: list[list[dict[str, Any]]] = [[] for _ in tasks]
    left_out = 0
    for rank in range(max((len(task["lost_most"]) for task in tasks), default=0)):
        for task, own in zip(tasks, found, strict=True):
            if rank >= len(task["lost_most"]):
                continue
            shown = _prompt(task, task["lost_most"][rank], stages, k, limit)
            cost = _bytes(shown)
            if cost <= room:
                own.append(shown)
                room -= cost
            else:
                left_out += 1
    return found, left_out


def _prompt(
    task: Mapping[str, Any], one: Mapping[str, Any], stages: Sequence[str], k: Any, limit: int
) -> dict[str, Any]:
    by_class = task["classes"] == BY_CLASS
    names: dict[str, int] = {}
    sides = []
    for stage in stages:
        samples = one["samples"].get(stage) or []
        classes = [_class(sample, by_class, names, limit) for sample in samples]
        sides.append(
            {
                "stage": stage,
                "value": one["value"].get(stage),
                "classes": classes,
                "brief": all(len(sample["text"] or "") <= SHORT for sample in samples),
                "more": one["more"].get(stage) or 0,
            }
        )
    text, more = clipped(one["prompt"], PROMPT)
    head, cut = clipped(" ".join(one["prompt"].split()), _BRIEF)
    return {
        "heading": head,
        "text": text if cut or "\n" in one["prompt"] else "",
        "more": more,
        "number": title(one["number"], k).lower(),
        "sides": sides,
        "brief": all(side["brief"] for side in sides),
    }


def _class(
    sample: Mapping[str, Any], by_class: bool, names: dict[str, int], limit: int
) -> dict[str, Any]:
    """One class: its letter is that of the same class at an earlier stage, where it was there."""
    text = sample["text"] or ""
    key = str(sample["class"]) if by_class else " ".join(text.casefold().split())
    index = names.setdefault(key, len(names))
    shown, more = clipped(text, limit)
    return {
        "letter": letter(index),
        "colour": index % COLOURS,
        "count": sample["count"],
        "correct": sample["correct"],
        "texts": [{"text": shown, "more": more}],
    }


def _bytes(shown: Mapping[str, Any]) -> int:
    """What a prompt takes in the page."""
    texts = [shown["heading"], shown["text"]]
    texts += [t["text"] for s in shown["sides"] for c in s["classes"] for t in c["texts"]]
    return sum(len(str(escape(text)).encode()) + _AROUND for text in texts)
