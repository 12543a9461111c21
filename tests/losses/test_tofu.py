import pytest

from divreg.losses import tofu


def test_doubted_tokens_weigh_a_little_more_than_one(oracle, exactly):
    value, gradient = oracle(tofu)
    assert value == exactly(1.315765)
    assert gradient == exactly([0.747366, -0.826290, 0.061348, 0.017576])


def test_with_both_dials_off_it_is_the_cross_entropy(oracle, exactly):
    value, gradient = oracle(tofu, gamma=0.0, beta=1.0)
    assert value == exactly(1.440190)
    assert gradient == exactly([0.643914, -0.763117, 0.087144, 0.032059])


def test_a_token_that_the_model_excludes_weighs_one(oracle):
    value, _ = oracle(tofu, logits=(900.0, 0.0, 0.0, 0.0), beta=1.0)
    assert value == pytest.approx(900)


def test_a_token_that_is_settled_weighs_nothing(oracle):
    value, gradient = oracle(tofu, logits=(0.0, 900.0, 0.0, 0.0), gamma=0.5)
    assert value == 0
    assert max(map(abs, gradient)) < 1e-6


def test_impossible_dials_are_refused(oracle):
    with pytest.raises(ValueError, match=r"Use gamma=3\.0, beta=0\.8"):
        oracle(tofu, gamma=-1.0)
