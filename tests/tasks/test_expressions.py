"""The expressions task: exact values, exact classes, and nothing a text can do to it."""

import random
from fractions import Fraction

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from divreg.tasks import expressions
from divreg.tasks.expressions import MAX_CHARS, answer, is_correct, parse

# A tree is a number, ("-", child) or (operator, left, right).
TREES = st.recursive(
    st.integers(0, 12),
    lambda child: st.tuples(st.just("-"), child) | st.tuples(st.sampled_from("+-*/"), child, child),
    max_leaves=8,
)


def value(tree) -> Fraction:
    """Evaluate a tree with Fractions, independently of the parser."""
    if isinstance(tree, int):
        return Fraction(tree)
    if len(tree) == 2:
        return -value(tree[1])
    operator, left, right = tree[0], value(tree[1]), value(tree[2])
    if operator == "/":
        return left / right
    return {"+": left + right, "-": left - right, "*": left * right}[operator]


def show(tree, rng: random.Random | None = None) -> str:
    """Write a tree with every bracket; with ``rng``, an equivalent text of the same tree."""
    if isinstance(tree, int):
        text = str(tree)
    elif len(tree) == 2:
        text = f"-{show(tree[1], rng)}"
    else:
        operator, left, right = tree[0], show(tree[1], rng), show(tree[2], rng)
        if rng and rng.random() < 0.5:
            if operator in "+*":
                left, right = right, left
            elif operator == "-":
                left, operator, right = f"(-{right})", "+", left
        text = left + operator + right
    if rng and rng.random() < 0.2:
        return f" ( {text} + 0 ) "
    if rng and rng.random() < 0.2:
        return f"(1*{text})"
    return f"({text})"


@given(TREES)
def test_value_agrees_with_fractions(tree):
    text = show(tree)
    if len(text) > MAX_CHARS:
        return
    try:
        expected = value(tree)
    except ZeroDivisionError:
        assert parse(text) is None
        return
    assert parse(text).value == expected


@given(TREES)
def test_canonical_form_keeps_the_value_and_is_a_fixed_point(tree):
    expression = parse(show(tree))
    if expression is not None:
        again = parse(expression.canonical)
        assert again is not None
        assert again == expression


@given(TREES, st.randoms(use_true_random=False))
def test_commuted_bracketed_and_padded_variants_share_a_class(tree, rng):
    text, variant = show(tree), show(tree, rng)
    if len(variant) <= MAX_CHARS:
        assert answer(variant) == answer(text)


@given(TREES, TREES, TREES)
def test_reassociated_variants_share_a_class(a, b, c):
    a, b, c = show(a), show(b), show(c)
    for left, right in [
        (f"({a}+{b})+{c}", f"{a}+({b}+{c})"),
        (f"({a}*{b})*{c}", f"{a}*({b}*{c})"),
        (f"{a}-({b}+{c})", f"({a}-{c})-{b}"),
        (f"{a}-({b}-{c})", f"({a}+{c})-{b}"),
        (f"({a}-{b})*{c}", f"-{c}*({b}-{a})"),
    ]:
        if max(len(left), len(right)) <= MAX_CHARS:
            assert answer(left) == answer(right)


@given(st.text(max_size=200) | st.text("0123456789+-*/() ", max_size=200))
@example("(" * 128)
@example("-" * 127 + "1")
@example("9" * 128)
@example("9*" * 63 + "9")
@example("1/" * 63 + "0")
@example("٣+٤")
@example("1" * 100_000)
@example("2**99999999")
@example("__import__('os')")
@example("\0\n1+1")
def test_hostile_text_never_raises(text):
    expression = parse(text)
    assert (expression is None) == (answer(text) is None)


NONSENSE = [
    "",
    " ",
    "()",
    "1+",
    "+",
    "*3",
    "1 2",
    "1//2",
    "2^3",
    "3*8=24",
    "1.5",
    "(1",
    "1)",
    "1/0",
]
NUMBERS = ["24", "24+0", "1*24", "24/1", "(24)", "-(-24)", "24+7-7", "8*3*0"]


@pytest.mark.parametrize("text", NONSENSE)
def test_what_is_no_expression_has_no_class(text):
    assert answer(text) is None


def test_different_ways_to_compute_a_number_are_different_classes():
    ways = ["3*8", "2*12", "20+4", "30-6", "48/2", "(1+5)*4", "1*5*4+4", "12+12", "3+3+18"]
    assert len({answer(way) for way in ways}) == len(ways)


@pytest.mark.parametrize("text", NUMBERS)
def test_repeating_the_number_is_no_answer(text):
    assert not is_correct(text, 24)


def test_reward_reads_texts_and_conversations():
    chat = [{"role": "assistant", "content": "30-6"}]
    rewards = expressions.accuracy_reward(["3*8", "3*9", chat], target=[24, 24, 24], prompts=[])
    assert rewards == [1.0, 0.0, 1.0]


def test_training_and_held_out_numbers_are_disjoint_and_complete():
    train, held_out = expressions.targets("train"), expressions.targets("held_out")
    assert sorted(train + held_out) == list(expressions.TARGETS)
    assert not set(train) & set(held_out)
    rows = expressions.dataset("held_out")
    assert rows.column_names == ["prompt", "target"]
    assert rows[0] == {"prompt": f"{held_out[0]}=", "target": held_out[0]}


def test_unknown_split_says_which_there_are():
    with pytest.raises(ValueError, match="'train' and 'held_out'"):
        expressions.targets("test")
