"""Annotations as text: tags between three markers, written in front of what they are about.

A tag is a key and a value, ``topic`` and ``animals``. In a text it is
``<|tag|>topic<|value|>animals<|/tag|>``; several stand one after another. In files and on the
command line it is ``topic:animals``.
"""

import re
from collections.abc import Collection, Mapping

OPEN, VALUE, CLOSE = MARKERS = ("<|tag|>", "<|value|>", "<|/tag|>")
"""Before a key, between key and value, after a value; each one token of the tokenizer."""

_KEY = re.compile(r"[A-Za-z][\w.-]*")
_ANNOTATION = re.compile(
    rf"\s*{re.escape(OPEN)}(?P<key>[^<:]*?){re.escape(VALUE)}(?P<value>.*?){re.escape(CLOSE)}",
    re.DOTALL,
)
_UNFINISHED = re.compile(rf"\s*{re.escape(OPEN)}.*", re.DOTALL)


def render(tags: Mapping[str, str]) -> str:
    """Write tags as they stand in a text.

    Raises:
        ValueError: If a key or a value could not be read back.

    >>> render({"topic": "animals"})
    '<|tag|>topic<|value|>animals<|/tag|>'
    """
    if fault := find_fault(tags):
        raise ValueError(f"render {fault}")
    return "".join(f"{OPEN}{key}{VALUE}{value}{CLOSE}" for key, value in tags.items())


def strip(text: str) -> tuple[dict[str, str], str]:
    """Take the annotation off the beginning of a text.

    An annotation that has no end is taken off to the end of the text: there is nothing after it.
    What the text says later stays, markers included. Of a key that comes twice, the last value is
    kept.

    Returns:
        The tags, and the text without them.

    >>> strip("<|tag|>topic<|value|>animals<|/tag|> A cat.")
    ({'topic': 'animals'}, 'A cat.')
    >>> strip("<|tag|>topic<|value|>anim")
    ({}, '')
    """
    tags: dict[str, str] = {}
    at = 0
    while found := _ANNOTATION.match(text, at):
        tags[found["key"].strip()] = found["value"].strip()
        at = found.end()
    if _UNFINISHED.match(text, at):
        return tags, ""
    return tags, text[at:].lstrip() if at else text


Vocabulary = Mapping[str, Collection[str]]
"""Of every key that is known its values; none at all stands for any."""


def find_fault(tags: object, known: Vocabulary | None = None) -> str | None:
    """Say why tags cannot be written, as the end of a sentence; None if they can.

    Args:
        tags: A mapping of keys to values, or anything else an annotator came back with.
        known: Keys and values that there are; None for any.

    >>> find_fault({"topic": "cats"}, {"mood": []})
    "needs one of the keys mood; got 'topic'. Add it to the known ones, or leave it out."
    >>> find_fault({"topic": "cats"}, {"topic": ["animals"]})
    "needs one of the values animals for 'topic'; got 'cats'. Add it to the known ones."
    """
    if not isinstance(tags, Mapping) or not tags:
        return f"needs tags, a key and a value each; got {tags!r}. Write {{'topic': 'animals'}}."
    for key, value in tags.items():
        if fault := _fault_of_key(key, known) or _fault_of_value(
            key, value, (known or {}).get(key)
        ):
            return fault
    return None


def find_fault_in(text: str, known: Vocabulary | None = None) -> str | None:
    """Say what is wrong with the annotation that a text begins with; None if nothing is.

    >>> find_fault_in("<|tag|>topic<|value|>animals A cat.")
    "needs <|/tag|> after every tag; got an annotation without an end: '<|tag|>topic<|val...'."
    """
    at, tags = 0, {}
    while found := _ANNOTATION.match(text, at):
        at = found.end()
        tags[found["key"]] = found["value"]
    left = text[at:].lstrip()
    if left.startswith(MARKERS):
        begin = left if len(left) <= 20 else f"{left[:20]}..."
        return f"needs {CLOSE} after every tag; got an annotation without an end: {begin!r}."
    return find_fault(tags, known)


def _fault_of_key(key: object, known: Vocabulary | None) -> str | None:
    if not isinstance(key, str) or not _KEY.fullmatch(key):
        return (
            f"needs keys of letters, digits, '_', '-' and '.'; got {key!r}. Write 'topic', for "
            f"example."
        )
    if known is not None and key not in known:
        return (
            f"needs one of the keys {', '.join(known)}; got {key!r}. Add it to the known ones, or "
            f"leave it out."
        )
    return None


def _fault_of_value(key: object, value: object, known: Collection[str] | None) -> str | None:
    if not isinstance(value, str) or not value.strip():
        return f"needs a value for {key!r}; got {value!r}. Leave the tag out."
    if value != value.strip() or len(value.splitlines()) != 1:
        return (
            f"needs values of one line, without blanks around them; got {value!r} for {key!r}. "
            f"Strip it."
        )
    if marker := next((m for m in MARKERS if m in value), None):
        return f"needs values without markers; got {marker} in {value!r}. Take it out."
    if known and value not in known:
        some = list(known)[:8]
        more = ", ..." if len(known) > len(some) else ""
        return (
            f"needs one of the values {', '.join(some)}{more} for {key!r}; got {value!r}. Add it "
            f"to the known ones."
        )
    return None


def read(text: str) -> dict[str, str]:
    """Read tags written ``topic:animals``, one a line or separated by commas.

    Raises:
        ValueError: If a part has no colon.

    >>> read("topic:animals, mood: calm")
    {'topic': 'animals', 'mood': 'calm'}
    """
    tags: dict[str, str] = {}
    for part in re.split(r"[,\n]", text):
        if not part.strip():
            continue
        key, colon, value = part.partition(":")
        if not colon:
            raise ValueError(
                f"tags need '<key>:<value>'; got {part.strip()!r}. Write topic:animals."
            )
        tags[key.strip(" -*<>\t")] = value.strip(" <>\t")
    return tags
