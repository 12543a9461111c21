import functools

import pytest
import torch

from divreg.methods import clip_cov

ADVANTAGES = torch.tensor([[1.0, 1.0, 1.0, -1.0, -1.0, -1.0]])
LOGPROB = torch.tensor([[-0.1, -1.0, -2.0, -0.2, -1.5, -3.0]])  # covariances 1.2 .3 -.7 -1.1 .2 1.7
LOSSES = -ADVANTAGES * torch.tensor([[1.051271, 0.951229, 1.105171, 1.0, 1.020201, 0.818731]])
HERE = torch.ones(1, 6, dtype=torch.bool)
clip = functools.partial(
    clip_cov, torch.ones(1, 6), advantages=ADVANTAGES, logprob=LOGPROB, mask=HERE
)


def test_one_of_the_two_that_drive_entropy_down_is_drawn():
    weights = clip()
    assert weights.sum() == 5
    assert weights[0, 0] * weights[0, 5] == 0
    mean = (weights * LOSSES).mean().item()
    assert mean == pytest.approx(0.130422 if weights[0, 0] == 0 else -0.181245, abs=2e-6)


def test_a_third_of_six_is_both():
    assert clip(share=0.34).tolist() == [[0, 1, 1, 1, 1, 0]]


def test_only_what_lies_between_the_bounds_is_drawn():
    assert clip(share=1.0, low=1.5).tolist() == [[1, 1, 1, 1, 1, 0]]
    assert clip(share=1.0, high=1.5).tolist() == [[0, 1, 1, 1, 1, 1]]
    assert clip(low=2.0).tolist() == [[1] * 6]
