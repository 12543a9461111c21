"""From files of generations to the numbers of every prompt and every set of them."""

import difflib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import MofNCompleteColumn, Progress, SpinnerColumn, TextColumn

from divreg.measure import generations, groups
from divreg.measure.numbers import Number, Seen, available
from divreg.measure.summary import Measured, Set, summarise
from divreg.metrics.classes import classes_from_keys, text_classes
from divreg.plain_trl import condition

SETTINGS = (
    *("model", "temperature", "top_p", "top_k", "min_p", "max_tokens", "seed"),
    "chain_of_thought",
)
_SHOWN = 200  # characters of a sample that a reader is shown
_AT_A_TIME = 64  # prompts whose texts are embedded together
_TAGS = re.compile(r"<think>.*?</think>\s*", re.DOTALL)
_UNCLOSED = "<think>"
_LONG = 200  # characters of a column that nobody asked for; longer ones are not held in memory
VALUES = 8  # of a setting that are told
_CLOSING = re.compile(r"^.*</think>\s*", re.DOTALL)
_RIGHT = ("correct", "exact_match")  # columns that say it, where nothing was asked for


@dataclass(frozen=True)
class Options:
    """How generations are measured.

    Attributes:
        by: Column whose values are sets of their own.
        k: Samples that counts are brought to; None: as many as most prompts have.
        correct: ``COLUMN>=X``; None looks for a column ``correct``.
        classes: Column that says which samples say the same; None compares their texts.
        encoder: Embeds texts; None measures no embeddings.
        keep_reasoning: Whether reasoning blocks count.
        seed: Of the intervals.
    """

    by: str | None = None
    k: int | None = None
    correct: str | None = None
    classes: str | None = None
    encoder: Any = None
    keep_reasoning: bool = False
    seed: int = 0


@dataclass(frozen=True)
class Measurement:
    """What was measured.

    Attributes:
        facts: What every number was computed with, and of how many prompts and samples.
        numbers: That there are.
        sets: In their natural order.
        problems: What could not be read.
    """

    facts: dict[str, Any]
    numbers: list[Number]
    sets: list[Set]
    problems: generations.Problems


def measure(path: Path, options: Options) -> Measurement:
    """Measure a file or a folder of generations.

    Raises:
        ValueError: If nothing can be measured, or an option cannot be.
    """
    if options.k is not None and options.k < 2:
        raise ValueError(f"--k needs at least 2 samples; got {options.k}. Use --k 8.")
    files, rule = generations.files_of(path), correctness(options.correct)
    problems = generations.Problems()
    found = generations.read(files, problems)
    with groups.Groups(_counted(found, _read(options)), lambda s: _set(s, options.by)) as together:
        if not together.count:
            said = " ".join([f"divreg found no generations in {path}.", *problems.sentences()])
            raise ValueError(f'{said} Rows need {{"prompt": .., "completion": ..}}.')
        k = options.k or _usual(together, path)
        numbers, sets, said = _measure(together, k, rule, options)
    facts = {
        "path": str(path),
        "prompt_count": sum(len(s.prompts) for s in sets),
        "samples": together.count,
        "samples_per_prompt": sorted(together.sizes),
        "k": k,
        "prompts_below_k": sum(prompt.n < k for s in sets for prompt in s.prompts),
        "reasoning": "kept" if options.keep_reasoning else "removed",
        "classes": options.classes or "text: equal up to 64 characters, else 3-gram overlap >= 0.5",
        "encoder": None if options.encoder is None else options.encoder.facts,
        "cut_in_reasoning": said.cut,
        "prompts_unjudged": said.unjudged,
        "settings": said.settings,
        "intervals": f"95 %, bootstrap over prompts, seed {options.seed}",
    }
    return Measurement(facts, numbers, sets, problems)


def without_reasoning(text: str) -> str:
    """Return a text without its reasoning: the block, or all before a closing tag that is alone.

    Reasoning that was cut off before its end leaves what came before it.

    >>> without_reasoning("<think>2 and 2</think>4"), without_reasoning("so</think>4")
    ('4', '4')
    """
    return _answered(text)[0]


def _answered(text: str) -> tuple[str, bool]:
    """Return a text without its reasoning, and whether that was cut off before its end."""
    answer, cut, _ = _CLOSING.sub("", _TAGS.sub("", text)).partition(_UNCLOSED)
    return answer, bool(cut)


Rule = Callable[[Mapping[str, Any]], bool | None]


def correctness(wanted: str | None) -> Rule:
    """Return what says whether a sample is right: True, False, or None where nobody says.

    Args:
        wanted: ``COLUMN>=X``; None looks for a column of 0 and 1 that is called ``correct``.

    Raises:
        ValueError: If it is no such condition.

    >>> correctness("reward>=0.5")({"reward": 1.0}), correctness(None)({"correct": False})
    (True, False)
    """
    if wanted is None:
        return _said
    found = condition(wanted)
    if found is None:
        raise ValueError(f"--correct needs COLUMN>=X; got {wanted!r}. Write --correct 'reward>=1'.")
    column, least = found

    def rule(fields: Mapping[str, Any]) -> bool | None:
        value = fields.get(column)
        return value >= least if isinstance(value, int | float) else None

    return rule


def _said(fields: Mapping[str, Any]) -> bool | None:
    for name in _RIGHT:
        if fields.get(name) in (0, 1):  # True and False are
            return bool(fields[name])
    return None


@dataclass
class Said:
    """What was met on the way.

    Attributes:
        settings: How rows say that they were sampled.
        cut: Samples that end inside their reasoning.
        unjudged: Prompts with a sample that nobody says to be right or wrong, if any prompt has
            none such.
    """

    settings: dict[str, list[Any]]
    cut: int = 0
    unjudged: int = 0


def _read(options: Options) -> frozenset[str]:
    """Return the columns whose values are read."""
    asked = {options.by, options.classes, _column(options)} - {None}
    return frozenset({*SETTINGS, *_RIGHT, *map(str, asked)})


def _column(options: Options) -> str | None:
    """Return the column that says what is right, if one was named."""
    found = condition(options.correct or "")
    return found and found[0]


def _counted(
    samples: Iterable[generations.Sample], read: frozenset[str]
) -> Iterator[generations.Sample]:
    """Show how far the reading has come, and let go of large columns that nobody reads."""
    with _progress() as progress:
        task = progress.add_task("Reading", total=None)
        for i, sample in enumerate(samples):
            if i % 1000 == 0:
                progress.update(task, completed=i)
            light = {
                name: value if name in read or _is_small(value) else None
                for name, value in sample.fields.items()
            }
            yield generations.Sample(sample.prompt, sample.text, light)


def _is_small(value: Any) -> bool:
    return isinstance(value, int | float) or (isinstance(value, str) and len(value) <= _LONG)


def _progress() -> Progress:
    columns = (SpinnerColumn(), TextColumn("{task.description}"), MofNCompleteColumn())
    console = Console(stderr=True)
    return Progress(*columns, console=console, transient=True, disable=not console.is_terminal)


def _set(sample: generations.Sample, by: str | None) -> str:
    if by is None:
        return ""
    if by not in sample.fields:
        raise ValueError(f"--by {by}: a row has no such column. {_known(by, sample.fields)}")
    return str(sample.fields[by])


def _usual(together: groups.Groups, path: Path) -> int:
    """Return how many samples most prompts have.

    Raises:
        ValueError: If that is one: there is nothing to compare.
    """
    size, prompts = max(together.sizes.items(), key=lambda x: (x[1], x[0]))
    if size < 2:
        raise ValueError(
            f"divreg compares the samples of one prompt; got one sample for {prompts:,} of "
            f"{sum(together.sizes.values()):,} prompts in {path}. Draw several: 8 or more. "
            f"Or --k 2, which leaves those prompts out."
        )
    return size


def _measure(
    together: groups.Groups, k: int, rule: Rule, options: Options
) -> tuple[list[Number], list[Set], Said]:
    """Return the numbers that there are, all sets with all prompts, and what was met.

    Raises:
        ValueError: If correctness was asked for and a prompt has none.
    """
    found: dict[str, list[Measured]] = {}
    said = Said({})
    judged = 0
    with _progress() as progress:
        task = progress.add_task("Measuring", total=sum(together.sizes.values()))
        groups_ = iter(together)
        while some := list(islice(groups_, _AT_A_TIME)):
            for group, seen in zip(some, _seen(some, k, rule, options, said), strict=True):
                fields = group.samples[0].fields
                if seen.correct is None and options.correct:
                    raise ValueError(
                        f"--correct {options.correct}: a sample of the prompt "
                        f"{group.samples[0].prompt[:60]!r} has no number there. "
                        f"{_known(_column(options) or '', fields)}"
                    )
                judged += seen.correct is not None
                said.unjudged += seen.correct is None
                for sample in group.samples:
                    _note(said.settings, sample.fields)
                found.setdefault(group.name, []).append(_one(group, seen))
            progress.advance(task, len(some))
    said.unjudged *= judged > 0
    numbers = available(correct=judged > 0, embedding=options.encoder is not None)
    names = [number.name for number in numbers]
    sets = [summarise(name, prompts, names, options.seed) for name, prompts in found.items()]
    return numbers, sorted(sets, key=lambda s: _natural(s.name)), said


def _note(settings: dict[str, list[Any]], fields: Mapping[str, Any]) -> None:
    """Remember what a row says about how it was sampled."""
    for name in SETTINGS:
        value = fields.get(name)
        if isinstance(value, str | int | float):
            known = settings.setdefault(name, [])
            if len(known) < VALUES and value not in known:  # 1 and 1.0 are one value
                known.append(value)


def _known(name: str, fields: Mapping[str, Any]) -> str:
    near = difflib.get_close_matches(name, fields, n=1)
    if near:
        return f"Did you mean {near[0]!r}?"
    return f"It has {', '.join(sorted(fields)) or 'no other column'}."


def _seen(
    some: Sequence[groups.Group], k: int, rule: Rule, options: Options, said: Said
) -> list[Seen]:
    texts = [[sample.text for sample in group.samples] for group in some]
    if not options.keep_reasoning:
        answered = [[_answered(text) for text in own] for own in texts]
        texts = [[text for text, _ in own] for own in answered]
        said.cut += sum(cut for own in answered for _, cut in own)
    vectors = None
    if options.encoder is not None:
        vectors = options.encoder([text for own in texts for text in own])
    seen, at = [], 0
    for group, own in zip(some, texts, strict=True):
        right = [rule(sample.fields) for sample in group.samples]
        correct = None if None in right else [bool(x) for x in right]
        embedding = None if vectors is None else np.asarray(vectors[at : at + len(own)])
        seen.append(Seen(own, _classes(group, own, options.classes), k, correct, embedding))
        at += len(own)
    return seen


def _classes(group: groups.Group, texts: Sequence[str], column: str | None) -> list[Any]:
    if column is None:
        return text_classes(texts)
    missing = [s for s in group.samples if s.fields.get(column) is None]
    if missing:
        raise ValueError(
            f"--classes {column}: {len(missing)} of {len(texts)} samples of the prompt "
            f"{group.samples[0].prompt[:60]!r} have no such column."
        )
    return classes_from_keys([str(s.fields[column]) for s in group.samples])


def _one(group: groups.Group, seen: Seen) -> Measured:
    there = available(correct=seen.correct is not None, embedding=seen.embedding is not None)
    numbers = {number.name: number.value(seen) for number in there}
    return Measured(
        group.first, group.name, group.samples[0].prompt, len(seen.texts), numbers,
        [text[:_SHOWN] for text in seen.texts[:3]],
    )  # fmt: skip


def _natural(name: str) -> tuple[Any, ...]:
    """Sort 2 before 10.

    >>> sorted(["step 10", "step 2"], key=_natural)
    ['step 2', 'step 10']
    """
    parts = re.split(r"(\d+)", name)
    return tuple((int(x), "") if x.isdigit() else (-1, x) for x in parts)
