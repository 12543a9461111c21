"""Worked pairs and weights, and the prompts that have none."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from divreg.data.pairs import (
    EQUAL,
    ONE,
    OVERLAP,
    SAME,
    best_and_worst,
    deviation_scores,
    deviation_weights,
    divpo_pairs,
    inverse_frequency,
    mean_distance,
)

REWARDS, DIVERSITY = [0.9, 0.88, 0.5, 0.45, 0.2, 0.1], [1, 2.5, 3, 1.2, 0.8, 2]


@pytest.mark.parametrize(
    ("threshold", "rho", "pair"),
    [
        ("range", 0.25, (1, 4)),
        ("count-floor", 0.25, (0, 5)),
        ("count", 0.25, (1, 4)),
        ("count", 0.5, (2, 4)),
        ("range", 0, (0, 5)),
        ("count", 0, (0, 5)),
    ],
)
def test_the_worked_pairs(threshold, rho, pair):
    assert divpo_pairs(REWARDS, DIVERSITY, rho=rho, threshold=threshold).pairs == [pair]


def test_prompts_without_a_pair_say_why():
    assert divpo_pairs([1], [1]).why_not == ONE
    assert divpo_pairs([1, 1, 1], [1, 2, 3]).why_not == EQUAL
    assert divpo_pairs([1, 1, 1, 0], [1, 2, 3, 4], rho=0.5, threshold="count").why_not == OVERLAP
    assert divpo_pairs([0, 1], [1, 1], texts=["a", "a"]).why_not == SAME
    assert divpo_pairs([0, 1], [1, 1], texts=["a", "b"]) == ([(1, 0)], "")


def test_what_is_on_both_sides_is_on_neither():
    assert best_and_worst([1, 2, 3, 4, 5], rho=0.5, threshold="count")[:2] == ([3, 4], [0, 1])
    assert best_and_worst([0, 0.5, 1], rho=0.5)[:2] == ([2], [0])
    assert best_and_worst([2, 1, 1, 0], rho=0.5, threshold="count")[:2] == ([0], [3])


def test_shares_that_are_whole_numbers_are_not_rounded_away():
    assert len(best_and_worst(range(30), rho=0.1, threshold="count").best) == 3
    assert len(best_and_worst(range(100), rho=0.29, threshold="count-floor").best) == 29
    assert best_and_worst([0, 0.1, 0.2, 0.3, 1], rho=0.3).worst == [0, 1, 2, 3]


def test_several_pairs_share_no_response_and_no_text():
    rewards, diversity = [1, 1, 1, 0, 0, 0], [3, 2, 1, 1, 2, 3]
    assert divpo_pairs(rewards, diversity, count=2).pairs == [(0, 3), (1, 4)]
    assert divpo_pairs(rewards, diversity, count=9).pairs == [(0, 3), (1, 4), (2, 5)]
    twice = ["a", "a", "b", "c", "c", "d"]
    assert divpo_pairs(rewards, diversity, count=9, texts=twice).pairs == [(0, 3), (2, 5)]


def test_equally_diverse_ones_are_told_apart_by_their_rewards():
    assert divpo_pairs([0.9, 1, 0, 0.1], [1, 1, 1, 1]).pairs == [(1, 2)]


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(0, 4), st.integers(0, 3), st.sampled_from("abcdef")),
        min_size=1,
        max_size=12,
    ),
    st.sampled_from(["range", "count", "count-floor"]),
    st.sampled_from([0, 0.1, 0.25, 0.5]),
    st.randoms(use_true_random=False),
)
def test_the_order_of_responses_does_not_matter_and_the_chosen_has_the_higher_reward(
    responses, threshold, rho, random
):
    def found(items):
        r, d, texts = zip(*items, strict=True)
        picked = divpo_pairs(r, d, rho=rho, threshold=threshold, count=3, texts=texts)
        assert all(r[i] > r[j] and texts[i] != texts[j] for i, j in picked.pairs)
        assert bool(picked.pairs) == (not picked.why_not)
        return [(items[i], items[j]) for i, j in picked.pairs], picked.why_not

    shuffled = list(responses)
    random.shuffle(shuffled)
    assert found(responses) == found(shuffled)


def test_the_worked_weights():
    semantic, style = [0.2, 0.5, 0.3, 0.6], [0.1, 0.4, 0.2, 0.2]
    both = deviation_scores(semantic, style)  # means of (0, 3/4, 1/4, 1) and (0, 1, 1/3, 1/3)
    assert both == pytest.approx([-1, 2 * 0.75**0.5 - 1, 2 * 12**-0.5 - 1, 2 * 3**-0.5 - 1])
    assert deviation_weights(both) == pytest.approx([0, 2, 2 / 3, 4 / 3])
    assert deviation_weights(deviation_scores(semantic)) == pytest.approx([0, 1.5, 0.5, 2])


def test_weights_of_responses_that_deviate_alike_are_one():
    noise = np.float32(0.3) + np.array([0, 3e-8, -3e-8, 0])
    assert deviation_scores(noise).tolist() == [0, 0, 0, 0]
    assert deviation_weights([0, 0, 0, 0]).tolist() == [1, 1, 1, 1]
    crossed = deviation_scores([0, 1], [1, 0])  # each the least deviant of one axis
    assert crossed.tolist() == [-1, -1]
    assert deviation_weights(crossed).tolist() == [1, 1]


def test_distances_by_hand():
    x = np.array([[2.0, 0], [0, 1], [0, 5], [-1, 0]])
    assert mean_distance(x) == pytest.approx([1 - (0 + 0 - 1) / 3, 2 / 3, 2 / 3, 4 / 3])
    assert mean_distance(x[:1]) == [0]


def test_frequency_by_hand():
    assert inverse_frequency([0, 1, 0, 0]) == [4 / 3, 4, 4 / 3, 4 / 3]


def test_what_cannot_be_paired_is_refused():
    for words, message in (
        ({"rho": 0.6}, r"in \[0, 0.5\]; got 0.6"),
        ({"threshold": "rank"}, "no threshold 'rank'; it has range, count, count-floor"),
        ({"count": 0}, "at least 1; got 0"),
        ({"texts": ["a"]}, "got 6, 6 and 1"),
    ):
        with pytest.raises(ValueError, match=message):
            divpo_pairs(REWARDS, DIVERSITY, **words)
    with pytest.raises(ValueError, match="1 of them not finite"):
        divpo_pairs([1, float("nan")], [1, 2])
    with pytest.raises(ValueError, match="axes of one length"):
        deviation_scores([1, 2], [1])
