"""Training texts with annotations: documents for pre-training, prompts with responses."""

import re
from collections.abc import Iterable, Mapping
from typing import Any

from divreg.anchors.tags import MARKERS, Vocabulary, find_fault, find_fault_in, render

Tags = Mapping[str, str]

_BREAK = re.compile(r"\n[ \t]*\n\s*")


def paragraphs(document: str) -> list[str]:
    r"""Split a document where a line is empty.

    >>> paragraphs("A cat.\n\nA dog.\n")
    ['A cat.', 'A dog.']
    """
    return [part.strip() for part in _BREAK.split(document) if part.strip()]


def document(parts: Iterable[tuple[Tags | None, str]]) -> str:
    r"""Write paragraphs, each behind its annotation: z1 x1, z2 x2, ...

    For continued pre-training, where every token is learned, annotations too. A paragraph without
    tags stands as it is.

    Raises:
        ValueError: If tags cannot be written; the message has the number of the paragraph.

    >>> document([(None, "What is a cat?"), ({"topic": "animals"}, "A pet.")])
    'What is a cat?\n\n<|tag|>topic<|value|>animals<|/tag|>A pet.'
    """
    written: list[str] = []
    for i, (tags, text) in enumerate(parts):
        if tags and (fault := find_fault(tags)):
            raise ValueError(f"paragraph {i} {fault}")
        written.append((render(tags) if tags else "") + text)
    return "\n\n".join(written)


def example(prompt: str, tags: Tags | None, response: str) -> dict[str, str]:
    """Write an example for post-training: a row of a prompt-completion data set of TRL.

    The annotation is the beginning of the completion, so that the model learns to begin there;
    ``divreg.losses.anchored`` leaves it out of the loss.

    Raises:
        ValueError: If tags cannot be written.

    >>> example("Define a noun.", {"class": "noun.animal"}, "A small rodent.")["completion"]
    '<|tag|>class<|value|>noun.animal<|/tag|>A small rodent.'
    """
    if tags and (fault := find_fault(tags)):
        raise ValueError(f"example {fault}")
    return {"prompt": prompt, "completion": (render(tags) if tags else "") + response}


def rows(
    data: Iterable[Mapping[str, Any]],
    known: Vocabulary,
    *,
    prompt: str = "prompt",
    response: str = "completion",
) -> list[dict[str, str]]:
    """Write a data set for post-training whose columns hold the tags.

    Args:
        data: Rows.
        known: Of every key its values, or none for any; a key is the name of its column.
        prompt: Column of the prompts.
        response: Column of the responses.

    Raises:
        ValueError: If a row lacks a column, or has a tag that is not known or cannot be written;
            the message has the row's number, counted from 0.
    """
    columns = (prompt, response, *known)
    written: list[dict[str, str]] = []
    for i, row in enumerate(data):
        if missing := [name for name in columns if row.get(name) is None]:
            raise ValueError(
                f"row {i} needs the columns {', '.join(columns)}; got none called {missing[0]!r} "
                f"(has: {', '.join(row)}). Name another: rows(data, known, prompt=...)."
            )
        tags = {key: str(row[key]) for key in known}
        if fault := find_fault(tags, known):
            raise ValueError(f"row {i} {fault}")
        written.append(example(str(row[prompt]), tags, str(row[response])))
    return written


def check(
    data: Iterable[Mapping[str, Any]],
    known: Vocabulary | None = None,
    *,
    column: str = "completion",
) -> int:
    """Look at a data set that has annotations already, before it is trained on.

    Args:
        data: Rows.
        known: Of every key its values, or none for any; None for any key.
        column: What begins with annotations; texts without any are left alone.

    Returns:
        How many rows are annotated.

    Raises:
        ValueError: If a row lacks the column, or its annotation has no end or a tag that is not
            known; the message has the row's number, counted from 0.
    """
    found = 0
    for i, row in enumerate(data):
        text = row.get(column)
        if not isinstance(text, str):
            raise ValueError(
                f"row {i} needs a text in the column {column!r}; got {text!r} (has: "
                f"{', '.join(row)}). Name another: check(data, column=...)."
            )
        if not text.lstrip().startswith(MARKERS):
            continue
        if fault := find_fault_in(text, known):
            raise ValueError(f"row {i} {fault}")
        found += 1
    return found
