"""Branching factor: worked numbers, truncation against a loop, and ragged samples."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from divreg.metrics.branching_factor import branching_factor, branching_factor_aep, nucleus

THREE = [[1.2, 0.8, 0.4], [1.0, 0.6, 0.2], [0.8, 1.0, 0.6]]
RAGGED = [[1.2, 0.8, 0.4], [1.0, 0.6]]
FIVE = [0.5, 0.3, 0.15, 0.04, 0.01]

logits = st.integers(1, 9).flatmap(lambda v: arrays(np.float64, v, elements=st.floats(-20, 20)))


def kept_by_a_loop(p, top_p):
    kept, total = [], 0.0
    for x in sorted(p, reverse=True):
        kept.append(x)
        total += x
        if total >= top_p - 1e-12:
            break
    return kept


def test_three_samples():
    found = branching_factor(THREE, min_samples=1)
    assert math.log(found) == pytest.approx(0.733333, abs=5e-7)
    assert found == pytest.approx(2.082009, abs=5e-7)


def test_ragged_samples_average_over_those_that_are_alive():
    found = branching_factor(RAGGED, min_samples=1, length_quantile=1)
    assert found == pytest.approx(2.082009, abs=5e-7)
    assert found == pytest.approx(math.exp((1.1 + 0.7 + 0.4) / 3))


def test_the_mean_of_each_sample_by_itself_is_another_number():
    """2.225541 among the worked numbers: both samples have a mean of 0.8 nats."""
    each = [branching_factor([row], min_samples=1) for row in RAGGED]
    assert each == pytest.approx([2.225541, 2.225541], abs=5e-7)


def test_a_position_needs_its_number_of_samples():
    assert branching_factor(RAGGED, min_samples=2, length_quantile=1) == pytest.approx(
        math.exp((1.1 + 0.7) / 2)
    )
    assert math.isnan(branching_factor(THREE))  # three samples; four are needed by default
    assert branching_factor([*THREE, [1.0, 1.0, 1.0]]) == pytest.approx(
        math.exp((1.0 + 0.85 + 0.55) / 3)
    )


def test_the_longest_samples_are_cut_at_a_quantile_rounded_down():
    """Lengths 1, 1, 1 and 3: the quantile .95 is 2.7."""
    rows = [[1.0], [1.0], [1.0], [1.0, 3.0, 9.0]]
    assert branching_factor(rows, min_samples=1) == pytest.approx(math.exp(2))
    assert branching_factor(rows, min_samples=1, length_quantile=0) == pytest.approx(math.e)


def test_log_probabilities_of_three_samples():
    rows = [[-1.5, -0.5, -0.2], [-0.7, -0.9, -0.1], [-1.1, -0.4, -0.3]]
    found = branching_factor_aep(rows)
    assert math.log(found) == pytest.approx(0.633333, abs=5e-7)
    assert found == pytest.approx(1.883880, abs=5e-7)


def test_each_sample_counts_once_however_long():
    assert branching_factor_aep([[-1.0], [-3.0] * 100, []]) == pytest.approx(math.exp(2))


def test_both_estimators_agree_on_a_source_without_memory():
    """Draws of (.5, .25, .25) have log-probabilities with the entropy, 1.5 bits, as their mean."""
    logs = np.log([0.5, 0.25, 0.25])
    generator = np.random.default_rng(0)
    drawn = logs[generator.choice(3, p=[0.5, 0.25, 0.25], size=(50, 400))]
    assert branching_factor_aep(list(drawn)) == pytest.approx(2**1.5, rel=0.01)
    assert branching_factor([[1.5 * math.log(2)] * 4] * 4) == pytest.approx(2**1.5)


def test_truncation_keeps_three_of_five():
    left = nucleus(probs=FIVE)
    assert left.tokens == 3
    assert left.mass == pytest.approx(0.95)
    assert left.entropy_nats == pytest.approx(0.993268, abs=5e-7)
    assert nucleus(probs=FIVE, top_p=1).entropy_nats == pytest.approx(1.167140, abs=5e-7)


def test_a_sum_that_reaches_top_p_but_for_rounding_has_reached_it():
    assert 0.6 + 0.3 < 0.9
    assert nucleus(probs=[0.6, 0.3, 0.1]).tokens == 2


def test_a_top_p_of_one_keeps_every_token_however_improbable():
    assert nucleus([0.0, -60.0], top_p=1).tokens == 2
    assert nucleus([0.0, -60.0, -np.inf], top_p=1).tokens == 2


def test_greedy_decoding_is_one():
    left = nucleus([[0.0, 50.0, -np.inf]])
    assert left.entropy_nats == pytest.approx(0)
    assert nucleus([3.0, 2.0], top_p=1e-9).entropy_nats == 0
    assert branching_factor([[0.0, 0.0]] * 4) == 1
    assert branching_factor_aep([[0.0, 0.0]]) == 1


def test_tokens_that_do_not_hold_top_p_say_so():
    left = nucleus(probs=[0.4, 0.3])
    assert left.mass == pytest.approx(0.7)
    assert left.tokens == 2


@settings(max_examples=200, deadline=None)
@given(z=logits, top_p=st.floats(0.01, 0.99), data=st.data())
def test_truncation_is_that_of_a_loop(z, top_p, data):
    p = np.exp(z - z.max())
    p /= p.sum()
    kept = np.array(kept_by_a_loop(p, top_p))
    left = nucleus(data.draw(st.permutations(z)), top_p=top_p)
    if left.tokens != len(kept):  # nearer to top_p than rounding tells
        assert abs(np.sort(p)[::-1].cumsum() - top_p).min() < 1e-9
        return
    assert left.mass == pytest.approx(kept.sum())
    share = kept / kept.sum()
    share = share[share > 0]
    assert left.entropy_nats == pytest.approx(-(share * np.log(share)).sum(), abs=1e-9)
    assert 0 <= left.entropy_nats <= math.log(left.tokens) + 1e-12


@settings(max_examples=100, deadline=None)
@given(
    rows=st.lists(st.lists(st.floats(0, 12), max_size=6), max_size=7),
    least=st.integers(1, 4),
    data=st.data(),
)
def test_the_order_of_samples_does_not_matter(rows, least, data):
    found = branching_factor(rows, min_samples=least)
    other = branching_factor(data.draw(st.permutations(rows)), min_samples=least)
    assert found == pytest.approx(other, nan_ok=True)
    assert math.isnan(found) or found >= 1


def test_a_batch_is_its_rows():
    z = np.random.default_rng(0).normal(size=(2, 3, 20)) * 3
    whole = nucleus(z)
    assert whole.entropy_nats.shape == whole.mass.shape == whole.tokens.shape == (2, 3)
    for i in np.ndindex(2, 3):
        one = nucleus(z[i])
        assert whole.entropy_nats[i] == pytest.approx(float(one.entropy_nats))
        assert whole.tokens[i] == one.tokens


def test_no_sample_and_one():
    for nothing in ([], [[]], [[], []]):
        assert math.isnan(branching_factor(nothing))
        assert math.isnan(branching_factor_aep(nothing))
    assert branching_factor([[1.0]], min_samples=1) == pytest.approx(math.e)
    assert branching_factor_aep([[-1.0]]) == pytest.approx(math.e)
    assert nucleus(np.zeros((0, 5))).mass.shape == (0,)


@pytest.mark.parametrize(
    ("call", "cure"),
    [
        (lambda: branching_factor([[-1.0]]), "belong in branching_factor_aep"),
        (lambda: branching_factor([[1.0]], 0), "min_samples=4"),
        (lambda: branching_factor([[1.0]], 1, 1.5), "got 1 and 1.5"),
        (lambda: branching_factor([[math.nan]]), "got nan. Cut padding off"),
        (lambda: branching_factor([[[1.0]]]), "got shape"),
        (lambda: branching_factor_aep([[1.0]]), "belong in branching_factor"),
        (lambda: branching_factor_aep([[-math.inf]]), "got -inf"),
        (lambda: nucleus([1.0], top_p=0), "Use top_p=0.9"),
    ],
)
def test_what_cannot_be_read_is_refused_with_the_cure(call, cure):
    with pytest.raises(ValueError, match=cure):
        call()
