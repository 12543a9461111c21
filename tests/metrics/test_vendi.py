import itertools
import math
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from divreg.metrics.vendi import k_star, vendi_score, vendi_score_from_embeddings

PAIR = np.array([[1, 0.9, 0], [0.9, 1, 0], [0, 0, 1]])
NEAR = np.array([[100, 0], [99, 1], [0, 100]])
ORDERS = [0, 0.1, 0.5, 1, 1 + 1e-9, 1.5, 2, 7, 1000, math.inf]

orders = st.sampled_from(ORDERS)
rows = st.tuples(st.integers(1, 9), st.integers(1, 5)).flatmap(
    lambda shape: arrays(np.float64, shape, elements=st.integers(-2, 2)).filter(
        lambda x: x.any(axis=1).all()
    )
)


def at(*degrees):
    """Unit vectors in the plane."""
    return np.stack([np.cos(np.radians(degrees)), np.sin(np.radians(degrees))], axis=1)


def gram(x):
    unit = x / np.linalg.norm(x, axis=1, keepdims=True)
    return unit @ unit.T


@pytest.mark.parametrize(
    ("q", "score"),
    [(0.1, 2.845537), (0.5, 2.420348), (1, 2.1573), (2, 1.948052), (math.inf, 1.578947), (0, 3)],
)
def test_worked_numbers_of_every_order(q, score):
    assert vendi_score(PAIR, q) == pytest.approx(score, abs=1e-6)


def test_worked_numbers_with_weights():
    p = (0.5, 0.25, 0.25)
    assert vendi_score(PAIR, 1, p) == pytest.approx(2.009883, abs=1e-6)
    assert vendi_score(PAIR, 2, p) == pytest.approx(1.731602, abs=1e-6)
    assert vendi_score_from_embeddings(NEAR, 1, p) == pytest.approx(1.75479, abs=1e-6)
    assert vendi_score(gram(NEAR), 1, p) == pytest.approx(1.75479, abs=1e-6)


def test_worked_numbers_from_embeddings():
    assert vendi_score_from_embeddings(NEAR) == pytest.approx(1.889882, abs=1e-6)
    assert vendi_score_from_embeddings(NEAR, 2) == pytest.approx(1.8, abs=1e-6)
    assert vendi_score(gram(NEAR)) == pytest.approx(1.889882, abs=1e-6)


@pytest.mark.parametrize(
    ("degrees", "score"),
    [
        ((0, 90, 45, 10), 1.834465),
        ((0, 45, 10), 1.40488),
        ((0, 5, 10, 60), 1.529206),
        ((0, 5, 10), 1.032329),
    ],
)
def test_worked_numbers_in_the_plane(degrees, score):
    assert vendi_score_from_embeddings(at(*degrees)) == pytest.approx(score, abs=1e-6)


def test_worked_numbers_of_channels():
    assert k_star(at(0, 20, 90)) == pytest.approx(1.889882, abs=1e-6)
    rows = [[1, 0, 0], [0.8, 0.6, 0], [0, 0, 1]]
    assert k_star(rows) == pytest.approx(2.347231, abs=1e-6)
    assert k_star(rows) == vendi_score_from_embeddings(rows, 1)
    assert k_star([]) == k_star([[1, 2]]) == 1


@pytest.mark.parametrize("q", ORDERS)
def test_all_different_is_n_and_all_the_same_is_one(q):
    assert vendi_score(np.eye(4), q) == pytest.approx(4)
    assert vendi_score_from_embeddings(np.eye(4), q) == pytest.approx(4)
    assert vendi_score(np.ones((4, 4)), q) == pytest.approx(1)


@pytest.mark.parametrize("q", ORDERS)
@pytest.mark.parametrize("n", [16, 500])
def test_copies_are_one_sample_whatever_rounding_leaves(q, n):
    x = np.tile(np.random.default_rng(0).normal(size=384), (n, 1))
    assert vendi_score_from_embeddings(x, q) == pytest.approx(1, abs=1e-6)
    assert vendi_score(gram(x), q) == pytest.approx(1, abs=1e-6)
    single = gram(x.astype(np.float32))
    assert single.dtype == np.float32
    assert vendi_score(single, q) == pytest.approx(1, abs=1e-5)
    few = [1] * 4 + [0] * (n - 4)
    assert vendi_score(single, q, few) == pytest.approx(1, abs=1e-5)


def test_a_matrix_in_single_precision_counts_what_is_there():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(40, 64))[rng.integers(0, 40, 400)].astype(np.float32)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert vendi_score(gram(x), 0) == 40
        vendi_score(gram(x).astype(np.float64))


@settings(max_examples=200, deadline=None)
@given(x=rows, q=orders, data=st.data())
def test_embeddings_and_their_cosines_agree_by_both_routes(x, q, data):
    p = data.draw(st.none() | arrays(np.float64, len(x), elements=st.integers(1, 4)))
    primal = vendi_score(gram(x), q, p)
    assert vendi_score_from_embeddings(x, q, p) == pytest.approx(primal, rel=1e-6)
    # Columns of zeros change nothing but which of the two matrices is smaller.
    wide = np.hstack([x, np.zeros((len(x), len(x)))])
    assert vendi_score_from_embeddings(wide, q, p) == pytest.approx(primal, rel=1e-6)
    assert 1 - 1e-9 <= primal <= min(x.shape) + 1e-6


@settings(max_examples=100, deadline=None)
@given(x=rows, q=orders, data=st.data())
def test_neither_order_nor_splitting_a_weight_matters(x, q, data):
    order = data.draw(st.permutations(range(len(x))))
    score = vendi_score_from_embeddings(x, q)
    assert vendi_score_from_embeddings(x[order], q) == pytest.approx(score, rel=1e-6)
    counts = data.draw(arrays(np.int64, len(x), elements=st.integers(1, 3)))
    repeated = vendi_score_from_embeddings(np.repeat(x, counts, axis=0), q)
    assert vendi_score_from_embeddings(x, q, counts) == pytest.approx(repeated, rel=1e-6)


@settings(max_examples=100, deadline=None)
@given(x=rows)
def test_it_falls_with_the_order(x):
    scores = [vendi_score_from_embeddings(x, q) for q in ORDERS]
    assert all(b <= a * (1 + 1e-6) for a, b in itertools.pairwise(scores))


@settings(max_examples=50, deadline=None)
@given(x=rows)
def test_order_two_is_the_limit_of_its_neighbours(x):
    around = [vendi_score(gram(x), q) for q in (2 - 1e-6, 2, 2 + 1e-6)]
    assert around[1] == pytest.approx(around[0], rel=1e-4)
    assert around[1] == pytest.approx(around[2], rel=1e-4)


def test_no_sample_and_one():
    for empty in ([], np.zeros((0, 0))):
        assert vendi_score(empty) == vendi_score_from_embeddings(empty) == 0
    assert vendi_score([[1]], 0.1) == vendi_score_from_embeddings([[3, 4]], 0.1) == 1


def test_a_sample_without_weight_is_not_there():
    assert vendi_score(np.eye(3), 1, [1, 1, 0]) == pytest.approx(2)
    assert vendi_score_from_embeddings(np.eye(3), 0, [1, 1, 0]) == pytest.approx(2)


def test_what_is_no_kernel_is_clipped_and_said():
    k = np.array([[1, 0.9, 0], [0.9, 1, 0.9], [0, 0.9, 1]])
    eigenvalues = np.linalg.eigvalsh(k)
    kept = eigenvalues[eigenvalues > 0] / eigenvalues[eigenvalues > 0].sum()
    with pytest.warns(UserWarning, match="negative eigenvalues, down to -0.12 of the largest"):
        score = vendi_score(k)
    assert score == pytest.approx(math.exp(-(kept * np.log(kept)).sum()))
    assert vendi_score(k, 2) == pytest.approx(9 / (k * k).sum())


@pytest.mark.parametrize(
    ("f", "arguments", "cure"),
    [
        (vendi_score, (np.ones((3, 2)),), "Use vendi_score_from_embeddings"),
        (vendi_score, (np.full((2, 2), np.nan),), "zero vector"),
        (vendi_score, (2 * np.eye(2),), "Divide by"),
        (vendi_score, ([[1, 0.5], [0, 1]],), r"Pass \(K \+ K\.T\) / 2"),
        (vendi_score, (PAIR, -1), "Use q=1"),
        (vendi_score_from_embeddings, (NEAR, math.nan), "Use q=1"),
        (vendi_score, (PAIR, 1, [1, 1]), "Pass a list of 3"),
        (vendi_score_from_embeddings, (NEAR, 1, [1, -1, 1]), "Use weights=None"),
        (vendi_score_from_embeddings, (NEAR, 1, [0, 0, 0]), "Use weights=None"),
        (vendi_score_from_embeddings, ([[0, 0]],), "Leave out those texts"),
        (k_star, ([[0, 0]],), "k_star needs"),
    ],
)
def test_bad_input_is_refused_with_the_cure(f, arguments, cure):
    with pytest.raises(ValueError, match=cure):
        f(*arguments)
