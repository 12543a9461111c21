import functools

import torch

from divreg.methods import unlikeliness

MEAN = torch.tensor([[-0.2], [-0.8], [-0.3], [-0.5]])
ONE = torch.ones(4, 1, dtype=torch.bool)
MIXED = torch.tensor([True, True, False, True])
unlikely = functools.partial(unlikeliness, logprob=MEAN, mask=ONE)


def close(a, b):
    torch.testing.assert_close(a, torch.tensor(b), atol=1e-6, rtol=0)


def test_the_most_likely_of_four_loses_three_quarters_of_beta():
    close(unlikely(MIXED.float(), correct=MIXED), [0.8125, 1.0, 0.0, 0.9375])


def test_as_printed_every_rank_is_one_higher():
    close(unlikely(MIXED.float(), correct=MIXED, first=1.0), [0.75, 0.9375, 0.0, 0.875])


def test_a_group_that_is_all_correct_is_left_alone():
    close(unlikely(torch.ones(4), correct=torch.ones(4, dtype=torch.bool)), [1.0] * 4)


def test_longer_completions_are_not_less_likely_for_their_length():
    lp = torch.tensor([[-0.5, -0.5], [-0.6, 0.0]])
    valid = torch.tensor([[True, True], [True, False]])
    right = torch.tensor([True, False])
    close(unlikeliness(torch.ones(2), logprob=lp, mask=valid, correct=right), [0.875, 1.0])


def test_equal_likelihoods_share_the_mean_of_their_ranks():
    lp, right = torch.tensor([[-1.0], [-1.0], [-2.0], [-0.5]]), torch.tensor([True] * 3 + [False])
    earned = unlikeliness(torch.ones(4), logprob=lp, mask=ONE, correct=right, beta=0.4)
    close(earned, [0.85, 0.85, 1.0, 0.7])  # ranks 1.5, 1.5, 0, 3
