import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from divreg.metrics import cosine
from divreg.metrics.cosine import (
    cosine_diversity,
    inter_homogeneity,
    intra_repetition,
    intra_repetition_frac,
    mean_cosine_with_self,
    unit_rows,
)

EVERY = [cosine_diversity, intra_repetition, intra_repetition_frac, mean_cosine_with_self]

# Rows with the cosines .9, .7 and .85.
HIVE = np.linalg.cholesky([[1, 0.9, 0.7], [0.9, 1, 0.85], [0.7, 0.85, 1]])

rows = st.integers(0, 8).flatmap(
    lambda n: arrays(np.float64, (n, 3), elements=st.integers(-3, 3)).filter(
        lambda x: x.any(axis=1).all()
    )
)


def at(*degrees):
    """Unit vectors in the plane."""
    return np.stack([np.cos(np.radians(degrees)), np.sin(np.radians(degrees))], axis=1)


@pytest.mark.parametrize(
    ("degrees", "diversity"),
    [
        ((0, 90, 45, 10), 0.434696),
        ((0, 45, 10), 0.162978),
        ((0, 5, 10, 60), 0.21774),
        ((0, 5, 10), 0.007601),
    ],
)
def test_worked_numbers_of_diversity(degrees, diversity):
    assert cosine_diversity(at(*degrees)) == pytest.approx(diversity, abs=1e-6)


def test_worked_numbers_of_repetition():
    assert intra_repetition(HIVE) == pytest.approx(0.816667, abs=1e-6)
    assert intra_repetition_frac(HIVE, 0.8) == pytest.approx(0.666667, abs=1e-6)
    assert mean_cosine_with_self(HIVE) == pytest.approx(0.877778, abs=1e-6)


@settings(max_examples=200, deadline=None)
@given(x=rows, threshold=st.floats(-1, 1, width=16), block=st.sampled_from([1, 3, 1024]))
def test_they_are_means_over_the_matrix_of_cosines(x, threshold, block):
    unit = x / np.linalg.norm(x, axis=1, keepdims=True) if len(x) else np.zeros((0, 3))
    matrix = unit @ unit.T
    pairs = matrix[~np.eye(len(x), dtype=bool)]
    cosine._ROWS, before = block, cosine._ROWS
    try:
        share = intra_repetition_frac(x, threshold)
    finally:
        cosine._ROWS = before
    if len(x) > 1:
        assert cosine_diversity(x) == pytest.approx(1 - pairs.mean(), abs=1e-12)
        assert intra_repetition(x) == pytest.approx(pairs.mean(), abs=1e-12)
        assert share == (pairs > threshold + 1e-9).mean()
        assert mean_cosine_with_self(x) == pytest.approx(matrix.mean(), abs=1e-12)
        assert 0 <= cosine_diversity(x) <= len(x) / (len(x) - 1) + 1e-12


@settings(max_examples=100, deadline=None)
@given(data=st.data(), x=rows, y=rows)
def test_neither_order_nor_length_matters(data, x, y):
    order = data.draw(st.permutations(range(len(x))))
    factors = data.draw(arrays(np.float64, len(x), elements=st.floats(1e-3, 1e3)))
    other = (x * factors[:, None])[order]
    for f in EVERY:
        assert f(other) == pytest.approx(f(x), abs=1e-9)
    assert inter_homogeneity(other, y) == pytest.approx(inter_homogeneity(y, x), abs=1e-9)


@settings(max_examples=50, deadline=None)
@given(x=rows.filter(len), y=rows.filter(len))
def test_homogeneity_is_the_mean_across_two_models(x, y):
    matrix = unit_rows(x, "") @ unit_rows(y, "").T
    assert inter_homogeneity(x, y) == pytest.approx(matrix.mean(), abs=1e-12)


def test_copies_have_no_diversity_and_opposites_more_than_one():
    copies = np.tile([0.1, 0.7, 0.3], (50, 1))
    assert cosine_diversity(copies) == pytest.approx(0, abs=1e-12)
    assert cosine_diversity(copies) >= 0
    assert intra_repetition(copies) <= 1
    assert intra_repetition_frac(copies, 1.0) == 0
    assert intra_repetition_frac(copies, 0.999) == 1
    assert cosine_diversity([[1, 0], [-1, 0]]) == 2
    assert inter_homogeneity([[1, 0]], [[-2, 0]]) == -1


@pytest.mark.parametrize("empty", [[], np.zeros((0, 3))])
def test_none_and_one(empty):
    for f in EVERY:
        assert f(empty) == 0
    for f in EVERY[:3]:
        assert f([[1, 2]]) == 0
    assert mean_cosine_with_self([[1, 2]]) == pytest.approx(1)
    assert inter_homogeneity(empty, [[1, 2]]) == inter_homogeneity([[1, 2]], empty) == 0


def test_lengths_beyond_the_squares_of_floats():
    x = [[1e200, 0], [1e-200, 1e-200], [5e-324, 0]]
    assert cosine_diversity(x) == pytest.approx(cosine_diversity([[1, 0], [1, 1], [1, 0]]))


def test_the_input_is_left_as_it_was():
    x = np.array([[3.0, 4.0], [1.0, 0.0]])
    cosine_diversity(x)
    assert x.tolist() == [[3, 4], [1, 0]]


@pytest.mark.parametrize("f", EVERY)
@pytest.mark.parametrize(
    ("x", "says"),
    [
        ([[1, 0], [0, 0], [0, 1], [0, 0]], r"zeros in rows \[1, 3\]. Leave out"),
        ([[1, np.nan], [1, 2]], r"rows \[0\]. Look at what computed them"),
        ([[1, np.inf], [1, 2]], r"rows \[0\]"),
        ([1, 2, 3], r"got \(3,\). Pass one row per text"),
        (np.zeros((2, 0)), "other than zero"),
    ],
)
def test_bad_input_is_refused_with_the_cure(f, x, says):
    with pytest.raises(ValueError, match=f"{f.__name__} needs .*{says}"):
        f(x)


def test_two_encoders_are_refused():
    with pytest.raises(ValueError, match="same encoder"):
        inter_homogeneity([[1, 0]], [[1, 0, 0]])
