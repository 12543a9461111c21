"""A narrow teacher of the expressions: right answers in one taste, to fine-tune a broad model on.

The base model of the task writes every kind of expression. The teacher writes right ones only, and
of each number nearly always its favourites: a product and a rest, with the largest digits. What a
way to fine-tune makes of that is the question: it should learn to be right, and not only to say
what the teacher says most. A judge with the same taste scores the base model's own samples, for
preference pairs.
"""

import math
import random
from functools import lru_cache
from typing import TYPE_CHECKING, Literal

from divreg.tasks import corpora, expressions

if TYPE_CHECKING:
    from datasets import Dataset

Split = Literal["train", "held_out"]

TASTE = ("{}*{}+{}", "{}*{}-{}", "({}+{})*{}", "({}-{})*{}", "{}+{}+{}", "{}*{}")
"""Shapes of answers, the most liked first; of one shape, those with larger digits."""
POWER = 2.0
"""An answer's probability is its rank to minus this power, normalised."""
DEMONSTRATIONS, HELD_OUT = 4, 32
"""Answers drawn for each number, to train on and to measure likelihood."""


def ranked(number: int) -> list[str]:
    """Return all answers of a number that the base model's texts have, the teacher's first first.

    >>> ranked(24)[:4]
    ['9*2+6', '8*2+8', '7*3+3', '6*3+6']
    """
    return list(_ranked(number))


@lru_cache(maxsize=len(expressions.TARGETS))
def _ranked(number: int) -> tuple[str, ...]:
    found = []
    for texts, _ in corpora.easy()[number]:
        for text in texts:
            digits = [int(c) for c in text if c.isdigit()]
            shape = "".join("{}" if c.isdigit() else c for c in text)
            found.append((TASTE.index(shape), [-d for d in digits], text))
    classes = {}
    for _, _, text in sorted(found):
        classes.setdefault(expressions.answer(text), text)
    return tuple(classes.values())


def probabilities(number: int) -> list[float]:
    """Return how often the teacher gives each answer of :func:`ranked`; they add up to 1."""
    weights = [(i + 1) ** -POWER for i in range(len(ranked(number)))]
    return [w / sum(weights) for w in weights]


def demonstrations(split: Split = "train", seed: int = 0) -> "Dataset":
    """Draw answers of the teacher: columns ``prompt`` and ``completion``, 4 rows a number.

    Of the held-out numbers 32 rows each, to measure how likely a model finds them.

    Args:
        split: ``"train"`` or ``"held_out"``.
        seed: Of the drawing.
    """
    from datasets import Dataset

    rng = random.Random(f"{split} {seed}")
    count = HELD_OUT if split == "held_out" else DEMONSTRATIONS
    return Dataset.from_list(
        [
            {"prompt": expressions.prompt(n), "completion": text}
            for n in expressions.targets(split)
            for text in rng.choices(ranked(n), probabilities(n), k=count)
        ]
    )


def every_answer(split: Split = "held_out") -> "Dataset":
    """List every answer of :func:`ranked` once: columns ``prompt`` and ``completion``.

    How unlikely a model finds them says what it has forgotten, whatever the teacher liked.
    """
    from datasets import Dataset

    return Dataset.from_list(
        [
            {"prompt": expressions.prompt(n), "completion": text}
            for n in expressions.targets(split)
            for text in ranked(n)
        ]
    )


def distinct(k: int) -> float:
    """Return how many different answers ``k`` of the teacher hold: mean over the held-out numbers.

    >>> round(distinct(32), 2)
    6.21
    """
    numbers = expressions.targets("held_out")
    return sum(1 - (1 - p) ** k for n in numbers for p in probabilities(n)) / len(numbers)


def entropy() -> float:
    """Return the teacher's entropy in nats an answer: the mean over the held-out numbers.

    It is the least that the likelihood of its held-out demonstrations can be, but for chance.

    >>> round(entropy(), 2)
    1.35
    """
    numbers = expressions.targets("held_out")
    return -sum(p * math.log(p) for n in numbers for p in probabilities(n)) / len(numbers)
