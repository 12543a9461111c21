import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from divreg.metrics.mauve import mauve_from_histograms

pairs = st.integers(1, 5).flatmap(
    lambda k: st.tuples(
        *[arrays(np.int64, k, elements=st.integers(0, 5)).filter(np.any) for _ in "pq"]
    )
)


def test_worked_numbers():
    p, q = [0.5, 0.3, 0.2], [0.2, 0.3, 0.5]
    assert mauve_from_histograms(p, q) == pytest.approx(0.82141, abs=1e-6)
    assert mauve_from_histograms(p, p) == 1
    assert mauve_from_histograms([1, 0], [0, 1]) == pytest.approx(0.004072, abs=1e-6)


def test_two_points_by_hand():
    """With w almost 0 and almost 1 the curve runs (1, 0), (1, e^-cKL), (e^-cKL, 1), (0, 1)."""
    near = math.exp(-(0.5 * math.log(0.5 / 0.25) + 0.5 * math.log(0.5 / 0.75)))
    back = math.exp(-(0.25 * math.log(0.25 / 0.5) + 0.75 * math.log(0.75 / 0.5)))
    area = near + (1 + back) / 2 * (1 - near)
    found = mauve_from_histograms([1, 1], [1, 3], scale=1, points=2)
    assert found == pytest.approx(area, abs=1e-5)


@settings(max_examples=100, deadline=None)
@given(data=st.data(), pair=pairs, scale=st.sampled_from([0.5, 5, 20]))
def test_neither_order_of_bins_nor_size_nor_side_matters(data, pair, scale):
    p, q = pair
    value = mauve_from_histograms(p, q, scale)
    assert 0 <= value <= 1
    order = data.draw(st.permutations(range(len(p))))
    assert mauve_from_histograms(q[order], 7 * p[order], scale) == pytest.approx(value, abs=1e-9)
    assert mauve_from_histograms(p, p, scale) == pytest.approx(1)
    empty = np.zeros(2, dtype=int)
    longer = mauve_from_histograms(np.append(p, empty), np.append(q, empty), scale)
    assert longer == pytest.approx(value)


@settings(max_examples=50, deadline=None)
@given(pair=pairs)
def test_a_higher_scale_lowers_it(pair):
    values = [mauve_from_histograms(*pair, scale=c) for c in (0.5, 2, 5, 20)]
    assert all(b <= a + 1e-12 for a, b in itertools.pairwise(values))


def test_nothing_is_near_nothing():
    assert mauve_from_histograms([], []) == 0
    assert mauve_from_histograms([0, 0], [1, 1]) == 0


@pytest.mark.parametrize(
    ("arguments", "cure"),
    [
        (([1, 2], [1]), "Write 0 for a bin"),
        (([1, -2], [1, 1]), r"Use numpy\.bincount"),
        (([1, math.nan], [1, 1]), r"Use numpy\.bincount"),
        (([[1, 2]], [[1, 2]]), r"Use numpy\.bincount"),
        (([1], [1], 0), r"Use scale=5\.0"),
        (([1], [1], 5, 1), "points=25"),
    ],
)
def test_bad_input_is_refused_with_the_cure(arguments, cure):
    with pytest.raises(ValueError, match=cure):
        mauve_from_histograms(*arguments)
