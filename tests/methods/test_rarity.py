import torch

from divreg.methods import rarity

TWO_AND_ONE = torch.tensor([0, 0, 1, 2])  # answers a, a, b and a wrong one


def test_power_one_pays_every_class_the_same_in_total():
    r = rarity(torch.tensor([1.0, 1.0, 1.0, 0.0]), partition=TWO_AND_ONE, power=1.0)
    torch.testing.assert_close(r, torch.tensor([0.5, 0.5, 1.0, 0.0]))
    ips = torch.tensor([2.0, 2.0, 4.0, 0.0])  # reward / frequency, IPS-GRPO
    torch.testing.assert_close(4 * r, ips)


def test_power_a_half_divides_by_the_root_of_the_size():
    r = rarity(torch.ones(5), partition=torch.tensor([0, 0, 0, 0, 1]))
    torch.testing.assert_close(r, torch.tensor([0.5, 0.5, 0.5, 0.5, 1.0]))


def test_power_zero_is_off_bit_for_bit():
    rewards = torch.randn(3, 4, generator=torch.Generator().manual_seed(0))
    assert torch.equal(rarity(rewards, partition=TWO_AND_ONE.repeat(3, 1), power=0.0), rewards)


def test_a_common_wrong_answer_is_punished_in_full():
    r = rarity(torch.tensor([-1.0, -1.0, 1.0, -1.0]), partition=TWO_AND_ONE)
    torch.testing.assert_close(r, torch.tensor([-1.0, -1.0, 1.0, -1.0]))
