import pytest
import torch

from divreg.losses import psft


def objective(ratio):
    """Loss and gradient of one token that has become ``ratio`` times as likely."""
    logprob = torch.tensor([[-1.0]], dtype=torch.float64, requires_grad=True)
    old = (logprob - torch.tensor(ratio, dtype=torch.float64).log()).detach()
    loss = psft(
        torch.zeros((), dtype=torch.float64),
        logprob=logprob,
        old_logprob=old,
        token_share=torch.ones(1, 1, dtype=torch.float64),
    )
    (gradient,) = torch.autograd.grad(loss, logprob)
    return loss.item(), gradient.item()


@pytest.mark.parametrize("ratio", [0.5, 0.9, 1.0, 1.2])
def test_below_the_bound_the_loss_is_the_ratio(ratio):
    assert objective(ratio) == pytest.approx((-ratio, -ratio))


def test_beyond_the_bound_a_token_is_left_alone():
    assert objective(1.28)[0] == pytest.approx(-1.28)
    assert objective(1.5) == pytest.approx((-1.28, 0.0))


def test_a_bound_that_stops_everything_is_refused():
    one = torch.ones(1, 1)
    with pytest.raises(ValueError, match=r"psft needs high > 1.*Use high=1\.28"):
        psft(one.sum(), logprob=-one, old_logprob=-one, token_share=one, high=1.0)
