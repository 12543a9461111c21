import pytest

from divreg.losses import focal


def test_likely_tokens_fade_with_gradient_through_the_factor(oracle, exactly):
    value, gradient = oracle(focal)
    assert value == exactly(0.640020)
    assert gradient == exactly([0.669938, -0.793958, 0.090666, 0.033354])


def test_at_zero_it_is_the_cross_entropy(oracle, exactly):
    assert oracle(focal, gamma=0.0)[0] == exactly(1.440190)


def test_a_certain_token_has_a_finite_gradient(oracle):
    value, gradient = oracle(focal, logits=(0.0, 900.0, 0.0, 0.0), gamma=0.5)
    assert value == 0
    assert max(map(abs, gradient)) < 1e-6


def test_a_negative_gamma_is_refused(oracle):
    with pytest.raises(ValueError, match=r"Use gamma=3\.0"):
        oracle(focal, gamma=-1.0)
