"""The most likely tokens: worked numbers, a sorted loop, and series that turn or leak."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from divreg.metrics.topk import leak, reversal, topk_entropy_bits, topk_mass

TWELVE = [4, 3, 2.5, 2, 1.5, 1, 0.5, 0, -0.5, -1, -1.5, -2]

rows = st.integers(1, 14).flatmap(lambda v: arrays(np.float64, v, elements=st.floats(-10, 10)))


def test_the_worked_numbers():
    assert topk_mass(TWELVE) == pytest.approx(0.996600, abs=5e-7)
    assert topk_entropy_bits(TWELVE) == pytest.approx(2.136771, abs=5e-7)
    assert topk_entropy_bits(TWELVE, shares="raw") == pytest.approx(2.134403, abs=5e-7)
    assert topk_entropy_bits(TWELVE, k=12) == pytest.approx(2.165534, abs=5e-7)


def test_ten_equal_tokens_have_log2_of_ten_bits():
    assert topk_entropy_bits(np.zeros(10)) == pytest.approx(3.321928, abs=5e-7)
    assert topk_entropy_bits(np.zeros(1000)) == pytest.approx(3.321928, abs=5e-7)
    assert topk_mass(np.zeros(1000)) == pytest.approx(0.01)


@settings(max_examples=150, deadline=None)
@given(z=rows, k=st.integers(1, 16), data=st.data())
def test_both_are_those_of_a_sorted_loop(z, k, data):
    p = sorted((math.exp(x) for x in z), reverse=True)
    p = [x / sum(p) for x in p][:k]
    shuffled = data.draw(st.permutations(z))
    assert topk_mass(shuffled, k=k) == pytest.approx(sum(p))
    raw = -sum(x * math.log2(x) for x in p)
    assert topk_entropy_bits(shuffled, k=k, shares="raw") == pytest.approx(raw, abs=1e-9)
    scaled = -sum(x / sum(p) * math.log2(x / sum(p)) for x in p)
    found = topk_entropy_bits(shuffled, k=k)
    assert found == pytest.approx(scaled, abs=1e-9)
    assert 0 <= found <= math.log2(min(k, len(z))) + 1e-12


@pytest.mark.parametrize("v", [639, 640, 1000])
def test_a_large_vocabulary_is_searched_in_lanes_and_has_the_same_ten(v):
    """Rows that are flat, tied, rising, falling, and of one token: the bound has many or few."""
    rng = np.random.default_rng(v)
    rise = np.linspace(0, 5, v)
    z = np.stack([np.zeros(v), rise, -rise, np.round(rise), 9 * (rise > 4.999), rng.normal(size=v)])
    p = np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)
    assert topk_mass(z) == pytest.approx(np.sort(p)[:, -10:].sum(axis=1), abs=1e-12)
    assert topk_mass(z.reshape(2, 3, v)).shape == (2, 3)


def test_probabilities_and_log_probabilities_are_the_same_question():
    p = np.exp(TWELVE) / np.exp(TWELVE).sum()
    for given_as in ({"probs": p}, {"logits": np.log(p)}):
        assert topk_entropy_bits(**given_as) == pytest.approx(2.136771, abs=5e-7)
    assert topk_mass(probs=p[:11]) == pytest.approx(0.996600, abs=5e-7)  # the tail was not sent


def test_a_batch_keeps_its_shape_and_one_token_is_certain():
    assert topk_entropy_bits(np.zeros((2, 3, 20))).shape == (2, 3)
    assert topk_mass(np.zeros((2, 3, 20))).shape == (2, 3)
    assert topk_mass(np.zeros((0, 20))).shape == (0,)
    assert topk_entropy_bits([7.0]) == 0
    assert topk_mass([7.0]) == 1


def test_a_turn_needs_its_depth_and_its_patience():
    rise_and_fall = [1.0, 1.5, 2.0, 1.9, 1.7, 1.6, 1.5]
    assert reversal(rise_and_fall, delta=0.2, patience=1, window=1) == 4
    assert reversal(rise_and_fall, delta=0.2, patience=3, window=1) == 6
    assert reversal(rise_and_fall, delta=0.2, patience=4, window=1) is None
    assert reversal(rise_and_fall, delta=0.6, patience=1, window=1) is None


def test_a_dip_starts_the_patience_again():
    assert reversal([2.0, 1.0, 2.0, 1.0, 1.0], delta=0.5, patience=2, window=1) == 4


def test_smoothing_hides_one_bad_check():
    noisy = [2.0, 2.0, 2.0, 1.0, 2.0, 2.0]
    assert reversal(noisy, delta=0.5, patience=1, window=1) == 3
    assert reversal(noisy, delta=0.5, patience=1, window=3) is None


def test_a_series_that_only_rises_or_stays_never_turns():
    assert reversal([0.1 * i for i in range(50)], delta=0.0, patience=1) is None
    assert reversal([1.0] * 50, delta=0.0, patience=1, window=1) is None


def test_a_leak_is_measured_from_the_first_value():
    assert leak([0.9, 0.99, 0.89, 0.88, 0.84], delta=0.05) == 4
    assert leak([0.9, 0.99, 0.89], delta=0.05) is None


def test_checks_without_a_value_are_passed_over_and_keep_their_place():
    assert leak([None, 0.9, math.nan, 0.8], delta=0.05) == 3
    assert reversal([None, 2.0, math.nan, 1.0, None, 1.0], delta=0.5, patience=2, window=1) == 5


@pytest.mark.parametrize("series", [[], [1.0], [None], [math.nan]])
def test_no_value_and_one_say_nothing(series):
    assert reversal(series, delta=0.0, patience=1) is None
    assert leak(series, delta=0.0) is None


@settings(max_examples=100, deadline=None)
@given(
    series=st.lists(st.floats(0, 4), max_size=15),
    delta=st.floats(0, 1),
    patience=st.integers(1, 4),
    window=st.integers(1, 4),
)
def test_what_comes_later_does_not_change_when_it_fires(series, delta, patience, window):
    at = reversal(series, delta, patience, window)
    if at is not None:
        assert reversal(series[: at + 1], delta, patience, window) == at
        assert reversal(series[:at], delta, patience, window) is None
    first = leak(series, delta)
    assert first == next((i for i, x in enumerate(series) if x < series[0] - delta), None)


@pytest.mark.parametrize(
    ("call", "cure"),
    [
        (lambda: topk_mass([1.0], k=0), "topk_mass needs k of at least 1; got 0. Use k=10"),
        (lambda: topk_entropy_bits([1.0], shares="all"), "Use shares='renormalised'"),
        (lambda: topk_entropy_bits(), "needs either logits or probs"),
        (lambda: reversal([1.0], delta=-1), "delta of at least 0; got -1"),
        (lambda: reversal([1.0], delta=math.nan), "got nan"),
        (lambda: reversal([1.0], delta=1, patience=0), "patience of at least 1"),
        (lambda: reversal([1.0], delta=1, window=0), "window of at least 1"),
        (lambda: leak([1.0], delta=-1), r"Write leak\(series, delta=0.05\)"),
    ],
)
def test_what_does_not_fit_is_refused_with_the_cure(call, cure):
    with pytest.raises(ValueError, match=cure):
        call()
