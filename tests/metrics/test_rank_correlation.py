import math

import pytest

from divreg.metrics.rank_correlation import rank_correlation


def test_by_hand():
    assert rank_correlation([1, 2, 3, 4], [10, 20, 30, 1000]) == 1
    assert rank_correlation([1, 2, 3], [9, 1, 0]) == -1
    # Ranks 1 2 3 4 and 2 1 4 3: 1 - 6 (1 + 1 + 1 + 1) / (4 * 15).
    assert rank_correlation([1, 2, 3, 4], [2, 1, 4, 3]) == pytest.approx(0.6)
    # Ranks 1 2 3 and 1.5 1.5 3: covariance 1.5 over sqrt(2 * 1.5).
    assert rank_correlation([1, 2, 3], [5, 5, 9]) == pytest.approx(1.5 / math.sqrt(3))


def test_where_nothing_varies_there_is_none():
    for x, y in (([], []), ([1], [1]), ([1, 2], [3, 3]), ([1, 1], [3, 4])):
        assert math.isnan(rank_correlation(x, y))


@pytest.mark.parametrize(("x", "y"), [([1, 2], [1]), ([1, 2], [1, math.nan]), ([1, 2], [1, 1e999])])
def test_what_does_not_fit_is_refused_with_the_cure(x, y):
    with pytest.raises(ValueError, match="Leave out what has no number"):
        rank_correlation(x, y)
