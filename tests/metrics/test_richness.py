"""Counts of classes: worked numbers, enumeration of subsets, and what has to hold of any group."""

import itertools
import math
import time
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from divreg.metrics.answer_entropy import answer_entropy_mm_nats, answer_entropy_nats
from divreg.metrics.pass_at_k import pass_at_k
from divreg.metrics.richness import (
    chao1,
    coverage_frac,
    rarefied_distinct,
    simpson,
    simpson_unbiased,
)

TEN = "aaaaabbbcd"  # 5, 3, 1 and 1
ALL = (simpson, simpson_unbiased, chao1, coverage_frac)

groups = st.lists(st.integers(0, 5), min_size=2, max_size=12)


@pytest.mark.parametrize(("k", "expected"), [(1, 1.0), (2, 1.711111), (5, 2.912698), (10, 4.0)])
def test_rarefaction_of_five_three_one_and_one(k, expected):
    assert rarefied_distinct(TEN, k) == pytest.approx(expected, abs=5e-7)


def test_the_other_numbers_of_five_three_one_and_one():
    assert simpson(TEN) == pytest.approx(0.64, abs=5e-7)
    assert simpson_unbiased(TEN) == pytest.approx(0.711111, abs=5e-7)
    assert answer_entropy_nats(TEN) == pytest.approx(1.168282, abs=5e-7)
    assert answer_entropy_mm_nats(TEN) == pytest.approx(1.318282, abs=5e-7)
    assert chao1(TEN) == 5.0
    assert coverage_frac(TEN) == pytest.approx(0.8)


def test_chao1_by_hand():
    assert chao1("aabbcd") == 4 + 2 * 1 / (2 * 3)
    assert chao1("abcd") == 4 * 5 / 2
    assert chao1("aaaa") == 1


@settings(max_examples=60, deadline=None)
@given(classes=groups, data=st.data())
def test_rarefaction_is_the_mean_over_all_subsets(classes, data):
    k = data.draw(st.integers(0, len(classes)))
    subsets = [len(set(s)) for s in itertools.combinations(classes, k)]
    assert rarefied_distinct(classes, k) == pytest.approx(sum(subsets) / len(subsets))


@settings(max_examples=100, deadline=None)
@given(classes=groups)
def test_what_holds_of_every_group(classes):
    n, seen = len(classes), len(set(classes))
    curve = [rarefied_distinct(classes, k) for k in range(n + 1)]
    assert curve[0] == 0
    assert curve[1] == pytest.approx(1)
    assert curve[n] == pytest.approx(seen)
    assert all(a <= b + 1e-12 for a, b in itertools.pairwise(curve))
    assert simpson_unbiased(classes) == pytest.approx(curve[2] - 1)
    assert 0 <= simpson(classes) <= simpson_unbiased(classes) <= 1
    assert simpson(classes) == pytest.approx(simpson_unbiased(classes) * (n - 1) / n)
    assert chao1(classes) >= seen
    assert 0 <= coverage_frac(classes) <= 1


@settings(max_examples=60, deadline=None)
@given(classes=groups, data=st.data())
def test_neither_order_nor_names_count_and_a_mapping_is_the_same(classes, data):
    shuffled = [f"class {c}" for c in data.draw(st.permutations(classes))]
    k = data.draw(st.integers(0, len(classes)))
    for other in (shuffled, Counter(classes), {**Counter(classes), "unseen": 0}):
        assert rarefied_distinct(other, k) == pytest.approx(rarefied_distinct(classes, k))
        for measure in ALL:
            assert measure(other) == measure(classes)


@settings(max_examples=60, deadline=None)
@given(classes=groups, outside=st.integers(0, 5), data=st.data())
def test_completions_outside_all_classes_are_drawn_too(classes, outside, data):
    n = len(classes) + outside
    k = data.draw(st.integers(1, n))
    by_class = sum(pass_at_k(n, size, k) for size in Counter(classes).values())
    assert rarefied_distinct(classes, k, n=n) == pytest.approx(by_class)


def test_estimates_do_not_depend_on_the_size_of_the_group_on_average():
    """Groups of 3 and of 5 from shares .5, .3 and .2: every outcome, weighed by its chance."""
    p = {"a": 0.5, "b": 0.3, "c": 0.2}
    means = {}
    for n in (3, 5):
        drawn = [(math.prod(p[c] for c in s), s) for s in itertools.product(p, repeat=n)]
        means[n] = [
            sum(w * measure(s) for w, s in drawn)
            for measure in (simpson_unbiased, lambda s: rarefied_distinct(s, 3), simpson)
        ]
    assert means[3][:2] == pytest.approx(means[5][:2])
    assert means[3][0] == pytest.approx(1 - sum(x * x for x in p.values()))
    assert means[3][2] < means[5][2] < means[3][0]


def test_thousands_of_completions_neither_overflow_nor_take_long():
    sizes = {i: 1 + i % 40 for i in range(400)}  # 8,200 completions
    n, k = sum(sizes.values()), 4000
    start = time.perf_counter()
    found = rarefied_distinct(sizes, k)
    assert time.perf_counter() - start < 0.5
    whole = math.comb(n, k)
    exact = sum(1 - math.comb(n - m, k) / whole for m in sizes.values())
    assert found == pytest.approx(exact, rel=1e-10)
    assert rarefied_distinct(sizes, 1) == pytest.approx(1, abs=1e-9)
    assert rarefied_distinct(sizes, n) == 400
    assert rarefied_distinct({"a": 10_000}, 9_999) == 1
    assert simpson_unbiased({"a": 10**6, "b": 10**6}) == pytest.approx(0.5, abs=1e-6)


def test_no_completion_and_one():
    for nothing in ([], {}, {"a": 0}):
        assert rarefied_distinct(nothing, 0) == 0
        assert [simpson(nothing), chao1(nothing), coverage_frac(nothing)] == [0, 0, 0]
        assert math.isnan(simpson_unbiased(nothing))
    assert rarefied_distinct(["a"], 1) == 1
    assert [simpson(["a"]), chao1(["a"]), coverage_frac(["a"])] == [0, 1, 0]
    assert math.isnan(simpson_unbiased(["a"]))


@pytest.mark.parametrize(
    ("arguments", "cure"),
    [
        (("ab", 3), "k between 0 and n=2; got 3. Draw more samples"),
        (("ab", -1), "got -1"),
        (([], 1), "n=0; got 1"),
        (("ab", 1, 1), "at least the 2 completions in classes; got 1. Leave n out"),
        (({"a": -1}, 0), "got -1. Pass one class per completion"),
        (({"a": 0.5}, 0), "got 0.5"),
    ],
)
def test_what_does_not_fit_is_refused_with_the_cure(arguments, cure):
    with pytest.raises(ValueError, match=cure):
        rarefied_distinct(*arguments)


def test_counts_of_numpy_are_counts():
    assert simpson(dict(zip("ab", np.array([2, 2]), strict=True))) == 0.5
