"""Countdown: its grader, its splits, its enumeration."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from divreg.tasks import countdown, expressions
from divreg.tasks.countdown import Puzzle


@pytest.mark.parametrize(
    ("text", "right"),
    [
        ("(2+6/3)*6", True),
        ("6*6-2*3-6", False),  # three sixes
        ("2*3*6-6-6", False),
        ("(2+6/3)*6 ", True),
        ("6*(2+6/3)", True),
        ("24", False),
        ("6*6-6-6", False),
        ("23+6/6", False),  # digits may not be joined
        ("", False),
    ],
)
def test_every_number_is_used_once_and_the_value_is_right(text, right):
    assert countdown.is_correct(text, [2, 3, 6, 6], 24) is right


def test_reward_reads_the_columns_of_the_data_set():
    rows = countdown.dataset("held_out")
    row = next(r for r in rows if r["numbers"] == [1, 2, 3, 9] and r["target"] == 24)
    texts = ["(1+2)*(9-3)", "(2-1)*(9-3)"]
    assert row["prompt"] == "1239:24="
    rewards = countdown.accuracy_reward(texts, [row["numbers"]] * 2, [row["target"]] * 2)
    assert rewards == [0.0, 0.0]
    assert countdown.accuracy_reward(["9*3-2-1"], [row["numbers"]], [24]) == [1.0]


def test_the_splits_share_no_set_of_numbers_and_held_out_puzzles_have_four_solutions():
    train, held_out = countdown.puzzles("train"), countdown.puzzles("held_out")
    assert (len(train), len(held_out)) == (countdown.TRAIN, 48)
    assert not {p.numbers for p in train} & {p.numbers for p in held_out}
    assert len(set(held_out)) == len(held_out)
    assert all(sum(p.numbers) % 5 == 0 for p in held_out)
    for puzzle in random.Random(0).sample(held_out, 8):
        assert len(countdown.solutions(puzzle)) >= 4
    with pytest.raises(ValueError, match="'train' and 'held_out'; got 'test'"):
        countdown.puzzles("test")


@given(st.integers(0, 10_000), st.booleans())
def test_what_is_drawn_is_solved_by_what_is_drawn_with_it(seed, held_out):
    puzzle, text = countdown.draw(random.Random(seed), held_out)
    assert countdown.is_correct(text, puzzle.numbers, puzzle.target)
    assert len(text) <= 11
    assert (sum(puzzle.numbers) % 5 == 0) == held_out


def test_solutions_are_right_and_hold_what_is_drawn():
    puzzle, text = countdown.draw(random.Random(3))
    found = countdown.solutions(puzzle)
    assert expressions.answer(text) in found
    assert all(expressions.parse(s).value == puzzle.target for s in found)
    assert countdown.solutions(Puzzle((1, 1, 1, 1), 49)) == frozenset()
