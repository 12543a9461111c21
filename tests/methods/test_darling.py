import pytest
import torch

from divreg.methods import darling


def close(a, b):
    torch.testing.assert_close(a, torch.tensor(b), atol=2e-6, rtol=0)


def centred(rewards):
    return rewards - rewards.mean(-1, keepdim=True)


PAIR = torch.tensor([0, 0, 1, 2])  # two alike, two others


def test_the_share_of_others_scales_each_reward():
    r = darling(torch.tensor([1.0, 1.0, 0.0, 1.0]), partition=PAIR)
    close(r, [0.666667, 0.666667, 0.0, 1.0])
    close(centred(r), [0.083333, 0.083333, -0.583333, 0.416667])


def test_in_an_all_correct_group_the_odd_one_out_wins():
    r = darling(torch.ones(4), partition=torch.tensor([0, 0, 0, 1]))
    close(centred(r), [-0.166667, -0.166667, -0.166667, 0.5])


def test_a_lone_correct_answer_is_compared_with_wrong_ones():
    r = darling(torch.tensor([0.0, 0.0, 0.0, 1.0]), partition=torch.tensor([0, 0, 1, 0]))
    close(r, [0.0, 0.0, 0.0, 0.333333])
    close(centred(r), [-0.083333, -0.083333, -0.083333, 0.25])


def test_a_collapsed_group_keeps_the_floor_and_has_no_advantage():
    r = darling(torch.ones(4), partition=torch.zeros(4, dtype=torch.int64))
    close(r, [0.1, 0.1, 0.1, 0.1])
    close(centred(r), [0.0, 0.0, 0.0, 0.0])


def test_a_redundant_negative_reward_shrinks_as_the_docstring_warns():
    r = darling(torch.tensor([-2.0, -2.0, -1.0, 0.5]), partition=PAIR)
    close(r, [-1.333333, -1.333333, -1.0, 0.5])


def test_a_group_of_one_is_refused_with_the_cure():
    with pytest.raises(ValueError, match=r"got 1\. Set num_generations=2"):
        darling(torch.ones(3, 1), partition=torch.zeros(3, 1, dtype=torch.int64))
