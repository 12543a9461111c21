"""What a trace found, as one table of JSON that the page, the console and the file share."""

import itertools
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from divreg.measure import generations, page
from divreg.measure.compare import Change, compare
from divreg.measure.run import Measurement, without_reasoning
from divreg.metrics.classes import text_classes
from divreg.metrics.interval import Interval, difference_interval

# What the verdict is about, by whether an encoder says how far texts are apart: of right answers
# where they are known, and of all samples.
LEADS = {
    False: {"different_pairs_correct": "Among right answers", "different_pairs": "Of all samples"},
    True: {"cosine_diversity_correct": "Among right answers", "cosine_diversity": "Of all samples"},
}
_WORST = 3  # prompts of a task that are shown
_CLASSES = 8  # of a prompt's samples that are shown, at each stage
_CHARACTERS = 600  # of a sample that are shown


@dataclass(frozen=True)
class Traced:
    """One task, measured at every stage.

    Attributes:
        task: Its name.
        facts: What is told of it: ``group``, ``source``, ``graded``, ``max_tokens``.
        files: The samples of each stage, in order.
        found: Their numbers.
        steps: Every stage but the first, against the one before.
        total: The same against the first.
    """

    task: str
    facts: Mapping[str, Any]
    files: Mapping[str, Path]
    found: Mapping[str, Measurement]
    steps: Sequence[Change]
    total: Sequence[Change]


def traced(
    task: str,
    facts: Mapping[str, Any],
    files: Mapping[str, Path],
    found: dict[str, Measurement],
    seed: int,
) -> Traced:
    """Compare the stages of a task, each with the one before and with the first."""
    names = list(found)
    steps = [compare({a: found[a], b: found[b]}, b, seed) for a, b in itertools.pairwise(names)]
    return Traced(task, facts, files, found, steps, [compare(found, n, seed) for n in names[1:]])


def leads(tasks: Sequence[Traced]) -> dict[str, str]:
    """Return the numbers that the verdict is about, and its words for them."""
    numbers = {number.name for one in tasks for m in one.found.values() for number in m.numbers}
    found = LEADS["cosine_diversity" in numbers]
    return {name: words for name, words in found.items() if name in numbers}


def build(tasks: Sequence[Traced], facts: Mapping[str, Any], seed: int) -> dict[str, Any]:
    """Return everything that was found.

    Args:
        tasks: In the order in which they were asked for.
        facts: What holds for all: stages, sampling, versions, the command.
        seed: Of the intervals.
    """
    numbers = {n.name: n for one in tasks for m in one.found.values() for n in m.numbers}
    return {
        "divreg_trace": 2,
        **facts,
        "numbers": [{"name": n.name, "unit": n.unit, "higher": n.higher} for n in numbers.values()],
        "verdict": verdict(tasks, seed),
        "tasks": [_task(one, seed) for one in tasks],
    }


def _task(one: Traced, seed: int) -> dict[str, Any]:
    first = next(iter(one.found.values()))
    return {
        "task": one.task,
        **one.facts,
        "prompts": first.facts["prompt_count"],
        "classes": first.facts["classes"],
        "verdict": verdict([one], seed),
        "stages": {
            name: {
                "numbers": page.finites(measured.sets[0].numbers),
                "facts": {k: v for k, v in measured.facts.items() if k != "path"},
                "left_out": page.left_out(measured.facts, measured.problems),
            }
            for name, measured in one.found.items()
        },
        "against_the_stage_before": [_change(change) for change in one.steps],
        "against_the_first": [_change(change) for change in one.total],
        "lost_most": _lost_most(one),
    }


def _change(change: Change) -> dict[str, Any]:
    return {
        "stage": change.name,
        "prompts": change.pairs,
        "differences": page.finites(change.differences),
        "parts": {name: page.finites(parts) for name, parts in change.parts.items()},
    }


def verdict(tasks: Sequence[Traced], seed: int) -> list[str]:
    """Return where the variety went, in sentences: among right answers, and of all samples.

    Every share is over the same prompts, those that have the number at all stages: then the stages
    add up to the whole.

    Args:
        tasks: Whose prompts count, each as much as any other.
        seed: Of the intervals.
    """
    said = []
    stages = list(tasks[0].found)
    for lead, words in leads(tasks).items():
        graded = [one for one in tasks if lead in {n.name for n in _first(one).numbers}]
        values = everywhere(graded, lead)
        way = f"{words}, from {stages[0]} to {stages[-1]}"
        prompts = len(values[stages[0]])
        if prompts < 2:
            what = "two right answers" if lead.endswith("correct") else "two samples"
            said.append(f"{way}: too few prompts ({prompts}) have {what} at every stage to say.")
            continue
        total = difference_interval(values[stages[-1]], values[stages[0]], seed=seed)
        before = sum(values[stages[0]]) / prompts
        of = f" of {len(graded)} tasks" if len(graded) > 1 else ""
        numbers = f"{lead} {before:.2f} to {before + total.estimate:.2f}, {prompts} prompts{of}"
        if not total.high < 0:
            said.append(f"{way}, no variety was lost that these prompts show ({numbers}).")
            continue
        shares = [
            _share(b, difference_interval(values[b], values[a], seed=seed), total.estimate)
            for a, b in itertools.pairwise(stages)
        ]
        gone = f"{-total.estimate / before:.0%} of the variety went ({numbers})"
        said.append(f"{way}, {gone}: {', '.join(shares)}.")
    return said


def everywhere(tasks: Sequence[Traced], number: str) -> dict[str, list[float]]:
    """Return a number of the prompts that have it at all stages, by stage."""
    found: dict[str, list[float]] = {stage: [] for stage in tasks[0].found}
    for one in tasks:
        tables = [
            {p.prompt: p.numbers.get(number) for s in measured.sets for p in s.prompts}
            for measured in one.found.values()
        ]
        prompts = [p for p in tables[0] if all(table.get(p) is not None for table in tables)]
        for stage, table in zip(one.found, tables, strict=True):
            found[stage] += [float(table[p]) for p in prompts]  # pyright: ignore[reportArgumentType]
    return found


def _share(name: str, x: Interval, total: float) -> str:
    """Return what a stage took of the loss; a question mark where it may be none."""
    known = x.high < 0 or x.low > 0 or x.low == x.high
    return f"{name} {round(x.estimate / total, 2) + 0.0:.0%}{'' if known else '?'}"


def _first(one: Traced) -> Measurement:
    return next(iter(one.found.values()))


def _lost_most(one: Traced) -> list[dict[str, Any]]:
    """Return the prompts whose samples lost most variety, with the samples of every stage."""
    there = {n.name for n in _first(one).numbers}
    number = "distinct_correct_at_k" if "distinct_correct_at_k" in there else "distinct_at_k"
    tables = {
        stage: {p.prompt: p.numbers.get(number) for s in m.sets for p in s.prompts}
        for stage, m in one.found.items()
    }
    first, *_, last = tables.values()
    lost = {
        prompt: before - after
        for prompt, before in first.items()
        if before is not None and (after := last.get(prompt)) is not None
    }
    worst = sorted((p for p in lost if lost[p] > 0), key=lambda p: -lost[p])[:_WORST]
    shown = {stage: _shown(path, worst) for stage, path in one.files.items()} if worst else {}
    return [
        {
            "prompt": prompt,
            "number": number,
            "value": {stage: table.get(prompt) for stage, table in tables.items()},
            "samples": {stage: own[prompt][:_CLASSES] for stage, own in shown.items()},
            "more": {stage: max(0, len(own[prompt]) - _CLASSES) for stage, own in shown.items()},
        }
        for prompt in worst
    ]


def _shown(path: Path, prompts: Sequence[str]) -> dict[str, list[dict[str, Any]]]:
    """Return one sample of every class of some prompts, the most frequent first."""
    found: dict[str, list[tuple[str, Any, Any]]] = {prompt: [] for prompt in prompts}
    for sample in generations.read([path], generations.Problems()):
        if sample.prompt in found:
            row = (sample.fields.get("class"), sample.fields.get("correct"))
            found[sample.prompt].append((without_reasoning(sample.text), *row))
    return {prompt: _by_class(own) for prompt, own in found.items()}


def _by_class(samples: Sequence[tuple[str, Any, Any]]) -> list[dict[str, Any]]:
    """Return the classes of a prompt's samples, the most frequent first.

    >>> _by_class([("3*8", "24a", True), ("8*3", "24b", True), ("3*8", "24a", True)])[0]
    {'text': '3*8', 'class': '24a', 'correct': True, 'count': 2}
    """
    texts = [text for text, _, _ in samples]
    keys = [key for _, key, _ in samples]
    if None in keys:
        keys = [str(i) for i in text_classes(texts)]
    counts = Counter(keys)
    found = {}
    for (text, _, correct), key in zip(samples, keys, strict=True):
        row = {"text": text[:_CHARACTERS], "class": key, "correct": correct, "count": counts[key]}
        found.setdefault(key, row)
    return sorted(found.values(), key=lambda row: -row["count"])
