"""Axes and rows that can be computed by hand."""

import numpy as np
import pytest

from divreg.data.selection import principal_axes, select_per_axis

# Correlation 0.8: variances 1.8 and 0.2 of 2 on the sum and the difference.
SCORES = np.array([[1, 2], [2, 1], [3, 4], [4, 3]], dtype=float)


def test_two_scores_by_hand():
    values, loadings, variance = principal_axes(SCORES)
    half = 0.5**0.5
    assert loadings == pytest.approx(np.array([[half, half], [half, -half]]))
    assert variance == pytest.approx([0.8, 0.2])
    spread = 1.25**0.5
    assert values[:, 0] == pytest.approx(np.array([-2, -2, 2, 2]) * half / spread)
    assert values[:, 1] == pytest.approx(np.array([-1, 1, -1, 1]) * half / spread)


def test_units_do_not_matter_and_a_constant_score_says_nothing():
    other = np.column_stack([SCORES[:, 0] * 1000, SCORES[:, 1] - 7, np.full(4, 3.0)])
    values, loadings, _ = principal_axes(other)
    assert values == pytest.approx(principal_axes(SCORES).values)
    assert loadings[:, 2].tolist() == [0, 0]


def test_axes_select_rows_that_the_mean_does_not():
    scores = [[9, 9], [8, 8], [7, 4], [2, 3], [1, 2], [0, 0]]
    assert select_per_axis(scores, 2) == ([0, 1, 2], [[0, 1], [2, 1]], 1 / 3)
    assert select_per_axis(scores, 2, axes=1).rows == [0, 1]


def test_rows_that_are_bad_in_all_are_not_selected_for_their_difference():
    scores = [[9, 9], [8, 8], [7, 4], [2, 3], [1, 2], [0, 0]]
    assert 5 in select_per_axis(scores, 2, least=-np.inf).by_axis[1]
    assert select_per_axis(scores, 6).rows == [0, 1, 2]


def test_what_cannot_be_selected_from_is_refused():
    for call, message in (
        (lambda: select_per_axis(SCORES, 5), "k of 1 to 4"),
        (lambda: select_per_axis(SCORES, 1, axes=0), "at least one axis"),
        (lambda: select_per_axis(SCORES, 1, least=3), "no row with a mean of 3"),
        (lambda: principal_axes([[1, 2], [1, 2]]), "all alike"),
        (lambda: principal_axes([[1, np.nan]]), "1 of them not finite"),
        (lambda: principal_axes([1, 2]), r"got shape \(2,\)"),
    ):
        with pytest.raises(ValueError, match=message):
            call()
