"""Policy -10 and -12, reference -11 and -11.5, beta 0.1: a margin of 0.15, worked out by hand."""

import torch
from torch.nn.functional import logsigmoid

from divreg.data.pairs import deviation_weights
from divreg.losses import ddpo


def test_a_pair_of_weight_two_costs_twice_its_loss(exactly):
    policy = torch.tensor([[-10.0], [-12.0]], requires_grad=True)
    reference = torch.tensor([[-11.0], [-11.5]])
    chosen, rejected = policy - reference
    loss = -logsigmoid(0.1 * (chosen - rejected)).sum()
    assert loss.item() == exactly(0.620957)
    weights = ddpo(torch.ones(2, 1), pair_weight=torch.tensor([2.0, 2.0]))
    assert weights.tolist() == [[2.0], [2.0]]
    assert (weights[0, 0] * loss).item() == exactly(1.241914)


def test_the_weights_are_those_that_pairs_writes(exactly):
    weights = torch.tensor(deviation_weights([-1, 0.5, -0.5, 1]))
    found = ddpo(torch.ones(4, 2), pair_weight=weights)
    assert found[:, 0].tolist() == exactly([0.0, 1.5, 0.5, 2.0])
    assert torch.equal(found[:, 0], found[:, 1])
    assert found.mean().item() == exactly(1.0)
