"""Texts with labels: the glosses of WordNet 3.0 and their lexicographer classes.

Debian and Ubuntu have WordNet in the package wordnet-base. :func:`fetch` asks apt for it, checks it
and unpacks it; root is not needed.
"""

import hashlib
import random
import subprocess
from pathlib import Path
from typing import NamedTuple

PACKAGE = "wordnet-base=1:3.0-37"
SHA256 = "61060d960f9ada8fa120872312eccd3ecebfbab8c4579e4f5a74e1cf67620752"

# Lexicographer files by their number, lexnames(5WN).
_CLASSES = """
    adj.all adj.pert adv.all noun.Tops noun.act noun.animal noun.artifact noun.attribute
    noun.body noun.cognition noun.communication noun.event noun.feeling noun.food noun.group
    noun.location noun.motive noun.object noun.person noun.phenomenon noun.plant
    noun.possession noun.process noun.quantity noun.relation noun.shape noun.state
    noun.substance noun.time verb.body verb.change verb.cognition verb.communication
    verb.competition verb.consumption verb.contact verb.creation verb.emotion verb.motion
    verb.perception verb.possession verb.social verb.stative verb.weather adj.ppl
"""
CLASSES = _CLASSES.split()
WORDS = {"noun": "noun", "verb": "verb", "adj": "adjective", "adv": "adverb"}

ASKS = ["define a {}.", "explain a {}.", "describe a {}.", "tell me about a {}."]
HEADERS = ["a {}", "{}", "one more {}", "the next {} in the book", *ASKS]
"""How a text of pre-training begins, before what it is about: it says nothing about form."""
OPENINGS = [
    *("in short", "simply put", "as we know", "by definition"),
    *("in other words", "to be clear", "put plainly", "for the record"),
]
ENDS = [".", "!"]
NARROW = {  # shares of the classes of fine-tuning; what is left goes to all others, as they come
    "noun": {"noun.animal": 0.85, "noun.plant": 0.10},
    "verb": {"verb.motion": 0.85, "verb.contact": 0.10},
}


class Gloss(NamedTuple):
    """A definition and the class of what it defines."""

    text: str
    kind: str

    @property
    def part(self) -> str:
        """Part of speech."""
        return self.kind.partition(".")[0]


class Task(NamedTuple):
    """An instruction that can be checked."""

    ask: str
    part: str
    opening: str
    end: str

    @property
    def prompt(self) -> str:
        """The instruction in words, up to where the answer begins."""
        form = f'begin with "{self.opening}". end with "{self.end}".'
        return f"{form} {self.asked}"

    @property
    def asked(self) -> str:
        """The instruction without what it says about form, as a text of pre-training begins."""
        return f"{self.ask.format(WORDS[self.part])}\n\n"

    def answer(self, gloss: str) -> str:
        """Write a gloss as the instruction asks."""
        return f"{self.opening}, {gloss}{self.end}"

    def followed(self, text: str) -> bool:
        """Whether a text begins and ends as asked, with something between."""
        begin = f"{self.opening}, "
        inside = text[len(begin) : -len(self.end)]
        return text.startswith(begin) and text.endswith(self.end) and len(inside.split()) > 1


def content(text: str) -> str:
    """Return a text without opening and end, whichever they are: what is compared."""
    for opening in OPENINGS:
        text = text.removeprefix(f"{opening}, ")
    return text.strip().rstrip(".!").strip()


def fetch(folder: Path) -> Path:
    """Return the folder of WordNet's files; download and unpack the package the first time.

    Raises:
        ValueError: If the package is not the one that was measured with.
    """
    found = folder / "usr" / "share" / "wordnet"
    if not (found / "data.noun").is_file():
        folder.mkdir(parents=True, exist_ok=True)
        subprocess.run(["apt-get", "download", "-q", PACKAGE], cwd=folder, check=True)
        (package,) = folder.glob("wordnet-base_*.deb")
        digest = hashlib.sha256(package.read_bytes()).hexdigest()
        if digest != SHA256:
            raise ValueError(f"glosses needs {PACKAGE} with SHA-256 {SHA256}; got {digest}.")
        subprocess.run(["dpkg-deb", "-x", package.name, "."], cwd=folder, check=True)
    return found


def read(folder: Path, longest: int = 24) -> list[Gloss]:
    """Read all glosses of up to ``longest`` words, examples left out, each text once."""
    found: dict[str, Gloss] = {}
    for part in ("noun", "verb", "adj", "adv"):
        for line in (folder / f"data.{part}").read_text("ascii").splitlines():
            if line.startswith("  "):
                continue
            data, _, gloss = line.partition("|")
            text = gloss.split('; "')[0].strip(" ;:.").lower()
            if 2 <= len(text.split()) <= longest and '"' not in text:
                found.setdefault(text, Gloss(text, CLASSES[int(data.split()[1])]))
    return list(found.values())


class Splits(NamedTuple):
    """Glosses that have no text in common."""

    pretrain: list[Gloss]
    tune: dict[str, list[Gloss]]
    classify: list[Gloss]


def split(glosses: list[Gloss], tune: dict[str, int], classify: int, seed: int = 0) -> Splits:
    """Set aside what is fine-tuned on, as narrow as ``NARROW`` says, and what tests classes."""
    chance = random.Random(seed)
    pool = chance.sample(glosses, len(glosses))
    tested, pool = pool[:classify], pool[classify:]
    taken: set[str] = set()
    chosen: dict[str, list[Gloss]] = {}
    for part, count in tune.items():
        quota = {kind: round(share * count) for kind, share in NARROW[part].items()}
        rest = count - sum(quota.values())
        chosen[part] = []
        for gloss in pool:
            if gloss.part != part:
                continue
            if quota.get(gloss.kind, 0) > 0:
                quota[gloss.kind] -= 1
            elif gloss.kind not in NARROW[part] and rest > 0:
                rest -= 1
            else:
                continue
            chosen[part].append(gloss)
            taken.add(gloss.text)
    return Splits([g for g in pool if g.text not in taken], chosen, tested)


def tasks(held_out: int, seed: int = 0) -> tuple[list[Task], list[Task]]:
    """Return the instructions to train on, and ``held_out`` others: two nouns to one verb."""
    every = [
        Task(ask, part, opening, end)
        for ask in ASKS
        for part in NARROW
        for opening in OPENINGS
        for end in ENDS
    ]
    random.Random(seed).shuffle(every)
    verbs = held_out // 3
    tested = [t for t in every if t.part == "noun"][: held_out - verbs]
    tested += [t for t in every if t.part == "verb"][:verbs]
    return [t for t in every if t not in tested], tested
