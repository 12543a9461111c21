import pytest
import torch

from divreg.losses import gem, gem_logsigmoid

CE = [0.643914, -0.763117, 0.087144, 0.032059]


def test_a_cooler_model_is_what_the_target_has_to_beat(oracle, exactly):
    value, gradient = oracle(gem, beta=0.7)
    assert value == exactly(0.698052)
    assert gradient == exactly([0.762865, -0.817179, 0.043813, 0.010500])


def test_at_temperature_one_the_gradient_is_that_of_the_cross_entropy(oracle, exactly):
    value, gradient = oracle(gem, beta=1.0)
    assert value == exactly(0.492653)
    assert gradient == exactly(CE)


def test_a_target_that_beats_the_cooler_model_is_left_alone(oracle):
    _, gradient = oracle(gem, logits=(2.0, 1.0, 0.0, -1.0), target=0, beta=0.05)
    assert max(map(abs, gradient)) < 1e-8


def test_the_log_sigmoid_halves_the_gradient(oracle, exactly):
    value, gradient = oracle(gem_logsigmoid, beta=0.7)
    assert value == exactly(0.351148)
    assert gradient == exactly([0.383340, -0.410334, 0.021797, 0.005197])
    value, gradient = oracle(gem_logsigmoid, beta=1.0)
    assert value == exactly(0.248475)
    assert gradient == exactly([0.323567, -0.382790, 0.043354, 0.015869])


def test_a_token_that_cannot_come_is_no_nan(oracle):
    for f in (gem, gem_logsigmoid):
        value, gradient = oracle(f, logits=(2.0, 1.0, -1e9, -1.0))
        assert all(map(torch.isfinite, torch.tensor([value, *gradient])))


@pytest.mark.parametrize("f", [gem, gem_logsigmoid])
def test_a_temperature_of_zero_is_refused(f, oracle):
    with pytest.raises(ValueError, match=r"needs beta > 0.*Use beta=0\.7"):
        oracle(f, beta=0.0)
