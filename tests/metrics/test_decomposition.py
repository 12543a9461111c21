"""The loss between two checkpoints in two parts: worked numbers, and draws that add up."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from divreg.metrics.decomposition import decomposition, decomposition_intervals

BASE = [(0.40, 0.30), (0.50, 0.20), (0.30, None)]
POST = [(0.20, 0.18), (0.10, 0.08), (0.12, 0.06)]

value = st.none() | st.floats(0, 1)
prompts = st.lists(st.tuples(value, value, value, value), min_size=1, max_size=7)


def distance(angles):
    """1 minus the mean cosine of all pairs of unit vectors in the plane, by degrees."""
    cosines = [math.cos(math.radians(a - b)) for a, b in itertools.combinations(angles, 2)]
    return 1 - sum(cosines) / len(cosines)


def split(rows):
    return [r[:2] for r in rows], [r[2:] for r in rows]


def test_one_prompt_of_four_vectors_before_and_after():
    base = (distance([0, 90, 45, 10]), distance([0, 45, 10]))
    post = (distance([0, 5, 10, 60]), distance([0, 5, 10]))
    assert base == pytest.approx((0.434696, 0.162978), abs=5e-7)
    assert post == pytest.approx((0.217740, 0.007601), abs=5e-7)
    found = decomposition([base], [post])
    assert found.total == pytest.approx(0.216957, abs=5e-7)
    assert found.residual == pytest.approx(0.155377, abs=5e-7)
    assert found.quality == pytest.approx(0.061580, abs=5e-7)
    assert found.genuine_frac == pytest.approx(0.716166, abs=5e-7)
    assert (found.pairs, found.prompts) == (1, 1)


def test_any_measure_of_diversity_splits_the_same_way():
    """Vendi scores of the same vectors; the differences by hand."""
    found = decomposition([(1.834465, 1.404880)], [(1.529206, 1.032329)])
    assert found.total == pytest.approx(0.305259)
    assert found.residual == pytest.approx(0.372551)
    assert found.quality == pytest.approx(-0.067292)
    assert found.genuine_frac == pytest.approx(0.372551 / 0.305259)


def test_a_prompt_without_two_correct_answers_moves_the_unpaired_result():
    unpaired = decomposition(BASE, POST, pairing="unpaired")
    assert unpaired[:4] == pytest.approx((0.260000, 0.116667, 0.143333, 0.551282), abs=5e-7)
    paired = decomposition(BASE, POST)
    assert paired[:4] == pytest.approx((0.300000, 0.180000, 0.120000, 0.400000), abs=5e-7)
    assert paired[4:] == unpaired[4:] == (2, 3)


def test_nothing_lost_has_no_fraction():
    for base, post in ([(0.5, 0.2)], [(0.5, 0.1)]), ([(0.4, 0.2)], [(0.5, 0.1)]):
        assert math.isnan(decomposition(base, post).genuine_frac)
    shuffled = [(0.1, 0.1), (0.2, 0.2), (0.3, 0.3)]
    assert math.isnan(decomposition(shuffled, shuffled[::-1]).genuine_frac)  # 0 but for rounding


def test_no_prompt_and_no_pair():
    for base, post in ([], []), ([(None, None)], [(0.1, 0.1)]), ([(0.4, None)], [(0.1, 0.1)]):
        found = decomposition(base, post)
        assert all(math.isnan(x) for x in found[:4])
        assert found[4:] == (0, len(base))
    half = decomposition([(0.4, None)], [(0.1, 0.1)], pairing="unpaired")
    assert half.total == pytest.approx(0.3)
    assert math.isnan(half.residual)


@settings(max_examples=100, deadline=None)
@given(rows=prompts, data=st.data(), pairing=st.sampled_from(["paired", "unpaired"]))
def test_the_parts_add_up_in_any_order_of_prompts(rows, data, pairing):
    found = decomposition(*split(rows), pairing=pairing)
    other = decomposition(*split(data.draw(st.permutations(rows))), pairing=pairing)
    assert found[:3] == pytest.approx(other[:3], nan_ok=True, abs=1e-12)
    assert found.total == pytest.approx(found.quality + found.residual, nan_ok=True, abs=1e-12) or (
        math.isnan(found.residual)
    )
    full = [r for r in rows if None not in r]
    assert found.pairs == len(full)
    if full and pairing == "paired":
        assert found.total == pytest.approx(np.mean([r[0] - r[2] for r in full]), abs=1e-12)
        assert found.residual == pytest.approx(np.mean([r[1] - r[3] for r in full]), abs=1e-12)


def lineage(n, seed=0, missing=0):
    """A loss of .3 and a residual of .12 for each of ``n`` prompts, with noise."""
    noise = np.random.default_rng(seed).normal(0, 0.05, size=(4, n))
    means = np.array([0.6, 0.3, 0.3, 0.18])[:, None] + noise
    base = [(a, None if i < missing else c) for i, (a, c) in enumerate(means[:2].T.tolist())]
    return base, [tuple(row) for row in means[2:].T.tolist()]


def test_intervals_are_around_the_parts_and_count_their_prompts():
    base, post = lineage(80, missing=5)
    point, found = decomposition(base, post), decomposition_intervals(base, post)
    for part, estimate in zip(found[:4], point[:4], strict=True):
        assert part.low < part.estimate < part.high
        assert part.estimate == estimate
        assert (part.prompts, part.dropped) == (75, 5)
    assert found.total.low < 0.3 < found.total.high
    assert found.genuine_frac.low < 0.4 < found.genuine_frac.high
    assert found.undefined_frac == 0


@pytest.mark.parametrize("pairing", ["paired", "unpaired"])
def test_intervals_are_the_quantiles_of_decompositions_of_resampled_prompts(pairing):
    base, post = lineage(9, seed=2, missing=3)
    keep = range(9) if pairing == "unpaired" else range(3, 9)
    base, post = [base[i] for i in keep], [post[i] for i in keep]
    rows = np.random.default_rng(0).integers(len(base), size=(300, len(base)))
    slow = [
        decomposition([base[i] for i in r], [post[i] for i in r], pairing=pairing)[:4] for r in rows
    ]
    found = decomposition_intervals(base, post, pairing=pairing, draws=300)
    for part, column in zip(found[:4], np.array(slow).T, strict=True):
        assert (part.low, part.high) == pytest.approx(np.nanquantile(column, [0.025, 0.975]))


def test_a_fraction_of_almost_nothing_is_reported_as_such():
    base = [(0.5 + d, 0.2) for d in (-0.2, 0.2, -0.1, 0.11)]
    found = decomposition_intervals(base, [(0.5, 0.1)] * 4)
    assert 0.3 < found.undefined_frac < 0.7
    gained = decomposition_intervals([(0.1, 0.1)] * 3, [(0.2, 0.2)] * 3)
    assert gained.undefined_frac == 1
    assert math.isnan(gained.genuine_frac.low)


def test_one_prompt_has_no_interval():
    found = decomposition_intervals([(0.5, 0.2)], [(0.3, 0.1)])
    assert found.total.estimate == pytest.approx(0.2)
    assert math.isnan(found.total.low)
    assert math.isnan(found.genuine_frac.high)


@pytest.mark.parametrize("split_loss", [decomposition, decomposition_intervals])
@pytest.mark.parametrize(
    ("base", "post", "keywords", "cure"),
    [
        ([(1, 1)], [], {}, r"got 1 and 0. Write \(None, None\)"),
        ([(1, 1)], [(1, 1)], {"pairing": "both"}, "got 'both'. Use pairing='paired'"),
        ([(math.inf, 1)], [(1, 1)], {}, "finite numbers; got inf"),
    ],
)
def test_what_does_not_fit_is_refused_with_the_cure(split_loss, base, post, keywords, cure):
    with pytest.raises(ValueError, match=cure):
        split_loss(base, post, **keywords)
