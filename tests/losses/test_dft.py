import pytest

from divreg.losses import dft


def test_the_gradient_is_that_of_the_cross_entropy_times_the_probability(oracle, exactly):
    value, gradient = oracle(dft)
    assert value == exactly(0.341156)
    assert gradient == exactly([0.152532, -0.180769, 0.020643, 0.007594])


def test_an_unlikely_target_is_hardly_learned(oracle):
    _, gradient = oracle(dft, logits=(9.0, 0.0, 0.0, 0.0))
    assert max(map(abs, gradient)) == pytest.approx(0, abs=2e-4)
