"""Make the table of the task kinds, divreg/tasks/kinds.txt, and WordNet's notice beside it.

python recipes/kinds/build_table.py [--wordnet /usr/share/wordnet]

It is made from the noun files of WordNet 3.0. Debian and Ubuntu have them in the package
wordnet-base; without root, ``apt-get download wordnet-base && dpkg -x wordnet-base_*.deb here``
leaves them in here/usr/share/wordnet. The same files give the same table, byte for byte.
"""

import argparse
import sys
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

TASKS = Path(__file__).parents[2] / "divreg" / "tasks"

# What is asked for, as a prompt names it: a noun of WordNet, whose first sense is meant, or what
# follows the colon: another noun, and another sense. Categories with hardly anything below them in
# the sense meant are left out, and so are the two of the examples in the prompts: tool and dance.
TRAIN = """
    bird fish tree fruit vehicle garment color disease beverage building emotion language herb game
    fabric jewelry scientist crime gem:gem#2 bread boat hat candy berry

    flower cheese sauce meat nut soup cake:cake#3 shoe aircraft wine rock:rock#2 spice:spice#2 room
    relative athlete science river holiday:holiday#2 punctuation_mark dessert pasta:pasta#2
"""
HELD_OUT = """
    vegetable insect musical_instrument weapon religion mammal furniture reptile container planet
    drug metal sport currency city

    dog snake dinosaur monkey chemical_element gas:gas#2 fuel vitamin toy home_appliance
    kitchen_utensil country:country#2 island mountain poem book unit_of_time shop doctor injury
    month phobia hairstyle bone
"""


@dataclass
class Synset:
    """Nouns of one meaning: ``lemmas`` as WordNet writes them, and the keys of what is below it."""

    lemmas: list[str]
    below: list[str]


class WordNet:
    """The noun files in a folder.

    Attributes:
        synsets: By their offset in data.noun.
        senses: Of a noun in lower case, its synsets, the most frequent meaning first.
        plurals: Irregular ones of a noun.
        notice: The licence, which the data file begins with.
    """

    def __init__(self, folder: Path):
        lines = (folder / "data.noun").read_text("ascii").splitlines()
        # Lines of the notice begin with their number: "  1 This software ...".
        self.notice = [line.split(" ", 3)[3].rstrip() for line in lines if line[:2] == "  "]
        self.synsets = dict(map(_synset, (line for line in lines if not line.startswith("  "))))
        self.senses: dict[str, list[str]] = {}
        for line in (folder / "index.noun").read_text("ascii").splitlines():
            if not line.startswith("  "):
                noun, *rest = line.split()
                self.senses[noun] = rest[-int(rest[1]) :]
        self.plurals: defaultdict[str, list[str]] = defaultdict(list)
        for line in (folder / "noun.exc").read_text("ascii").splitlines():
            plural, *nouns = line.split()
            for noun in nouns:
                self.plurals[noun].append(plural)

    def under(self, key: str) -> set[str]:
        """Return the keys of all synsets below one, at any depth."""
        found: set[str] = set()
        waiting = [key]
        while waiting:
            new = [k for k in self.synsets[waiting.pop()].below if k not in found]
            found.update(new)
            waiting += new
        return found

    def numbered(self, lemma: str, key: str) -> str:
        """Write a lemma with the number of its sense where that is not the first: ``gem#2``."""
        sense = self.senses[lemma.lower()].index(key) + 1
        return lemma.replace("_", " ") + (f"#{sense}" if sense > 1 else "")

    def line(self, key: str) -> str:
        """Write a synset: its lemmas, the first of which names it."""
        return "|".join(self.numbered(lemma, key) for lemma in self.synsets[key].lemmas)


def _synset(line: str) -> tuple[str, Synset]:
    fields = line.partition("|")[0].split()
    words = int(fields[3], 16)
    lemmas = fields[4 : 4 + 2 * words : 2]
    pointers = fields[5 + 2 * words :]
    kinds, targets = pointers[::4], pointers[1::4]  # of each: kind, synset, part of speech, words
    below = [to for kind, to in zip(kinds, targets, strict=False) if kind in ("~", "~i")]
    return fields[0], Synset(lemmas, below)


def table(wordnet: WordNet) -> Iterator[str]:
    """Yield the lines of the table."""
    yield "# Kinds of things, and the words for each: made by recipes/kinds/build_table.py from"
    yield "# WordNet 3.0, whose licence follows. A line is a meaning with its words; #2 is a word's"
    yield "# second most frequent one. What meanings are kinds of stands above them."
    yield "#"
    yield from (f"# {line}".rstrip() for line in wordnet.notice)
    members: defaultdict[str, list[str]] = defaultdict(list)
    yield "= categories"
    for split, words in (("train", TRAIN), ("held_out", HELD_OUT)):
        for word in words.split():
            name, _, meant = word.partition(":")
            noun, _, sense = (meant or name).partition("#")
            key = wordnet.senses[noun][int(sense or 1) - 1]
            name = name.replace("_", " ")
            yield f"{split}|{name}|{wordnet.line(key)}"
            for member in wordnet.under(key):
                members[member].append(name)
    nouns = {lemma.lower() for key in members for lemma in wordnet.synsets[key].lemmas}
    last = {word for noun in nouns for word in (noun, noun.replace("-", "_").split("_")[-1])}
    yield "= plurals"
    for noun in sorted(last & set(wordnet.plurals)):
        yield "|".join([noun, *wordnet.plurals[noun]]).replace("_", " ")
    groups: defaultdict[tuple[str, ...], list[str]] = defaultdict(list)
    for member in sorted(members):
        groups[tuple(members[member])].append(member)
    for names, keys in groups.items():
        yield f"= {', '.join(names)}"
        yield from map(wordnet.line, keys)


def main() -> None:
    """Read the command line and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--wordnet", type=Path, default=Path("/usr/share/wordnet"))
    parser.add_argument("--output-dir", type=Path, default=TASKS)
    options = parser.parse_args()
    if not (options.wordnet / "data.noun").is_file():
        sys.exit(
            f"build_table needs data.noun of WordNet 3.0; there is none in {options.wordnet}. "
            f"Install wordnet-base, or name the folder: --wordnet FOLDER."
        )
    wordnet = WordNet(options.wordnet)
    files = {"kinds.txt": table(wordnet), "kinds_license.txt": wordnet.notice}
    for name, lines in files.items():
        path = options.output_dir / name
        path.write_text("\n".join(lines) + "\n", "ascii")
        print(f"{path}: {path.stat().st_size / 1e3:.0f} kB.")


if __name__ == "__main__":
    main()
