import math

import pytest
import torch

from divreg.losses import diffuse

QUARTER = torch.full((4, 1), 0.25, dtype=torch.float64)


def loss(nll):
    given = -torch.tensor(nll, dtype=torch.float64).unsqueeze(1)
    zero = torch.zeros((), dtype=torch.float64)
    return diffuse(zero, logprob=given, text_share=QUARTER).item()


def test_what_is_above_the_entropy_of_the_answers_is_a_divergence():
    value = loss([0.5, 1.0, 2.0, 4.0])
    assert value == pytest.approx(1.875)
    assert value - math.log(4) == pytest.approx(0.488706, abs=2e-6)
    assert 1.2 * math.log(4) == pytest.approx(1.663553, abs=2e-6)


def test_four_answers_alike_are_the_least_it_can_be():
    assert loss([math.log(4)] * 4) == pytest.approx(math.log(4))


def test_a_text_counts_as_a_whole_however_long_it_is():
    logprob = torch.tensor([[-1.0, -1.0, -1.0], [-1.0, 0.0, 0.0]])
    share = torch.tensor([[0.5, 0.5, 0.5], [0.5, 0.0, 0.0]])
    assert diffuse(torch.zeros(()), logprob=logprob, text_share=share) == 2
