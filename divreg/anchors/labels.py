"""Labels written out, for a model whose vocabulary is to stay as it is: by characters, not markers.

A row has ``input_ids`` and ``labels``, which TRL takes as they are, whatever it packs or cuts.
Where markers can be added, ``divreg.losses.anchored`` needs no such columns.
"""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

from divreg.anchors.tags import CLOSE, OPEN, VALUE, find_fault

IGNORED = -100


def labels(
    ids: Sequence[int],
    offsets: Sequence[tuple[int, int]],
    *,
    prompt: int,
    response: int,
    values: Sequence[tuple[int, int]],
    keeps_format: bool = False,
) -> list[int]:
    """Label the tokens of prompt, annotation and response.

    A token that has a character of the response is the response's, whatever else it has, and one
    that has a character of a value is the value's.

    Args:
        ids: Tokens.
        offsets: Of each its first character, and the one behind its last.
        prompt: Where the prompt ends and the annotation begins, in characters.
        response: Where the response begins.
        values: Where values begin and end.
        keeps_format: Whether keys and markers are learned.

    Returns:
        The token, or -100 where it is not learned.

    >>> words = {"prompt": 1, "response": 3, "values": [(2, 3)]}
    >>> labels([7, 8, 9, 5], [(0, 1), (1, 2), (2, 3), (3, 4)], **words)
    [-100, -100, -100, 5]
    >>> labels([7, 8, 9, 5], [(0, 1), (1, 2), (2, 3), (3, 4)], **words, keeps_format=True)
    [-100, 8, -100, 5]
    """
    found: list[int] = []
    for token, (first, end) in zip(ids, offsets, strict=True):
        in_value = any(first < stop and end > start for start, stop in values)
        kept = end > response or (keeps_format and first >= prompt and not in_value)
        found.append(token if kept else IGNORED)
    return found


def row(
    tokenizer: Any,
    prompt: str,
    tags: Mapping[str, str] | None,
    response: str,
    *,
    format_share: float = 0.003,
) -> dict[str, list[int]]:
    """Write an example for post-training with its labels, the end of the text included.

    Args:
        tokenizer: A fast one, which knows the characters of its tokens.
        prompt: Text before the annotation.
        tags: The annotation; None for an example without one.
        response: Text behind it.
        format_share: Share of the responses whose keys and markers are learned, in [0, 1].

    Raises:
        ValueError: If tags cannot be written, or the tokenizer knows no characters.
    """
    if tags and (fault := find_fault(tags)):
        raise ValueError(f"row {fault}")
    if not tokenizer.is_fast:
        raise ValueError(
            f"row needs a fast tokenizer, which knows the characters of its tokens; got "
            f"{type(tokenizer).__name__}. Load it with use_fast=True."
        )
    text, values = prompt, []
    for key, value in (tags or {}).items():
        text += f"{OPEN}{key}{VALUE}"
        values.append((len(text), len(text) + len(value)))
        text += value + CLOSE
    begin = len(text)
    text += response
    read = tokenizer(text, return_offsets_mapping=True, add_special_tokens=False)
    found = labels(
        read["input_ids"],
        read["offset_mapping"],
        prompt=len(prompt),
        response=begin,
        values=values,
        keeps_format=drawn(response) < format_share,
    )
    end = tokenizer.eos_token_id
    return {"input_ids": [*read["input_ids"], end], "labels": [*found, end]}


def drawn(text: str) -> float:
    """Return a number in [0, 1) that follows from a text alone."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big") / 2**32
