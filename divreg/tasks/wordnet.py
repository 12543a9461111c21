"""What WordNet 3.0 has below the categories of the task kinds: ``kinds.txt``, read once.

The file is package data, made by ``recipes/kinds/build_table.py``; WordNet's licence stands at its
head and in ``kinds_license.txt``.
"""

import difflib
import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from typing import NamedTuple

_FUNCTION = """
    a an the one two three some any many most each every all both few more another other such own
    same i you he she it we they me him her us them my your his its our their mine yours this that
    these those who whom whose which what and or but nor so yet if as than because while when where
    how why at by for from in into of off on onto out over to under up upon with without within
    about after before between through during against among like along across near via per is are
    was were be been being am isnt arent do does did doesnt dont has have had having can cannot
    could may might must shall should will would not no yes there here then also too very just only
    often usually commonly typically always never ever even still both either neither
"""
FUNCTION_WORDS = frozenset(_FUNCTION.split())
"""Words that join others and name nothing, without apostrophes."""
_SHORT = frozenset(word for word in FUNCTION_WORDS if len(word) <= 2) | {"the"}
_WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)*")


@dataclass(frozen=True)
class Category:
    """What can be asked for.

    Attributes:
        name: As a prompt says it.
        split: ``"train"`` or ``"held_out"``.
        synset: Its name in WordNet, such as ``gem.n.02``.
        own: Keys of its own names.
        synsets: What is below it in WordNet: of every synset's name, its words.
        index: Of every word's key, the synset that is meant: of several below the category, the
            one that WordNet counts as the word's most frequent sense.
        longest: Most words that a name can have.
    """

    name: str
    split: str
    synset: str
    own: frozenset[str]
    synsets: Mapping[str, tuple[str, ...]]
    index: Mapping[str, str]
    longest: int


class Word(NamedTuple):
    """A word of a plain text without its apostrophes, and where it stands."""

    text: str
    start: int
    end: int


def category(name: str) -> Category:
    """Return a category.

    Raises:
        ValueError: If there is none of this name.
    """
    known = categories()
    if name in known:
        return known[name]
    near = difflib.get_close_matches(str(name), known, n=1)
    cure = f"Did you mean {near[0]!r}?" if near else "kinds.categories() lists them."
    raise ValueError(f"kinds has no category {name!r}; it has {len(known)}. {cure}")


def categories() -> Mapping[str, Category]:
    """Return all categories by name, those to train on first."""
    return _table()[0]


def plain(text: str) -> str:
    """Return a text in lower case, without accents.

    >>> plain("Crème Brûlée")
    'creme brulee'
    """
    parts = unicodedata.normalize("NFKD", text)
    return "".join(c for c in parts if not unicodedata.combining(c)).lower()


def words(text: str) -> list[Word]:
    """Return the words of a plain text.

    >>> [word.text for word in words("wilson's black-bellied thrush.")]
    ['wilsons', 'black', 'bellied', 'thrush']
    """
    return [Word(re.sub("['’]", "", m[0]), m.start(), m.end()) for m in _WORD.finditer(text)]


def key(parts: Iterable[str]) -> str:
    """Join words so that spaces and hyphens make no difference, but for those of short ones.

    >>> key(["black", "berry"]) == key(["blackberry"]), key(["a", "corn"]) == key(["acorn"])
    (True, False)
    """
    return "".join(f" {part} " if part in _SHORT else part for part in parts)


def key_of(name: str) -> str:
    """Return the key of a name as WordNet writes it."""
    return key(word.text for word in words(plain(name)))


def forms(parts: list[str]) -> Iterator[list[str]]:
    """Yield words as they are, then with the last one in the singular, then with the first one.

    >>> ["bird", "of", "prey"] in forms(["birds", "of", "prey"])
    True
    """
    yield parts
    for at in dict.fromkeys((len(parts) - 1, 0)):
        for single in _singular(parts[at]):
            yield [*parts[:at], single, *parts[at + 1 :]]


def _singular(word: str) -> Iterator[str]:
    """Yield what a word may be the plural of."""
    yield from _table()[1].get(word, ())
    if word.endswith("s") and len(word) > 2:
        yield word[:-1]
        if word.endswith("ies"):
            yield word[:-3] + "y"
        if word.endswith("es"):
            yield word[:-2]


@lru_cache(maxsize=1)
def _table() -> tuple[dict[str, Category], dict[str, tuple[str, ...]]]:
    """Read the categories by name, and of every irregular plural what it is the plural of."""
    heads: list[list[str]] = []
    singular: dict[str, tuple[str, ...]] = {}
    below: dict[str, list[list[str]]] = {}
    section = ""
    for line in (resources.files("divreg.tasks") / "kinds.txt").read_text("ascii").splitlines():
        fields = line.split("|")
        if line.startswith("= "):
            section = line[2:]
        elif section == "categories":
            heads.append(fields)
            below[fields[1]] = []
        elif section == "plurals":
            noun, *plurals = map(key_of, fields)
            singular |= {plural: (*singular.get(plural, ()), noun) for plural in plurals}
        elif section:
            for name in section.split(", "):
                below[name].append(fields)
    found = {name: _category(split, name, own, below[name]) for split, name, *own in heads}
    return found, singular


def _category(split: str, name: str, own: list[str], lines: list[list[str]]) -> Category:
    mine = frozenset(map(key_of, [name, *(_sense(field)[0] for field in own)]))
    means: dict[str, tuple[int, str]] = {}
    synsets: dict[str, tuple[str, ...]] = {}
    longest = 1
    for fields in lines:
        senses = [_sense(field) for field in fields]
        synset = _name(*senses[0])
        synsets[synset] = tuple(word for word, _ in senses)
        for word, sense in senses:
            longest = max(longest, len(words(word)))
            known = means.setdefault(key_of(word), (sense, synset))
            if sense < known[0]:
                means[key_of(word)] = sense, synset
    index = {k: synset for k, (_, synset) in means.items() if k not in mine}
    # One more: who writes "butter fly" has more words than the name.
    return Category(name, split, _name(*_sense(own[0])), mine, synsets, index, longest + 1)


def _sense(field: str) -> tuple[str, int]:
    """Read a word and the number of its sense: ``gem#2``."""
    word, _, sense = field.partition("#")
    return word, int(sense or 1)


def _name(word: str, sense: int) -> str:
    """Name a synset by its first word, as NLTK does."""
    return f"{word.replace(' ', '_').lower()}.n.{sense:02}"
