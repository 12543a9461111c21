"""Intervals over prompts: draws by hand, coverage in a simulation, prompts without a value."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from divreg.metrics import interval
from divreg.metrics.interval import difference_interval, mean_interval, resampled_means

NAN = math.nan
numbers = st.lists(st.floats(-10, 10), min_size=2, max_size=12)


def test_two_prompts_have_three_means():
    """Draws of 0 and 1 have the means 0, 1/2 and 1, with chances 1/4, 1/2 and 1/4."""
    means = resampled_means("f", np.array([[0.0], [1.0]]), 20_000, seed=0)[:, 0]
    values, counts = np.unique(means, return_counts=True)
    assert values.tolist() == [0.0, 0.5, 1.0]
    np.testing.assert_allclose(counts / 20_000, [0.25, 0.5, 0.25], atol=0.02)
    assert mean_interval([0.0, 1.0])[:3] == (0.5, 0.0, 1.0)
    assert mean_interval([0.0, 1.0], level=0.4)[:3] == (0.5, 0.5, 0.5)


def test_the_width_is_that_of_the_normal_where_prompts_are_many():
    values = np.random.default_rng(0).normal(size=400)
    found = mean_interval(values.tolist(), draws=4000)
    half = 1.96 * values.std() / 20
    assert found.low == pytest.approx(values.mean() - half, abs=0.1 * half)
    assert found.high == pytest.approx(values.mean() + half, abs=0.1 * half)


def test_an_interval_of_95_percent_holds_the_mean_in_about_95_percent_of_cases():
    generator = np.random.default_rng(7)
    inside = 0
    for seed in range(400):
        found = mean_interval(generator.random(60).tolist(), draws=400, seed=seed)
        inside += found.low <= 0.5 <= found.high
    assert 0.91 <= inside / 400 <= 0.98


def test_prompts_without_a_value_are_dropped_and_counted():
    found = mean_interval([None, 1.0, NAN, 3.0, 2.0])
    assert found == mean_interval([1.0, 3.0, 2.0])._replace(dropped=2)
    assert (found.estimate, found.prompts, found.dropped) == (2.0, 3, 2)


def test_a_change_is_of_the_prompts_that_have_both():
    after, before = [1.0, None, 5.0, 4.0], [0.5, 1.0, None, 3.0]
    found = difference_interval(after, before)
    assert found == mean_interval([0.5, None, None, 1.0])
    assert (found.estimate, found.prompts, found.dropped) == (0.75, 2, 2)


def test_what_makes_prompts_differ_cancels():
    before = np.random.default_rng(0).normal(0, 10, 50)
    after = before + 1 + np.random.default_rng(1).normal(0, 0.1, 50)
    found = difference_interval(after.tolist(), before.tolist())
    assert found.low > 0.9
    assert found.high - found.low < 0.1
    assert mean_interval(after.tolist()).low < 0 < mean_interval(after.tolist()).high


def test_no_prompt_and_one():
    for nothing in ([], [None], [NAN, None]):
        found = mean_interval(nothing)
        assert all(math.isnan(x) for x in found[:3])
        assert found[3:] == (0, len(nothing))
    one = mean_interval([2.0, None])
    assert (one.estimate, one.prompts, one.dropped) == (2.0, 1, 1)
    assert math.isnan(one.low)
    assert math.isnan(one.high)


@settings(max_examples=50, deadline=None)
@given(values=numbers, shift=st.floats(-5, 5), seed=st.integers(0, 99))
def test_an_interval_lies_among_the_values_and_moves_with_them(values, shift, seed):
    found = mean_interval(values, draws=50, seed=seed)
    assert min(values) - 1e-9 <= found.low <= found.high <= max(values) + 1e-9
    moved = mean_interval([v + shift for v in values], draws=50, seed=seed)
    assert moved[:3] == pytest.approx([x + shift for x in found[:3]], abs=1e-9)
    assert found == mean_interval(values, draws=50, seed=seed)
    wider = mean_interval(values, draws=50, seed=seed, level=0.99)
    assert wider.low <= found.low <= found.high <= wider.high


def test_blocks_bound_memory_and_change_nothing(monkeypatch):
    values = np.random.default_rng(0).normal(size=(30, 2))
    whole = resampled_means("f", values, 101, seed=3)
    monkeypatch.setattr(interval, "_CELLS", 30 * 2 * 7)
    np.testing.assert_array_equal(resampled_means("f", values, 101, seed=3), whole)


def test_columns_are_drawn_together_and_nan_is_passed_over():
    values = np.array([[1.0, 1.0], [2.0, NAN], [3.0, 3.0]])
    means = resampled_means("f", values, 500, seed=0)
    generator = np.random.default_rng(0)
    for row, drawn in zip(means, generator.integers(3, size=(500, 3)), strict=True):
        assert row[0] == pytest.approx(values[drawn, 0].mean())
        rest = [values[i, 1] for i in drawn if i != 1]
        assert row[1] == pytest.approx(np.mean(rest) if rest else NAN, nan_ok=True)


@pytest.mark.parametrize(
    ("call", "cure"),
    [
        (lambda: mean_interval([1.0, math.inf]), "got inf. Write None"),
        (lambda: mean_interval([1.0, 2.0], level=95), "got 95. Use level=0.95"),
        (lambda: mean_interval([1.0, 2.0], draws=0), "got 0. Use draws=2000"),
        (lambda: difference_interval([1.0], []), "got 1 and 0. Write None"),
        (lambda: difference_interval([math.inf], [math.inf]), "difference_interval needs finite"),
    ],
)
def test_what_does_not_fit_is_refused_with_the_cure(call, cure):
    with pytest.raises(ValueError, match=cure):
        call()
