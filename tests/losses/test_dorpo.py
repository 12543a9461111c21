"""Mean log-probabilities -0.5 and -1.2: a log odds ratio of 1.274370, worked out by hand."""

import pytest
import torch

from divreg.losses import dorpo


def cost(weight, chosen=(-0.5,), rejected=(-1.2,), odds=1.0):
    width = max(len(chosen), len(rejected))
    rows = [[*row, *[9.0] * (width - len(row))] for row in (chosen, rejected)]
    mask = torch.tensor([[i < len(row) for i in range(width)] for row in (chosen, rejected)])
    return dorpo(
        torch.tensor(7.0),
        logprob=torch.tensor(rows),
        mask=mask,
        pair=torch.tensor([0, 0]),
        chosen=torch.tensor([True, False]),
        pair_weight=torch.tensor([weight, weight]),
        pair_share=torch.ones(2),
        odds=odds,
    ).item()


@pytest.mark.parametrize(("weight", "preferred"), [(2.0, 0.075275), (1.0, 0.246553)])
def test_the_weight_stands_inside_the_sigmoid_and_before_the_likelihood(weight, preferred, exactly):
    assert cost(weight) == exactly(0.5 * weight + preferred)
    assert cost(weight, odds=0.1) == exactly(0.5 * weight + 0.1 * preferred)


def test_the_likelihood_is_a_mean_over_the_answers_own_tokens(exactly):
    assert cost(2.0, chosen=(-0.2, -0.8), rejected=(-1.0, -1.4, -1.2)) == exactly(cost(2.0))


def test_the_loss_that_was_there_is_gone_and_a_pair_of_weight_zero_teaches_nothing():
    logprob = torch.tensor([[-0.5], [-1.2]], requires_grad=True)
    loss = torch.tensor(7.0, requires_grad=True)
    given = {"mask": torch.ones(2, 1) > 0, "pair": torch.tensor([0, 0])}
    given |= {"chosen": torch.tensor([True, False]), "pair_share": torch.ones(2)}
    value = dorpo(loss, logprob=logprob, pair_weight=torch.zeros(2), **given)
    slopes = torch.autograd.grad(value, [logprob, loss], allow_unused=True)
    assert slopes[0].abs().max() == 0
    assert slopes[1] is None
