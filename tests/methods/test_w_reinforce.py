import torch

from divreg.methods import w_reinforce

MIXED = torch.tensor([[True, False], [True, True], [False, False]])


def test_wrong_counts_in_full_and_right_a_tenth():
    advantages = w_reinforce(torch.randn(3, 2), correct=MIXED)
    torch.testing.assert_close(advantages, torch.tensor([[0.1, -1.0], [0.1, 0.1], [-1.0, -1.0]]))


def test_at_zero_only_what_is_wrong_trains():
    advantages = w_reinforce(torch.randn(3, 2), correct=MIXED, positive=0.0)
    torch.testing.assert_close(advantages, torch.tensor([[0.0, -1.0], [0.0, 0.0], [-1.0, -1.0]]))
