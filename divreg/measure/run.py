"""From files of generations to the numbers of every prompt and every set of them."""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import MofNCompleteColumn, Progress, SpinnerColumn, TextColumn

from divreg.measure import columns, generations, groups
from divreg.measure.numbers import Number, Seen, available
from divreg.measure.options import Options as Options
from divreg.measure.seeing import (
    RIGHT,
    Rule,
    Said,
    correctness,
    judged_column,
    known_columns,
    seen_of,
)
from divreg.measure.seeing import without_reasoning as without_reasoning
from divreg.measure.summary import Measured, Set, summarise
from divreg.metrics.cosine import unit_rows

SETTINGS = (
    *("model", "temperature", "top_p", "top_k", "min_p", "max_tokens", "seed"),
    "chain_of_thought",
)
PARAMETERS = "parameters"  # of the model, where rows say it
_SHOWN = 200  # characters of a sample that a reader is shown
_AT_A_TIME = 64  # prompts whose texts are embedded together
_LONG = 200  # characters of a column that nobody asked for; longer ones are not held in memory
VALUES = 8  # of a setting that are told


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
        "classes": options.classes_words,
        "encoder": None if options.encoder is None else options.encoder.facts,
        "judge": None if options.judge is None else options.judge.facts,
        "nli": None if options.nli is None else {**options.nli.facts, "samples": k},
        "utility": options.utility,
        "code": "subtrees of Python of height 1 to 4" if options.code else None,
        "formats": options.formats and dict(options.formats),
        "cut_in_reasoning": said.cut,
        "prompts_unjudged": said.unjudged,
        "no_program": said.no_program,
        "columns_unread": said.odd,
        "settings": said.settings,
        "intervals": f"95 %, bootstrap over prompts, seed {options.seed}",
    }
    return Measurement(facts, numbers, sets, problems)


def _read(options: Options) -> frozenset[str]:
    """Return the columns whose values are read."""
    asked = {options.by, options.classes, options.utility, judged_column(options)} - {None}
    known = {*SETTINGS, PARAMETERS, *RIGHT, *columns.THOUGHTS}
    return frozenset({*known, *map(str, asked)})


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
                name: columns.compact(value) if name in read or _is_small(value) else None
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
        raise ValueError(f"--by {by}: a row has no such column. {known_columns(by, sample.fields)}")
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
            for group, seen in zip(some, seen_of(some, k, rule, options, said), strict=True):
                fields = group.samples[0].fields
                if seen.correct is None and options.correct:
                    raise ValueError(
                        f"--correct {options.correct}: a sample of the prompt "
                        f"{group.samples[0].prompt[:60]!r} has no number there. "
                        f"{known_columns(judged_column(options) or '', fields)}"
                    )
                judged += seen.correct is not None
                said.there |= seen.there
                said.unjudged += seen.correct is None
                for sample in group.samples:
                    _note(said.settings, sample.fields)
                found.setdefault(group.name, []).append(_one(group, seen, options))
            progress.advance(task, len(some))
    said.unjudged *= judged > 0
    numbers = available(said.there, options.format_names)
    names = [number.name for number in numbers]
    sets = [summarise(name, prompts, names, options.seed) for name, prompts in found.items()]
    return numbers, sorted(sets, key=lambda s: _natural(s.name)), said


def _note(settings: dict[str, list[Any]], fields: Mapping[str, Any]) -> None:
    """Remember what a row says about how it was sampled."""
    for name in (*SETTINGS, PARAMETERS):
        value = fields.get(name)
        if isinstance(value, str | int | float):
            known = settings.setdefault(name, [])
            if len(known) < VALUES and value not in known:  # 1 and 1.0 are one value
                known.append(value)


def _one(group: groups.Group, seen: Seen, options: Options) -> Measured:
    there = available(seen.there, options.format_names)
    numbers = {number.name: number.value(seen) for number in there}
    centre = None
    if options.centres and seen.embedding is not None:
        centre = unit_rows(seen.embedding, "divreg compare").mean(axis=0).astype(np.float32)
    return Measured(
        group.first, group.name, group.samples[0].prompt, len(seen.texts), numbers,
        [text[:_SHOWN] for text in seen.texts[:3]], centre,
    )  # fmt: skip


def _natural(name: str) -> tuple[Any, ...]:
    """Sort 2 before 10.

    >>> sorted(["step 10", "step 2"], key=_natural)
    ['step 2', 'step 10']
    """
    parts = re.split(r"(\d+)", name)
    return tuple((int(x), "") if x.isdigit() else (-1, x) for x in parts)
