"""Countdown: write an expression worth a number that uses each of four given numbers once.

Prompt ``2366:24=``; ``(2+6/3)*6`` is right, ``6*6-6-6`` uses neither 2 nor 3. Right answers fall
into classes by canonical form, as those of :mod:`divreg.tasks.expressions`, whose evaluator this
is. Whoever has learned to write such expressions still has to search: a base model solves a
minority of its attempts, so that exploration matters and not only preservation.
"""

import random
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from itertools import permutations
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from divreg.tasks import expressions

if TYPE_CHECKING:
    from datasets import Dataset

NUMBERS = 4
"""Numbers given; each has one digit."""
TARGETS = range(10, 50)
"""What a puzzle can ask for."""
TRAIN = 256
"""Puzzles to train on."""
_HELD_OUT = """
    4588:44 3449:28 2689:19 1126:10 2459:11 2355:20 2369:30 3345:15 4678:12 1469:18
    3679:24 6789:15 3336:24 4899:36 1239:24 2369:21 2337:15 1289:17 2355:25 1347:14
    2355:12 1234:21 1248:20 2468:40 2459:31 2459:27 1239:15 2468:22 3467:49 1248:16
    2247:16 2229:10 3499:48 1239:12 2256:20 2378:14 5569:44 2459:20 1356:14 2247:18
    1356:12 1234:10 4466:20 4556:15 3467:20 2238:15 3368:42 4669:27
"""
# What `draw` gives first from seed 0 that has at least four solutions: found once, as it takes half
# a minute, and checked by a test.


@dataclass(frozen=True)
class Puzzle:
    """Numbers in ascending order, and what to make of them."""

    numbers: tuple[int, ...]
    target: int

    @property
    def prompt(self) -> str:
        """What a model reads: ``2358:24=``."""
        return f"{''.join(map(str, self.numbers))}:{self.target}="


def is_correct(text: str, numbers: Sequence[int], target: int) -> bool:
    """Whether ``text`` is worth ``target`` and uses every number exactly once.

    >>> is_correct("(2+6/3)*6", [2, 3, 6, 6], 24), is_correct("6*6-6-6", [2, 3, 6, 6], 24)
    (True, False)
    """
    expression = expressions.parse(text)
    if expression is None or expression.value != target:
        return False
    return sorted(map(int, re.findall(r"[0-9]+", text))) == sorted(numbers)


def accuracy_reward(
    completions: Sequence[str | list[dict[str, Any]]],
    numbers: Sequence[Sequence[int]],
    target: Sequence[int],
    **_: Any,
) -> list[float]:
    """Reward 1 for a solution, 0 for anything else (a TRL reward function).

    Args:
        completions: Texts, or conversations whose last message is the answer.
        numbers: The numbers given, one list per completion (a column of :func:`dataset`).
        target: The number asked for, one per completion (a column of :func:`dataset`).

    >>> accuracy_reward(["(2+6/3)*6", "24"], numbers=[[2, 3, 6, 6]] * 2, target=[24, 24])
    [1.0, 0.0]
    """
    texts = [c if isinstance(c, str) else str(c[-1]["content"]) for c in completions]
    return [
        float(is_correct(text, given, asked))
        for text, given, asked in zip(texts, numbers, target, strict=True)
    ]


def puzzles(split: Literal["train", "held_out"]) -> list[Puzzle]:
    """Return the puzzles of a split, always the same: 256 to train on, 48 held out.

    They are drawn as :func:`draw` draws them; every one that is held out has at least four
    different solutions.
    """
    if split not in ("train", "held_out"):
        raise ValueError(
            f"countdown has the splits 'train' and 'held_out'; got {split!r}. Use one of them."
        )
    return list(_puzzles(split == "held_out"))


def dataset(split: Literal["train", "held_out"] = "train") -> "Dataset":
    """Build the data set of a split, a row per puzzle: ``prompt``, ``numbers``, ``target``."""
    from datasets import Dataset

    chosen = puzzles(split)
    return Dataset.from_dict(
        {
            "prompt": [p.prompt for p in chosen],
            "numbers": [list(p.numbers) for p in chosen],
            "target": [p.target for p in chosen],
        }
    )


def draw(rng: random.Random, held_out: bool = False) -> tuple[Puzzle, str]:
    """Draw a puzzle with one of its solutions: four digits, combined at random until they fit.

    A set of digits whose sum is a multiple of 5 is held out; no other puzzle shows it.
    """
    while True:
        numbers = tuple(sorted(rng.randint(1, 9) for _ in range(NUMBERS)))
        if (sum(numbers) % 5 == 0) != held_out:
            continue
        terms = [_number(n) for n in numbers]
        while len(terms) > 1:
            left, right = rng.sample(range(len(terms)), 2)
            joined = _join(rng.choice("++-**/"), terms[left], terms[right])
            if joined is None or joined.value < 0 or joined.value.denominator != 1:
                break
            terms = [t for i, t in enumerate(terms) if i not in (left, right)] + [joined]
        else:
            if terms[0].value in TARGETS:
                return Puzzle(numbers, int(terms[0].value)), terms[0].text


def solutions(puzzle: Puzzle) -> frozenset[str]:
    """Enumerate the canonical forms of all solutions of a puzzle.

    >>> sorted(solutions(Puzzle((1, 3, 7, 8), 32)))
    ['1+3*8+7', '3*(1+7)+8', '8*(7-3)']
    """
    return frozenset(
        str(expressions.answer(t.text))
        for t in _all([_number(n) for n in puzzle.numbers])
        if t.value == puzzle.target
    )


@lru_cache(maxsize=2)
def _puzzles(held_out: bool) -> tuple[Puzzle, ...]:
    if held_out:
        parts = [word.split(":") for word in _HELD_OUT.split()]
        return tuple(Puzzle(tuple(map(int, digits)), int(target)) for digits, target in parts)
    rng, chosen = random.Random(0), dict[Puzzle, None]()
    while len(chosen) < TRAIN:
        chosen[draw(rng)[0]] = None
    return tuple(chosen)


class _Term(NamedTuple):
    value: Fraction
    text: str
    binding: int
    """1 for a sum, 2 for a product, 3 for a number: what needs brackets inside what."""


def _number(n: int) -> _Term:
    return _Term(Fraction(n), str(n), 3)


def _join(operator: str, left: _Term, right: _Term) -> _Term | None:
    """Write ``left operator right`` with the brackets it needs; None where it divides by zero."""
    if operator == "/":
        if right.value == 0:
            return None
        value = left.value / right.value
    elif operator == "*":
        value = left.value * right.value
    else:
        value = left.value + right.value if operator == "+" else left.value - right.value
    binding = 1 if operator in "+-" else 2
    first = left.text if left.binding >= binding else f"({left.text})"
    second = right.text if right.binding >= binding + (operator in "-/") else f"({right.text})"
    return _Term(value, first + operator + second, binding)


def _all(terms: list[_Term]) -> Iterator[_Term]:
    """Yield every way to combine all the terms into one."""
    if len(terms) == 1:
        yield terms[0]
    for left, right in permutations(range(len(terms)), 2):
        rest = [t for i, t in enumerate(terms) if i not in (left, right)]
        for operator in "+*-/" if left < right else "-/":
            if joined := _join(operator, terms[left], terms[right]):
                yield from _all([*rest, joined])
