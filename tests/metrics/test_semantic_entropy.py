"""Entropies over meanings: worked numbers, and where the four of them agree."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from divreg.metrics.semantic_entropy import (
    predictive_entropy_nats,
    semantic_entropy_discrete_nats,
    semantic_entropy_kuhn_nats,
    semantic_entropy_rao_nats,
)

CLASSES, LOGPROBS = [0, 0, 1, 2, 0], [-0.2, -0.4, -1.0, -2.0, -0.3]

samples = st.lists(st.tuples(st.integers(0, 3), st.floats(-30, 0)), min_size=1, max_size=8)


def test_the_worked_numbers():
    assert semantic_entropy_discrete_nats(CLASSES) == pytest.approx(0.950271, abs=5e-7)
    assert semantic_entropy_rao_nats(CLASSES, LOGPROBS) == pytest.approx(0.584778, abs=5e-7)
    assert semantic_entropy_kuhn_nats(CLASSES, LOGPROBS) == pytest.approx(0.732686, abs=5e-7)
    assert predictive_entropy_nats(LOGPROBS) == pytest.approx(0.78, abs=5e-7)


def test_rao_by_way_of_the_worked_shares():
    shares = [0.815880, 0.134602, 0.049517]
    by_hand = -sum(p * math.log(p) for p in shares)
    assert semantic_entropy_rao_nats(CLASSES, LOGPROBS) == pytest.approx(by_hand, abs=5e-6)


@settings(max_examples=100, deadline=None)
@given(drawn=samples, data=st.data())
def test_neither_order_nor_names_count(drawn, data):
    order = data.draw(st.permutations(drawn))
    for measure in (semantic_entropy_rao_nats, semantic_entropy_kuhn_nats):
        plain = measure([c for c, _ in drawn], [l for _, l in drawn])
        other = measure([f"class {c}" for c, _ in order], [l for _, l in order])
        assert other == pytest.approx(plain, abs=1e-12)


@settings(max_examples=100, deadline=None)
@given(drawn=samples, shift=st.floats(-500, 0))
def test_ranges_and_scale(drawn, shift):
    classes, logprobs = [c for c, _ in drawn], [l for _, l in drawn]
    seen = len(set(classes))
    assert 0 <= semantic_entropy_discrete_nats(classes) <= math.log(seen) + 1e-12
    rao = semantic_entropy_rao_nats(classes, logprobs)
    assert 0 <= rao <= math.log(seen) + 1e-12
    less = [l + shift for l in logprobs]
    assert semantic_entropy_rao_nats(classes, less) == pytest.approx(rao, abs=1e-9)
    assert predictive_entropy_nats(less) == pytest.approx(predictive_entropy_nats(logprobs) - shift)


@settings(max_examples=50, deadline=None)
@given(classes=st.lists(st.integers(0, 3), min_size=1, max_size=8), l=st.floats(-20, 0))
def test_equal_probabilities_leave_the_counts(classes, l):
    same = [l] * len(classes)
    assert semantic_entropy_rao_nats(classes, same) == pytest.approx(
        semantic_entropy_discrete_nats(classes), abs=1e-9
    )


def test_where_every_text_means_something_else_meanings_are_texts():
    assert semantic_entropy_kuhn_nats(range(5), LOGPROBS) == pytest.approx(
        predictive_entropy_nats(LOGPROBS)
    )


def test_one_meaning_said_often_is_below_zero():
    assert semantic_entropy_kuhn_nats([0, 0], [0.0, 0.0]) == pytest.approx(-math.log(2))


def test_probabilities_too_small_for_a_float_keep_their_ratio():
    assert semantic_entropy_rao_nats([0, 1], [-2000.0, -2000.0]) == pytest.approx(math.log(2))


def test_no_completion_and_one():
    assert semantic_entropy_discrete_nats([]) == 0
    assert semantic_entropy_rao_nats([], []) == 0
    assert math.isnan(semantic_entropy_kuhn_nats([], []))
    assert math.isnan(predictive_entropy_nats([]))
    assert semantic_entropy_discrete_nats([7]) == 0
    assert semantic_entropy_rao_nats([7], [-0.5]) == 0
    assert semantic_entropy_kuhn_nats([7], [-0.5]) == 0.5
    assert str(predictive_entropy_nats([0.0])) == "0.0"


@pytest.mark.parametrize("measure", [semantic_entropy_rao_nats, semantic_entropy_kuhn_nats])
@pytest.mark.parametrize(
    ("logprobs", "cure"),
    [
        ([-1.0], "got 1 for 2. Pass the mean"),
        ([-1.0, 0.5], "at most 0; got 0.5. Take the log"),
        ([-1.0, -math.inf], "finite log-probabilities"),
        ([math.nan, -1.0], "got nan"),
    ],
)
def test_what_is_no_log_probability_is_refused(measure, logprobs, cure):
    with pytest.raises(ValueError, match=cure):
        measure([0, 1], logprobs)
