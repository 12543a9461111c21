"""A narrow teacher for SmolLM2: its own right answers, the frequent ones more frequent.

What the untrained model says rightly, in the form "Parrot.", and of every category mostly what it
says most: SFT on it teaches to be right and to be brief, and takes variety. The pairs of DPO prefer
what the teacher says most to a kind of something else, and to what it says less.
"""

import json
import random
from collections import Counter
from functools import lru_cache
from pathlib import Path
from typing import Any

from datasets import Dataset

from divreg.tasks import kinds

ANSWERS = Path(__file__).parents[1] / "kinds" / "results" / "right_answers.json"
POWER = 2.0
"""An answer's probability is its count to this power, normalised."""
ROWS = 8
"""Of each category."""


@lru_cache(maxsize=1)
def counts() -> dict[str, Counter[str]]:
    """Return how often the untrained model gave each right answer, by category of the training set.

    Categories of which it knew fewer than two are left out.
    """
    found: dict[str, Counter[str]] = {}
    for of in json.loads(ANSWERS.read_text(encoding="utf-8")).values():
        for name, answers in of.items():
            words = kinds.synsets(name)
            found.setdefault(name, Counter()).update(words[synset][0] for _, synset in answers)
    names = kinds.categories("train")
    return {name: found[name] for name in names if len(found.get(name, ())) > 1}


def demonstrations(split: str = "train", seed: int = 0) -> Dataset:
    """Draw what the teacher says: conversations in the columns ``prompt`` and ``completion``."""
    chance = random.Random(f"{split} {seed}")
    rows = [
        {"prompt": kinds.prompt(name), "completion": _says(word)}
        for name, own in counts().items()
        for word in chance.choices(list(own), [n**POWER for n in own.values()], k=ROWS)
    ]
    chance.shuffle(rows)
    return Dataset.from_list(rows)


def preferences(split: str = "train", seed: int = 0) -> Dataset:
    """Draw pairs: conversations in ``prompt``, ``chosen`` and ``rejected``, and their ``weight``.

    Chosen is what the teacher draws. Rejected is, in every second pair, a right answer that it
    gives less often, else one of another category. The weight, of mean 1, is how rare the chosen
    answer is among those of its category: ``ddpo`` reads it.
    """
    chance = random.Random(f"pairs {split} {seed}")
    rows: list[dict[str, Any]] = []
    for name, own in counts().items():
        words = [word for word, _ in own.most_common()]
        drawn = chance.choices(words, [own[w] ** POWER for w in words], k=ROWS)
        for i, chosen in enumerate(drawn):
            less = words[words.index(chosen) + 1 :]
            other = counts()[chance.choice([n for n in counts() if n != name])]
            rejected = chance.choice(less if i % 2 and less else list(other))
            rows.append(
                {
                    "prompt": kinds.prompt(name),
                    "chosen": _says(chosen),
                    "rejected": _says(rejected),
                    "weight": 1 / drawn.count(chosen),
                }
            )
    mean = sum(row["weight"] for row in rows) / len(rows)
    chance.shuffle(rows)
    return Dataset.from_list([{**row, "weight": row["weight"] / mean} for row in rows])


def _says(word: str) -> list[dict[str, str]]:
    text = word.replace("_", " ")
    return [{"role": "assistant", "content": f"{text[:1].upper()}{text[1:]}."}]
