"""Diversity among valid completions: worked numbers, and loops over pairs and subsets."""

import itertools
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from divreg.metrics.effective_diversity import (
    effective_conditional,
    effective_fixed,
    effective_pairwise,
    expected_distinct_valid,
    validity_frac,
)

CLASSES, VALID = [0, 0, 1, 2, 3, 3], [True, True, True, False, True, False]

groups = st.lists(
    st.tuples(st.integers(0, 4), st.sampled_from([True, False, None])), min_size=2, max_size=9
)


def test_the_worked_numbers():
    assert effective_fixed(CLASSES, VALID) == pytest.approx(0.5)
    assert effective_pairwise(CLASSES, VALID) == pytest.approx(0.333333, abs=5e-7)
    assert effective_conditional(CLASSES, VALID) == pytest.approx(0.833333, abs=5e-7)
    assert validity_frac(VALID) == pytest.approx(0.666667, abs=5e-7)


@settings(max_examples=100, deadline=None)
@given(group=groups)
def test_pairs_are_those_of_a_loop(group):
    classes, valid = zip(*group, strict=True)
    pairs = list(itertools.combinations(group, 2))
    differ = [bool(v and w) and a != b for (a, v), (b, w) in pairs]
    assert effective_pairwise(classes, valid) == pytest.approx(sum(differ) / len(pairs))
    inside = sum(bool(v and w) for (_, v), (_, w) in pairs)
    expected = sum(differ) / inside if inside else math.nan
    assert effective_conditional(classes, valid) == pytest.approx(expected, nan_ok=True)


@settings(max_examples=60, deadline=None)
@given(group=groups, data=st.data())
def test_the_budget_is_the_mean_over_all_subsets(group, data):
    classes, valid = zip(*group, strict=True)
    k = data.draw(st.integers(0, len(group)))
    found = [len({c for c, v in s if v}) for s in itertools.combinations(group, k)]
    assert expected_distinct_valid(classes, valid, k) == pytest.approx(sum(found) / len(found))
    assert expected_distinct_valid(classes, valid, 1) == pytest.approx(validity_frac(valid))
    assert expected_distinct_valid(classes, valid, len(group)) == pytest.approx(
        effective_fixed(classes, valid) * len(group)
    )


@settings(max_examples=60, deadline=None)
@given(group=groups, data=st.data())
def test_order_and_the_classes_of_invalid_completions_do_not_count(group, data):
    other = data.draw(st.permutations([(c if v else "else", v) for c, v in group]))
    for measure in (effective_fixed, effective_pairwise, effective_conditional):
        a, b = (measure(*zip(*g, strict=True)) for g in (group, other))
        assert a == pytest.approx(b, nan_ok=True)
        assert math.isnan(a) or 0 <= a <= 1


def test_no_completion_one_and_none_valid():
    assert [validity_frac([]), effective_fixed([], [])] == [0, 0]
    assert expected_distinct_valid([], [], 0) == 0
    assert math.isnan(effective_pairwise([], []))
    assert math.isnan(effective_conditional([], []))
    assert effective_fixed(["a"], [True]) == 1
    assert math.isnan(effective_pairwise(["a"], [True]))
    assert math.isnan(effective_conditional(["a"], [True]))
    assert effective_pairwise(["a", "b"], [True, False]) == 0
    assert math.isnan(effective_conditional(["a", "b"], [True, False]))
    assert effective_fixed(["a", "b"], [False, None]) == 0


@pytest.mark.parametrize(
    "measure",
    [
        effective_fixed,
        effective_pairwise,
        effective_conditional,
        lambda c, v: expected_distinct_valid(c, v, 1),
    ],
)
def test_both_lists_are_of_the_same_completions(measure):
    with pytest.raises(ValueError, match=r"got 1 for 2\. Write False"):
        measure([0, 1], [True])


def test_a_budget_beyond_the_group_is_refused():
    with pytest.raises(ValueError, match=r"between 0 and n=2; got 3\. Draw more"):
        expected_distinct_valid([0, 1], [True, False], 3)
