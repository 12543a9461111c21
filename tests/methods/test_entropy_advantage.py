import pytest
import torch

from divreg.methods import entropy_advantage

ADVANTAGES = torch.tensor([[1.0, 1.0, -1.0, -1.0, 0.0]])
ENTROPY = torch.tensor([[0.5, 3.0, 0.5, 3.0, 1.0]])
HERE = torch.ones(1, 5, dtype=torch.bool)


def test_hesitation_raises_every_advantage_by_half_of_it_at_most():
    weights = entropy_advantage(torch.ones(1, 5), advantages=ADVANTAGES, entropy=ENTROPY, mask=HERE)
    shaped = torch.tensor([[1.2, 1.5, -0.8, -0.5, 0.0]])
    torch.testing.assert_close(weights * ADVANTAGES, shaped)
    assert weights[0, 4] == 1


def test_padding_keeps_its_weight():
    weights = entropy_advantage(
        torch.ones(1, 5), advantages=ADVANTAGES, entropy=ENTROPY, mask=~HERE
    )
    assert torch.equal(weights, torch.ones(1, 5))


def test_what_could_flip_a_sign_is_refused():
    with pytest.raises(ValueError, match=r"kappa=2\.0"):
        entropy_advantage(
            torch.ones(1, 5), advantages=ADVANTAGES, entropy=ENTROPY, mask=HERE, kappa=0.5
        )
