import functools

import pytest
import torch

from divreg.methods import kl_cov

ADVANTAGES = torch.tensor([[1.0, 1.0, 1.0, -1.0, -1.0, -1.0]])
LOGPROB = torch.tensor([[-0.1, -1.0, -2.0, -0.2, -1.5, -3.0]])  # covariances 1.2 .3 -.7 -1.1 .2 1.7
MOVED = torch.tensor([[0.05, -0.05, 0.1, 0.0, 0.02, -0.2]])
UNCLIPPED = (-ADVANTAGES * MOVED.exp()).mean()
HERE = torch.ones(1, 6, dtype=torch.bool)
held = functools.partial(
    kl_cov, UNCLIPPED, advantages=ADVANTAGES, logprob=LOGPROB, logratio=MOVED, mask=HERE
)


def test_the_two_tokens_of_largest_covariance_pay_for_having_moved():
    assert pytest.approx(-0.044790, abs=2e-6) == UNCLIPPED.item()
    assert held(share=0.34).item() == pytest.approx(-0.003123, abs=2e-6)


def test_one_token_at_least_is_held():
    assert held(share=0.0).item() == pytest.approx(UNCLIPPED.item() + 0.2 / 6, abs=2e-6)


def test_only_what_is_held_has_a_gradient():
    moved = MOVED.clone().requires_grad_()
    kl_cov(
        torch.tensor(0.0), advantages=ADVANTAGES, logprob=LOGPROB, logratio=moved, mask=HERE
    ).backward()
    assert torch.allclose(moved.grad, torch.tensor([[0.0, 0.0, 0.0, 0.0, 0.0, -1 / 6]]))
