import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from divreg.metrics.noveltybench import (
    distinct_k,
    partition_in_order,
    utility_k,
    utility_of_reward,
)

CLASSES = [0, 1, 0, 2, 1, 0, 3, 0, 0, 2]
UTILITIES = [7, 5, 9, 8, 2, 3, 10, 1, 1, 4]

groups = st.lists(st.tuples(st.integers(0, 3), st.integers(1, 10)), max_size=10)


def test_worked_numbers():
    assert distinct_k(CLASSES) == 4
    assert utility_k(CLASSES, UTILITIES) == pytest.approx(3.969735, abs=1e-6)
    gains = [7, 5, 0, 8, 0, 0, 10, 0, 0, 0]
    assert sum(0.8**i for i in range(10)) == pytest.approx(4.463129, abs=1e-6)
    weighed = sum(0.8**i * gain for i, gain in enumerate(gains))
    assert utility_k(CLASSES, UTILITIES) == pytest.approx(weighed / 4.463129, abs=1e-6)


def test_one_answer_ten_times_and_ten_answers():
    assert utility_k([0] * 10, [10] * 10) == pytest.approx(2.24058, abs=1e-6)
    assert utility_k(range(10), [10] * 10) == pytest.approx(10)


@pytest.mark.parametrize(
    ("reward", "utility"),
    [(-9, 1), (-7.71875, 1), (-6.28, 3), (-5.9, 4), (-5.0, 6), (-4, 8), (-2.046875, 9), (0, 10)],
)
def test_worked_utilities_of_rewards(reward, utility):
    assert utility_of_reward(reward) == utility


def test_the_first_member_decides_and_not_the_nearest():
    def same(a, b):
        return abs(a - b) <= 1

    assert partition_in_order([0, 1, 2, 3], same) == [0, 0, 1, 1]
    assert partition_in_order([1, 0, 2, 3], same) == [0, 0, 0, 1]


@settings(max_examples=100)
@given(items=st.lists(st.integers(0, 4), max_size=12))
def test_an_equivalence_has_its_own_classes_each_asked_once(items):
    asked = []

    def same(a, b):
        asked.append((a, b))
        return a == b

    classes = partition_in_order(items, same)
    assert classes == [list(dict.fromkeys(items)).index(item) for item in items]
    assert distinct_k(classes) == len(set(items))
    assert len(asked) <= len(items) * len(set(items))


@settings(max_examples=100)
@given(group=groups, patience=st.floats(0, 1))
def test_utility_is_within_its_range_and_repeats_are_not_read(group, patience):
    classes, utilities = [c for c, _ in group], [u for _, u in group]
    value = utility_k(classes, utilities, patience)
    assert 0 <= value <= max(utilities, default=0) + 1e-9
    first = [c not in classes[:i] for i, c in enumerate(classes)]
    changed = [u if new else math.nan for u, new in zip(utilities, first, strict=True)]
    assert utility_k(classes, changed, patience) == value


@settings(max_examples=50)
@given(group=groups)
def test_without_patience_only_the_first_counts_and_with_all_of_it_the_mean(group):
    classes, utilities = [c for c, _ in group], [u for _, u in group]
    if group:
        assert utility_k(classes, utilities, 0) == utilities[0]
        first = [u for i, (c, u) in enumerate(group) if c not in classes[:i]]
        assert utility_k(classes, utilities, 1) == pytest.approx(sum(first) / len(group))


def test_none_and_one():
    assert partition_in_order([], lambda a, b: True) == []
    assert distinct_k([]) == utility_k([], []) == 0
    assert utility_k([0], [7]) == 7


@pytest.mark.parametrize(
    ("f", "arguments", "cure"),
    [
        (utility_k, ([0, 1], [1]), "Write 0 where"),
        (utility_k, ([0], [1], 1.5), r"Use patience=0\.8"),
        (utility_of_reward, (math.nan,), "Score the generation again"),
        (utility_of_reward, (0.0, [2, 1]), "Use sorted"),
    ],
)
def test_bad_input_is_refused_with_the_cure(f, arguments, cure):
    with pytest.raises(ValueError, match=cure):
        f(*arguments)
