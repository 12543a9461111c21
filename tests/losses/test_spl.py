"""Policy -10 and -12, reference -11 and -11.5: SPL's argument and loss, worked out by hand."""

import math

import pytest
import torch
from torch.nn.functional import logsigmoid

from divreg.losses import spl


def worked(alpha, beta):
    policy, reference = torch.tensor([-10.0, -12.0]), torch.tensor([-11.0, -11.5])
    chosen, rejected = policy - spl(reference, alpha=alpha, beta=beta)
    argument = alpha * (chosen - rejected)
    return argument.item(), -logsigmoid(argument).item()


def test_the_worked_numbers(exactly):
    assert worked(0.2, 0.1) == exactly((0.35, 0.533382))


def test_equal_coefficients_are_dpo(exactly):
    assert worked(0.1, 0.1) == exactly((0.15, 0.620957))
    given = torch.randn(5)
    assert spl(given, alpha=0.3, beta=0.3) is given


OPTIMA = [(1.0, 0.1, 0.813213), (0.2, 0.1, 0.999361), (0.5, 0.5, 0.973913)]


@pytest.mark.parametrize(("alpha", "beta", "expected"), OPTIMA)
def test_the_optimum_is_the_reference_to_the_power_of_beta_over_alpha(alpha, beta, expected):
    """Two answers, preferred 4 : 1 by Bradley-Terry: there the mean loss of both orders is flat."""
    reference = torch.tensor([0.7, 0.3], dtype=torch.float64).log()
    policy = torch.tensor([expected, 1 - expected], dtype=torch.float64).log().requires_grad_()
    ratio = policy - spl(reference, alpha=alpha, beta=beta)
    margin = alpha * (ratio[0] - ratio[1])
    assert margin.item() == pytest.approx(math.log(4), abs=2e-3)
    loss = -0.8 * logsigmoid(margin) - 0.2 * logsigmoid(-margin)
    (slope,) = torch.autograd.grad(loss, policy)
    assert slope.tolist() == pytest.approx([0.0, 0.0], abs=1e-4)
