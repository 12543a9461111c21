"""A verifiable task whose correct answers can be counted: write an expression worth a number.

Prompt ``24=``; ``3*8``, ``20+4`` and ``(1+5)*4`` are right, and they are three different answers.
``8*3`` is the first one again: answers fall into exact equivalence classes by canonical form. The
evaluator is a tokeniser and a recursive descent on exact rationals; nothing is ever ``eval``-ed.
"""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from datasets import Dataset

MAX_CHARS = 128
"""Longer texts are no answer: a bound on the work that a hostile completion can ask for."""
MAX_DEPTH = 32
"""Deeper nesting is no answer: keeps the recursion far from Python's limit."""
TARGETS = range(10, 50)
"""Every number of the task; training never asks for every third of them."""
HARD_TARGETS = range(100, 148)
"""Every number of the harder level."""

_TOKEN = re.compile(r"\s*([0-9]+|[-+*/()])", re.ASCII)
_SPACE = re.compile(r"\s*", re.ASCII)

# A product is {factor: exponent} with a sign; a sum is {product: signed count}. A factor is
# (0, n, ()) for the number n or (1, 0, sum) for a bracket, so that factors compare and sort.
_Factor = tuple[int, int, tuple[Any, ...]]
_Product = tuple[tuple[_Factor, int], ...]
_Sum = Counter[_Product]


@dataclass(frozen=True)
class Expression:
    """What a text means: its exact ``value`` and the ``canonical`` form of how it gets there."""

    value: Fraction
    canonical: str

    @property
    def is_number(self) -> bool:
        """Whether nothing is left to compute: ``24``, ``24+0``, ``-(-24)``, ``24+7-7``."""
        return self.canonical.lstrip("-").isdigit()


@lru_cache(maxsize=1 << 14)  # reward, signal and monitor each ask for the same answers
def parse(text: str) -> Expression | None:
    """Read an arithmetic expression of integers, ``+ - * /`` and brackets.

    Two expressions have one canonical form if commuting, re-associating, dropping brackets, moving
    signs, cancelling equal terms or factors, and dropping ``+0`` and ``*1`` turns one into the
    other. Nothing is computed: ``2*12`` and ``24`` differ, and so do ``3+3`` and ``2*3``.

    Args:
        text: Anything. Spaces do not matter.

    Returns:
        The expression; None for what is no expression, divides by zero, is longer than
        ``MAX_CHARS`` or nested deeper than ``MAX_DEPTH``.

    >>> parse("8 * 3").canonical, parse("(1+5)*4").canonical, parse("30-(2+4)").canonical
    ('3*8', '4*(1+5)', '30-2-4')
    >>> parse("7/2").value
    Fraction(7, 2)
    """
    if len(text) > MAX_CHARS:
        return None
    tokens, at = [], 0
    while match := _TOKEN.match(text, at):
        tokens.append(match[1])
        at = match.end()
    if not tokens or not _SPACE.fullmatch(text, at):
        return None
    try:
        value, terms = _Descent(tokens).parse()
    except (_NotAnExpressionError, ZeroDivisionError):
        return None
    return Expression(value, _show_sum(terms))


def answer(text: str) -> str | None:
    """Return the canonical form of an answer, the name of its equivalence class.

    The extractor for divreg's signal ``answer``: ``signals={"answer": expressions.answer}``.

    >>> answer("4+20") == answer("20+4"), answer("20+"), answer("24/0")
    (True, None, None)
    """
    expression = parse(text)
    return expression.canonical if expression else None


def is_correct(text: str, target: int) -> bool:
    """Whether ``text`` computes ``target``; repeating the number computes nothing.

    >>> is_correct("3*8", 24), is_correct("24", 24), is_correct("24+0", 24), is_correct("3*9", 24)
    (True, False, False, False)
    """
    expression = parse(text)
    return expression is not None and expression.value == target and not expression.is_number


def accuracy_reward(
    completions: Sequence[str | list[dict[str, Any]]], target: Sequence[int], **_: Any
) -> list[float]:
    """Reward 1 for an expression worth its target, 0 for anything else (a TRL reward function).

    Args:
        completions: Texts, or conversations whose last message is the answer.
        target: The number asked for, one per completion (a column of :func:`dataset`).

    >>> accuracy_reward(["3*8", "3*9"], target=[24, 24])
    [1.0, 0.0]
    """
    texts = [c if isinstance(c, str) else str(c[-1]["content"]) for c in completions]
    return [float(is_correct(text, n)) for text, n in zip(texts, target, strict=True)]


def prompt(target: int) -> str:
    """Return the prompt that asks for ``target``: ``24=``."""
    return f"{target}="


def targets(split: str, among: Sequence[int] = TARGETS) -> list[int]:
    """Return the numbers of a split: 26 to train on, 14 held out; the two are disjoint.

    Args:
        split: ``"train"`` or ``"held_out"``.
        among: The numbers of a level, ``TARGETS`` or ``HARD_TARGETS``.
    """
    if split not in ("train", "held_out"):
        raise ValueError(
            f"expressions has the splits 'train' and 'held_out'; got {split!r}. Use one of them."
        )
    return [n for n in among if (n % 3 == 1) == (split == "held_out")]


def dataset(
    split: Literal["train", "held_out"] = "train", numbers: Iterable[int] | None = None
) -> "Dataset":
    """Build the data set of a split, one row per number: columns ``prompt`` and ``target``.

    Args:
        split: ``"train"`` or ``"held_out"``.
        numbers: Use these instead of the split's.
    """
    from datasets import Dataset

    chosen = targets(split) if numbers is None else list(numbers)
    return Dataset.from_dict({"prompt": [prompt(n) for n in chosen], "target": chosen})


def demonstrations(split: Literal["train", "held_out"] = "train") -> "Dataset":
    """Build right answers to learn from: eight for each number, columns ``prompt``, ``completion``.

    Args:
        split: ``"train"`` or ``"held_out"``.

    >>> demonstrations("held_out")["completion"][:8]
    ['1+9', '2+8', '3+7', '4+6', '11-1', '12-2', '13-3', '14-4']
    """
    from datasets import Dataset

    rows = [
        {"prompt": prompt(n), "completion": text}
        for n in targets(split)
        for text in (*(f"{a}+{n - a}" for a in range(1, 5)), *(f"{n + a}-{a}" for a in range(1, 5)))
    ]
    return Dataset.from_list(rows)


def preferences(split: Literal["train", "held_out"] = "train") -> "Dataset":
    """Build preference pairs, twelve for each number, with the column ``weight`` of DDPO.

    Chosen are eight right answers, one of them four times and one twice, as people prefer the
    usual; rejected is the same answer, off by one. The weight is that of
    `divreg.data.pairs.deviation_weights`: the rarer an answer among the twelve, the more.

    Args:
        split: ``"train"`` or ``"held_out"``.

    >>> data = preferences("held_out")
    >>> data["chosen"][3:7], data["rejected"][3]
    (['1+9', '2+8', '2+8', '3+7'], '1+10')
    >>> [round(weight, 4) for weight in data["weight"][3:7]]
    [0.0, 1.0909, 1.0909, 1.6364]
    """
    from datasets import Dataset

    from divreg.data.pairs import deviation_scores, deviation_weights

    times = (4, 2, 1, 1, 1, 1, 1, 1)
    n = sum(times)
    distances = [1 - (often - 1) / (n - 1) for often in times for _ in range(often)]
    weights = deviation_weights(deviation_scores(distances)).tolist()
    rows = []
    for number in targets(split):
        right = [(f"{a}+{number - a}", f"{a}+{number - a + 1}") for a in range(1, 5)]
        right += [(f"{number + a}-{a}", f"{number + a + 1}-{a}") for a in range(1, 5)]
        pairs = [pair for pair, often in zip(right, times, strict=True) for _ in range(often)]
        for (chosen, rejected), weight in zip(pairs, weights, strict=True):
            row = {"prompt": prompt(number), "chosen": chosen, "rejected": rejected}
            rows.append({**row, "weight": weight})
    return Dataset.from_list(rows)


class _NotAnExpressionError(Exception):
    pass


class _Descent:
    """sum := product (('+'|'-') product)*; product := factor (('*'|'/') factor)*.

    A factor is a number, a bracket, or either behind signs. Every rule returns the exact value
    and the canonical sum, so that evaluation and canonical form cannot disagree on the grammar.
    """

    def __init__(self, tokens: list[str]):
        self.tokens, self.at, self.depth = tokens, 0, 0

    def parse(self) -> tuple[Fraction, _Sum]:
        result = self.sum()
        if self.at < len(self.tokens):
            raise _NotAnExpressionError
        return result

    def take(self, *wanted: str) -> str | None:
        if self.at < len(self.tokens) and self.tokens[self.at] in wanted:
            self.at += 1
            return self.tokens[self.at - 1]
        return None

    def sum(self) -> tuple[Fraction, _Sum]:
        value, terms = self.product()
        while operator := self.take("+", "-"):
            right, more = self.product()
            sign = 1 if operator == "+" else -1
            value += sign * right
            terms = _add(terms, more, sign)
        return value, terms

    def product(self) -> tuple[Fraction, _Sum]:
        value, terms = self.factor()
        if self.at == len(self.tokens) or self.tokens[self.at] not in ("*", "/"):
            return value, terms
        sign, factors = _as_product(terms)
        while operator := self.take("*", "/"):
            right, more = self.factor()
            if operator == "/" and right == 0:
                raise ZeroDivisionError
            value = value * right if operator == "*" else value / right
            other, their = _as_product(more)
            sign *= other
            factors = _add(factors, their, 1 if operator == "*" else -1)
        return value, _as_sum(sign, factors)

    def factor(self) -> tuple[Fraction, _Sum]:
        sign = 1
        while operator := self.take("+", "-"):
            sign = -sign if operator == "-" else sign
        value, terms = self.bracket() if self.take("(") else self.number()
        return sign * value, _add(Counter(), terms, sign)

    def bracket(self) -> tuple[Fraction, _Sum]:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise _NotAnExpressionError
        result = self.sum()
        self.depth -= 1
        if not self.take(")"):
            raise _NotAnExpressionError
        return result

    def number(self) -> tuple[Fraction, _Sum]:
        if self.at == len(self.tokens) or not self.tokens[self.at].isdigit():
            raise _NotAnExpressionError
        n = int(self.tokens[self.at])
        self.at += 1
        return Fraction(n), Counter({(((0, n, ()), 1),): 1}) if n else Counter()


def _add(left: Counter[Any], right: Counter[Any], sign: int) -> Counter[Any]:
    """Add counts and drop what cancels: sums of terms, or exponents of factors."""
    total = Counter(left)
    for key, count in right.items():
        total[key] += sign * count
        if not total[key]:
            del total[key]
    return total


def _as_product(terms: _Sum) -> tuple[int, Counter[_Factor]]:
    """Read a sum as one product: a single term as it is, else one bracket with a fixed sign."""
    if not terms:
        return 0, Counter()
    ordered = sorted(terms.items())
    lead, count = ordered[0]
    if len(ordered) == 1 and abs(count) == 1:
        return count, Counter({f: e for f, e in lead if f != (0, 1, ())})
    sign = 1 if ordered[-1][1] > 0 else -1  # the last, so that 5-2 is not turned into -(2-5)
    return sign, Counter({(1, 0, tuple((p, sign * c) for p, c in ordered)): 1})


def _as_sum(sign: int, factors: Counter[_Factor]) -> _Sum:
    """Read a product as a sum: a lone bracket opens, anything else is one term."""
    if sign == 0:
        return Counter()
    if not factors:
        return Counter({(((0, 1, ()), 1),): sign})
    ordered = sorted(factors.items())
    (kind, _, inner), exponent = ordered[0]
    if len(ordered) == 1 and kind == 1 and exponent == 1:
        return Counter({p: sign * c for p, c in inner})
    return Counter({tuple(ordered): sign})


def _show_sum(terms: _Sum | tuple[tuple[_Product, int], ...]) -> str:
    """Write a sum, what is added before what is taken away, each in sorted order."""
    pairs = terms if isinstance(terms, tuple) else sorted(terms.items())
    plus = "+".join(_show_product(p) for p, count in pairs for _ in range(count))
    minus = "".join("-" + _show_product(p) for p, count in pairs for _ in range(-count))
    return plus + minus or "0"


def _show_product(product: _Product) -> str:
    over = "*".join(_show_factor(f) for f, e in product for _ in range(e))
    under = "".join("/" + _show_factor(f) for f, e in product for _ in range(-e))
    return (over or "1") + under


def _show_factor(factor: _Factor) -> str:
    kind, n, inner = factor
    return str(n) if kind == 0 else f"({_show_sum(inner)})"
