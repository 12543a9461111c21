import torch

from divreg.methods import ips
from divreg.signals import by_answer


def test_every_outcome_earns_the_same_in_total():
    outcomes = by_answer(answer=["a", "a", "b", "c"])  # frequencies 1/2, 1/2, 1/4, 1/4
    earned = ips(torch.tensor([1.0, 1.0, 1.0, 0.0]), partition=outcomes)
    torch.testing.assert_close(earned, torch.tensor([2.0, 2.0, 4.0, 0.0]))


def test_a_group_of_one_outcome_keeps_its_rewards():
    rewards = torch.tensor([0.5, 1.0, -1.0])
    assert torch.equal(ips(rewards, partition=torch.zeros(3, dtype=torch.int64)), rewards)


def test_the_rare_mistake_is_punished_hardest():
    earned = ips(torch.full((3,), -1.0), partition=torch.tensor([0, 0, 1]))
    torch.testing.assert_close(earned, torch.tensor([-1.5, -1.5, -3.0]))
