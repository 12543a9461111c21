import functools
import math

import pytest
import torch

from divreg.methods import steer, steer_exact, steer_exp
from divreg.signals import entropy_change

P = torch.tensor([[0.05, 0.2, 0.5, 0.8, 0.95]])
OLD = torch.tensor([[0.04, 0.25, 0.5, 0.75, 0.9]])
TOKENS = {
    "advantages": torch.tensor([[1.0, -1.0, 2.0, -0.5, 1.0]]),
    "entropy": torch.tensor([[2.0, 1.5, 1.0, 0.5, 0.2]]),
    "logprob": P.log(),
    "mask": torch.ones(1, 5, dtype=torch.bool),
}
linear = functools.partial(steer, torch.ones(1, 5), **TOKENS)
exponential = functools.partial(steer_exp, torch.ones(1, 5), **TOKENS)


def close(a, b):
    torch.testing.assert_close(a, torch.tensor([b]), atol=2e-6, rtol=0)


def test_what_moves_entropy_most_weighs_least():
    close(linear(old_logprob=P.log()), [0.8, 1.165854, 1.072386, 1.191369, 1.2])
    close(exponential(old_logprob=P.log()), [0.8, 0.979559, 0.930173, 0.993490, 0.998248])


def test_off_policy_the_ratio_counts():
    close(linear(old_logprob=OLD.log()), [0.8, 1.178821, 1.098175, 1.192616, 1.2])
    close(exponential(old_logprob=OLD.log()), [0.8, 0.986869, 0.943737, 0.994442, 0.998520])


def test_without_advantages_every_weight_is_halfway_or_one():
    nothing = {"old_logprob": P.log(), "advantages": torch.zeros(1, 5)}
    close(linear(**nothing, w_min=0.5, w_max=1.1), [0.8] * 5)
    close(exponential(**nothing), [1.0] * 5)


def test_tokens_that_are_not_there_set_no_extreme():
    mask = torch.tensor([[False, True, True, True, True]])
    weights = linear(old_logprob=P.log(), mask=mask)
    assert weights[0, 0] == 1
    assert weights[0, 2] == pytest.approx(0.8)
    nobody = torch.zeros(1, 5, dtype=torch.bool)
    close(linear(old_logprob=P.log(), mask=nobody), [1.0] * 5)
    close(exponential(old_logprob=P.log(), mask=nobody), [1.0] * 5)


def test_the_exact_form_reads_the_change_that_a_small_step_makes():
    """Three tokens p = (.5, .25, .25), the first sampled, A = 2: by hand.

    H = 1.5 ln 2; sum p^2 = .375; sum p^2 ln p = -.5 ln 2; so the change is
    -2 [.5 (-ln 2 + 1.5 ln 2) - (-.5 ln 2 + .375 * 1.5 ln 2)] = -2 (.25 - .0625) ln 2 = -.375 ln 2.
    """
    p = torch.tensor([0.5, 0.25, 0.25]).double()
    own = torch.tensor([[0.5]]).double()
    change = entropy_change(
        advantages=torch.tensor([[2.0]]).double(),
        logprob=own.log(),
        old_logprob=own.log(),
        entropy=-(p * p.log()).sum().view(1, 1),
        log_sum_p2=(p * p).sum().log().view(1, 1),
        sum_p2_logp=(p * p * p.log()).sum().view(1, 1),
    )
    assert change.item() == pytest.approx(-0.375 * math.log(2))
    changes = torch.tensor([[change.item(), 0.0, 0.1]])
    weights = steer_exact(
        torch.ones(1, 3), entropy_change=changes, mask=torch.ones(1, 3, dtype=torch.bool)
    )
    close(weights, [0.8, 1.2, 1.2 - 0.4 * 0.1 / (0.375 * math.log(2))])


@pytest.mark.parametrize(
    ("method", "band", "cure"),
    [
        (linear, {"w_min": -0.1}, "needs 0 <= w_min <= w_max"),
        (linear, {"w_min": 1.3}, "needs 0 <= w_min <= w_max"),
        (exponential, {"w_min": 0.0}, "Use w_min=0.8"),
    ],
)
def test_a_band_that_would_reverse_the_loss_is_refused(method, band, cure):
    with pytest.raises(ValueError, match=cure):
        method(old_logprob=P.log(), **band)
