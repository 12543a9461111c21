"""From the samples of some prompts to what their numbers read."""

import difflib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from divreg.measure import columns, groups
from divreg.measure.numbers import Seen
from divreg.measure.options import Options
from divreg.metrics.ast_diversity import ast_subtrees
from divreg.metrics.classes import classes_from_keys, text_classes
from divreg.metrics.format_shares import format_classifier
from divreg.metrics.nli import nli_diversity_of_groups
from divreg.plain_trl import condition

RIGHT = ("correct", "exact_match")  # columns that say it, where nothing was asked for
_TAGS = re.compile(r"<think>.*?</think>\s*", re.DOTALL)
_UNCLOSED = "<think>"
_CLOSING = re.compile(r"^.*</think>\s*", re.DOTALL)


@dataclass
class Said:
    """What was met on the way.

    Attributes:
        settings: How rows say that they were sampled.
        cut: Samples that end inside their reasoning.
        unjudged: Prompts with a sample that nobody says to be right or wrong, if any prompt has
            none such.
        no_program: Samples that are no Python.
        odd: Prompts of which a column of numbers cannot be read, by column.
        there: What of :class:`~divreg.measure.numbers.Seen` any prompt has.
    """

    settings: dict[str, list[Any]]
    cut: int = 0
    unjudged: int = 0
    no_program: int = 0
    odd: dict[str, int] = field(default_factory=dict)
    there: set[str] = field(default_factory=set)


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
    for name in RIGHT:
        if fields.get(name) in (0, 1):  # True and False are
            return bool(fields[name])
    return None


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


def seen_of(
    some: Sequence[groups.Group], k: int, rule: Rule, options: Options, said: Said
) -> list[Seen]:
    """Return the samples of some prompts; models read all of them at once."""
    texts = [[sample.text for sample in group.samples] for group in some]
    if not options.keep_reasoning:
        answered = [[_answered(text) for text in own] for own in texts]
        texts = [[text for text, _ in own] for own in answered]
        said.cut += sum(cut for own in answered for _, cut in own)
    if options.judge is not None:
        classes: list[list[Any]] = [*options.judge.classes(texts)]
    else:
        pairs = zip(some, texts, strict=True)
        classes = [_classes(group, own, options.classes) for group, own in pairs]
    vectors = nli = None
    if options.encoder is not None:
        vectors = options.encoder([text for own in texts for text in own])
    if options.nli is not None:
        nli = nli_diversity_of_groups([own[:k] for own in texts], options.nli)
    seen, at = [], 0
    for i, (group, own) in enumerate(zip(some, texts, strict=True)):
        rows = [sample.fields for sample in group.samples]
        right = [rule(row) for row in rows]
        known, odd = columns.thoughts(rows)
        for name in odd:
            said.odd[name] = said.odd.get(name, 0) + 1
        made = Seen(
            own, classes[i], k,
            correct=None if None in right else [bool(x) for x in right],
            embedding=None if vectors is None else np.asarray(vectors[at : at + len(own)]),
            whole=columns.is_whole(rows) or None,
            nli=None if nli is None else nli[i],
            **known,
        )  # fmt: skip
        seen.append(_asked_for(made, group, options, said))
        at += len(own)
    return seen


def _asked_for(seen: Seen, group: groups.Group, options: Options, said: Said) -> Seen:
    """Add what only some options read: utilities, programs, formats."""
    if options.utility is not None:
        values = _column_of(group, options.utility, "--utility")
        seen = replace(seen, utility=[float(x) for x in values])
    if options.code:
        programs = [_program(text) for text in seen.texts]
        said.no_program += programs.count(None)
        seen = replace(seen, programs=programs)
    if options.formats is not None:
        name = format_classifier(options.formats)
        seen = replace(seen, formats=[name(text) for text in seen.texts])
    return seen


def _program(text: str) -> Mapping[str, int] | None:
    """Return the subtrees of the program in a sample; None where that is no Python."""
    from divreg.graders import code

    try:
        return ast_subtrees(code.extract(text))
    except ValueError:
        return None


def _classes(group: groups.Group, texts: Sequence[str], column: str | None) -> list[Any]:
    if column is None:
        return text_classes(texts)
    return classes_from_keys([str(x) for x in _column_of(group, column, "--classes")])


def _column_of(group: groups.Group, column: str, flag: str) -> list[Any]:
    """Return the values of a column that was asked for; utilities are numbers."""
    values = [sample.fields.get(column) for sample in group.samples]
    kinds = (int, float) if flag == "--utility" else object
    missing = sum(value is None or not isinstance(value, kinds) for value in values)
    if missing:
        raise ValueError(
            f"{flag} {column}: {missing} of {len(values)} samples of the prompt "
            f"{group.samples[0].prompt[:60]!r} have no such column"
            f"{' of numbers' if flag == '--utility' else ''}. "
            f"{known_columns(column, group.samples[0].fields)}"
        )
    return values


def judged_column(options: Options) -> str | None:
    """Return the column that was named to say what is right, if one was."""
    found = condition(options.correct or "")
    return found and found[0]


def known_columns(name: str, fields: Mapping[str, Any]) -> str:
    """Return what to type in place of a column that a row does not have."""
    near = difflib.get_close_matches(name, fields, n=1)
    if near:
        return f"Did you mean {near[0]!r}?"
    return f"It has {', '.join(sorted(fields)) or 'no other column'}."
