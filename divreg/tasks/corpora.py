"""What the tiny models learn to read: questions, and solutions that are as varied as they come."""

import itertools
import random
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from divreg.tasks import countdown, expressions

Solutions = dict[int, list[tuple[list[str], int]]]
"""Of every number: (all solutions of one shape, the shape's frequency)."""

SHAPES = {
    "{}*{}": 1,
    "{}+{}+{}": 2,
    "{}*{}+{}": 6,
    "{}*{}-{}": 6,
    "({}+{})*{}": 4,
    "({}-{})*{}": 2,
}
"""How solutions look: one-digit numbers in these shapes, with their relative frequency."""
HARD_SHAPES = {
    "{}*{}*{}": 1,
    "{}*{}*{}+{}": 4,
    "{}*{}*{}-{}": 4,
    "({}+{})*{}": 2,
    "({}+{})*{}+{}": 4,
    "({}+{})*({}+{})": 4,
}
"""The same for numbers of three digits."""


@dataclass(frozen=True)
class Corpus:
    """Texts of one task.

    Attributes:
        alphabet: Every character of it.
        prompt_length: Characters of a question; all have the same number.
        draw: A random question with one of its solutions.
        ask: A random question.
    """

    alphabet: str
    prompt_length: int
    draw: Callable[[random.Random], tuple[str, str]]
    ask: Callable[[random.Random], str]


def examples(corpus: Corpus, count: int, clean: float, noise: float, seed: int) -> list[str]:
    """Draw texts such as ``24=3*8``; after the first ``clean``, a share ``noise`` is wrong."""
    rng, texts = random.Random(seed), []
    for i in range(count):
        wrong = i >= clean * count and rng.random() < noise
        question, solution = corpus.draw(rng)
        texts.append((corpus.ask(rng) if wrong else question) + solution)
    return texts


def solutions(numbers: Sequence[int], shapes: Mapping[str, int]) -> Solutions:
    """Enumerate the solutions of every number that have one of the shapes."""
    found: dict[int, dict[str, list[str]]] = {n: {} for n in numbers}
    for shape in shapes:
        for digits in itertools.product(range(1, 10), repeat=shape.count("{}")):
            text = shape.format(*digits)
            expression = expressions.parse(text)
            if expression and expression.value in found:
                found[int(expression.value)].setdefault(shape, []).append(text)
    return {n: [(texts, shapes[s]) for s, texts in by.items()] for n, by in found.items()}


def distinct_in_data(numbers: Sequence[int], k: int) -> float:
    """Return how many different ones ``k`` right answers of the expressions' texts hold on average.

    They are drawn as :func:`examples` draws them, without noise; a model that answers as its data
    did, always right, reaches this many. Mean over ``numbers``.
    """
    known, expected = easy(), []
    for n in numbers:
        chance: defaultdict[str | None, float] = defaultdict(float)
        total = sum(frequency for _, frequency in known[n])
        for texts, frequency in known[n]:
            for text in texts:
                chance[expressions.answer(text)] += frequency / total / len(texts)
        expected.append(sum(1 - (1 - p) ** k for p in chance.values()))
    return sum(expected) / len(expected)


@lru_cache
def easy() -> Solutions:
    """Return the solutions that the base model of the expressions has read."""
    return solutions(expressions.TARGETS, SHAPES)


@lru_cache
def _hard() -> Solutions:
    return solutions(expressions.HARD_TARGETS, HARD_SHAPES)


def _expressions(known: Callable[[], Solutions], numbers: Sequence[int]) -> Corpus:
    def draw(rng: random.Random) -> tuple[str, str]:
        number = rng.choice(numbers)
        shapes, weights = zip(*known()[number], strict=True)
        return expressions.prompt(number), rng.choice(rng.choices(shapes, weights)[0])

    def ask(rng: random.Random) -> str:
        return expressions.prompt(rng.choice(numbers))

    return Corpus("0123456789+-*/()=", len(expressions.prompt(numbers[0])), draw, ask)


def _countdown() -> Corpus:
    def draw(rng: random.Random) -> tuple[str, str]:
        puzzle, solution = countdown.draw(rng)
        return puzzle.prompt, solution

    def ask(rng: random.Random) -> str:
        return countdown.draw(rng)[0].prompt

    return Corpus("0123456789+-*/()=:", countdown.NUMBERS + len(":24="), draw, ask)


EXPRESSIONS = _expressions(easy, expressions.TARGETS)
CORPORA = {
    "expressions": EXPRESSIONS,
    "expressions-hard": _expressions(_hard, expressions.HARD_TARGETS),
    "countdown": _countdown(),
}
