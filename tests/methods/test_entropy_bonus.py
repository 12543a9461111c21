import torch

from divreg.methods import entropy_bonus

ENTROPY = torch.tensor([[2.0, 0.5], [1.1, float("nan")]])
MASK = torch.tensor([[True, True], [True, False]])


def test_the_mean_over_tokens_is_subtracted():
    loss = entropy_bonus(torch.tensor(1.0), entropy=ENTROPY, mask=MASK, strength=0.5)
    torch.testing.assert_close(loss, torch.tensor(0.4))  # (2 + 0.5 + 1.1) / 3 = 1.2


def test_every_token_pulls_with_the_same_gradient():
    entropy = torch.ones(2, 2, requires_grad=True)
    entropy_bonus(torch.tensor(1.0), entropy=entropy, mask=MASK, strength=0.3).backward()
    torch.testing.assert_close(entropy.grad, torch.tensor([[-0.1, -0.1], [-0.1, 0.0]]))


def test_without_a_token_the_loss_stays():
    nothing = torch.zeros(2, 2, dtype=torch.bool)
    assert entropy_bonus(torch.tensor(1.0), entropy=ENTROPY, mask=nothing) == 1
