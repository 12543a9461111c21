import torch

from divreg.methods import dra
from divreg.signals import similarity

VECTORS = torch.tensor([[1.0, 0.0], [0.8, 0.6], [0.0, 1.0]])


def test_the_one_in_the_middle_is_most_redundant():
    """Sums of similarities, own included: 1.8, 2.4, 1.6."""
    earned = dra(torch.tensor([1.0, 1.0, 0.0]), similarity=similarity(embedding=VECTORS))
    torch.testing.assert_close(earned, torch.tensor([1 / 1.8, 1 / 2.4, 0.0]))


def test_opposites_do_not_raise_each_other():
    opposed = similarity(embedding=torch.tensor([[1.0, 0.0], [-1.0, 0.0]]))
    torch.testing.assert_close(dra(torch.ones(2), similarity=opposed), torch.ones(2))


def test_a_text_without_a_vector_keeps_its_reward():
    nothing = similarity(embedding=torch.zeros(2, 3))
    torch.testing.assert_close(dra(torch.ones(2), similarity=nothing), torch.ones(2))
