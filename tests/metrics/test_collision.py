"""How often two draws are alike: worked numbers, loops over pairs, a bound by divergence."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from divreg.metrics.collision import (
    collision,
    collision_of_classes,
    collision_of_similarity,
    collision_ratio,
)

P, Q = [0.5, 0.3, 0.2], [0.8, 0.1, 0.1]
SOFT = [[1, 0.5, 0], [0.5, 1, 0], [0, 0, 1]]

weights = st.lists(st.floats(0.01, 1), min_size=3, max_size=3).map(
    lambda w: np.array(w) / np.sum(w)
)


def test_the_worked_numbers_of_equality():
    assert collision(P) == pytest.approx(0.38)
    assert collision(Q) == pytest.approx(0.66)
    assert collision_ratio(Q, P) == pytest.approx(1.736842, abs=5e-7)


def test_the_worked_numbers_of_a_kernel():
    assert collision(P, SOFT) == pytest.approx(0.53)
    assert collision(Q, SOFT) == pytest.approx(0.74)
    assert collision_ratio(Q, P, SOFT) == pytest.approx(1.396226, abs=5e-7)
    assert collision(P, np.eye(3)) == pytest.approx(collision(P))


def test_the_worked_bound_by_divergence():
    kl = sum(p * math.log(p / q) for p, q in zip(P, Q, strict=True))
    assert kl == pytest.approx(0.233211, abs=5e-7)
    assert math.sqrt(kl) == pytest.approx(0.482920, abs=5e-7)
    assert abs(collision(P) - collision(Q)) <= math.sqrt(kl)


@settings(max_examples=100, deadline=None)
@given(p=weights, q=weights)
def test_no_change_of_collisions_is_larger_than_the_root_of_the_divergence(p, q):
    bound = math.sqrt(max(0.0, float((p * np.log(p / q)).sum())))
    for kernel in (None, SOFT):
        assert abs(collision(p, kernel) - collision(q, kernel)) <= bound + 1e-9
    assert 1 / 3 - 1e-12 <= collision(p) <= 1
    assert collision_ratio(p, q) * collision_ratio(q, p) == pytest.approx(1)


@settings(max_examples=100, deadline=None)
@given(classes=st.lists(st.integers(0, 3), min_size=2, max_size=9), data=st.data())
def test_samples_are_those_of_a_loop_over_pairs(classes, data):
    pairs = list(itertools.combinations(classes, 2))
    expected = sum(a == b for a, b in pairs) / len(pairs)
    shuffled = data.draw(st.permutations(classes))
    assert collision_of_classes(shuffled) == pytest.approx(expected)
    same = np.equal.outer(shuffled, shuffled).astype(float)
    np.fill_diagonal(same, data.draw(st.floats(-5, 5)))  # the diagonal is not read
    assert collision_of_similarity(same) == pytest.approx(expected)


def test_samples_estimate_the_distribution_without_bias():
    """All samples of 3, weighed by their chance."""
    k = np.array(SOFT)
    found = np.zeros(2)
    for s in itertools.product(range(3), repeat=3):
        chance = math.prod(P[i] for i in s)
        found += chance * np.array(
            [collision_of_classes(s), collision_of_similarity(k[s, :][:, s])]
        )
    np.testing.assert_allclose(found, [0.38, 0.53])


def test_no_sample_and_one():
    assert math.isnan(collision_of_classes([]))
    assert math.isnan(collision_of_classes(["a"]))
    for nothing in ([], np.zeros((0, 0)), [[1.0]]):
        assert math.isnan(collision_of_similarity(nothing))
    assert collision([1.0]) == 1
    assert math.isnan(collision_ratio(P, P, np.zeros((3, 3))))


@pytest.mark.parametrize(
    ("call", "cure"),
    [
        (lambda: collision([5, 3, 2]), "got a sum of 10, the least 2. Divide counts"),
        (lambda: collision([1.5, -0.5]), "the least -0.5"),
        (lambda: collision([math.nan, 1.0]), "a sum of nan"),
        (lambda: collision([]), "a sum of 0"),
        (lambda: collision([[1.0]]), "got shape"),
        (lambda: collision(P, np.eye(2)), r"got shape \(2, 2\) for 3. Pass k\[i\]\[j\]"),
        (lambda: collision(P, np.full((3, 3), np.nan)), "zero vector"),
        (lambda: collision_ratio(P, [0.5, 0.5]), "got 3 and 2. Give an outcome"),
        (lambda: collision_of_similarity([[1.0, 0.5]]), "square kernel"),
    ],
)
def test_what_does_not_fit_is_refused_with_the_cure(call, cure):
    with pytest.raises(ValueError, match=cure):
        call()
