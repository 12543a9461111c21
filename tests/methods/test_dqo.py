import torch

from divreg.methods import dqo
from divreg.signals import similarity

VECTORS = torch.tensor([[1.0, 0.0], [0.8, 0.6], [0.0, 1.0]])
TERMS = torch.tensor([0.499776, 0.405465, 0.579818])


def test_three_vectors_of_which_the_middle_one_adds_least():
    bonus = dqo(torch.zeros(3), similarity=similarity(embedding=VECTORS))
    torch.testing.assert_close(bonus, TERMS, atol=2e-6, rtol=0)


def test_it_is_the_ratio_of_determinants_with_and_without():
    s = similarity(embedding=torch.randn(5, 3, generator=torch.Generator().manual_seed(0)))
    whole = torch.logdet(s + torch.eye(5))
    for i, bonus in enumerate(dqo(torch.zeros(5), similarity=s)):
        rest = [j for j in range(5) if j != i]
        torch.testing.assert_close(bonus, whole - torch.logdet(s[rest][:, rest] + torch.eye(4)))


def test_alpha_scales_it_and_wrong_completions_get_it_too():
    rewards = torch.tensor([1.0, 0.0, 0.0])
    earned = dqo(rewards, similarity=similarity(embedding=VECTORS), alpha=0.5)
    torch.testing.assert_close(earned, rewards + TERMS / 2, atol=2e-6, rtol=0)
