import math

import pytest

from divreg.losses import eaft


@pytest.mark.parametrize(("k", "value"), [(3, 1.091202), (4, 0.984375)])
def test_the_weight_is_the_entropy_of_the_likeliest_tokens(k, value, oracle, exactly):
    assert oracle(eaft, k=k, scale=math.log(k))[0] == exactly(value)


def test_where_all_tokens_are_as_likely_the_weight_is_nearly_one(oracle, exactly):
    value, _ = oracle(eaft, logits=(0.0,) * 32)
    assert value == exactly(3.460806)
    assert value / math.log(32) == exactly(0.998577)


def test_the_weight_has_no_gradient(oracle):
    value, gradient = oracle(eaft)
    nll, plain = oracle(eaft, power=0.0)
    assert gradient == pytest.approx([value / nll * x for x in plain])
