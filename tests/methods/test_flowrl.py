import pytest
import torch

from divreg.methods import flowrl
from divreg.signals import log_z

MASK = torch.tensor([[True, True], [True, False]])
# Means over tokens: policy -0.5 and -0.6, reference -0.55 and -0.5; padding is poisoned.
GIVEN = {
    "advantages": torch.tensor([[1.0, 1.0], [-1.0, 7.0]]),
    "logprob": torch.tensor([[-0.2, -0.8], [-0.6, -9.0]]),
    "old_logprob": torch.tensor([[-0.4, -0.8], [-0.5, -1.0]]),  # moved by 0.2 and -0.1
    "ref_logprob": torch.tensor([[-0.5, -0.6], [-0.5, 9.0]]),
    "log_z": torch.tensor([0.1, 0.1]),
    "mask": MASK,
}


def test_residuals_are_squared_and_weighted():
    """Residuals 0.1 - 0.5 - 15 + 0.55 and 0.1 - 0.6 + 15 + 0.5; weights exp(0.2), exp(-0.1)."""
    free = flowrl(torch.tensor(0.0), **GIVEN, clip=1.0)
    torch.testing.assert_close(free, torch.tensor(236.467604))
    clipped = flowrl(torch.tensor(0.0), **GIVEN)
    torch.testing.assert_close(clipped, torch.tensor(234.107710))


def test_it_pulls_like_an_advantage_of_minus_two_weighted_residuals():
    logprob = GIVEN["logprob"].clone().requires_grad_()
    flowrl(torch.tensor(0.0), **{**GIVEN, "logprob": logprob}).backward()
    first, second = 2 * 1.2 * -14.85 / 2, 2 * 0.904837 * 15.0 / 2  # the mean of two completions
    expected = torch.tensor([[first / 2, first / 2], [second, 0.0]])
    torch.testing.assert_close(logprob.grad, expected)


def test_log_z_makes_the_mean_residual_of_a_group_zero():
    estimate = log_z(logprob=GIVEN["logprob"], ref_logprob=GIVEN["ref_logprob"], mask=MASK)
    torch.testing.assert_close(estimate, torch.full((2,), (-0.05 + 0.1) / 2))


def test_a_weight_that_could_be_negative_is_refused():
    with pytest.raises(ValueError, match=r"needs clip in \[0, 1\]; got 1.5"):
        flowrl(torch.tensor(0.0), **GIVEN, clip=1.5)
