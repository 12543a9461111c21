import functools
import json

import pytest
import torch

from divreg.compose import (
    Stateful,
    blend,
    contract,
    is_factory,
    is_scheduled,
    scheduled,
)
from divreg.control import Linear


def damp(rewards, *, partition, factor=0.5):
    return rewards * factor + partition * 0


def bonus(loss, *, entropy, strength=0.1):
    return loss - strength * entropy


def running(*, decay: float = 0.5) -> Stateful:
    def update(rewards, state, *, decay=decay):
        mean = decay * state["mean"] + (1 - decay) * float(rewards.mean())
        return rewards - mean, {"mean": mean}

    return Stateful(lambda: {"mean": 0.0}, update, "running")


X = torch.tensor([1.0, 0.3])
IDS = torch.tensor([0, 1])


def test_the_signature_is_the_contract():
    c = contract(damp)
    assert (c.name, c.stage, c.signals, c.hyper) == (
        "damp",
        "rewards",
        ("partition",),
        {"factor": 0.5},
    )
    assert str(c) == "damp(factor=0.5)"


def test_a_partial_keeps_the_name_and_shows_what_it_binds():
    assert str(contract(functools.partial(damp, factor=0.1))) == "damp(factor=0.1)"
    assert contract(functools.partial(damp, partition=IDS)).signals == ()


@pytest.mark.parametrize("f", [running, functools.partial(running, decay=0.5), running()])
def test_a_factory_and_what_it_builds_have_one_contract(f):
    c = contract(f)
    assert (c.name, c.stage, c.signals, dict(c.hyper)) == ("running", "rewards", (), {"decay": 0.5})
    assert is_factory(f) == (not isinstance(f, Stateful))


@pytest.mark.parametrize(
    ("f", "message"),
    [
        (lambda scores: scores, "must be one of rewards, advantages, token_weights, loss; got 'sc"),
        (lambda: 0, "got no argument"),
        (lambda rewards, partition: rewards, r"Put `\*` before the signals"),
        (lambda rewards, **rest: rewards, "'rest' needs to be keyword-only"),
        (Stateful(dict, lambda rewards, *, mask: (rewards, {})), "needs `state` as its second"),
        (3, "is not an intervention; got int"),
    ],
)
def test_what_is_no_contract_is_refused(f, message):
    with pytest.raises(TypeError, match=message):
        contract(f)


def test_blend_goes_from_the_input_to_the_result():
    half = blend(damp, 0.5)
    assert str(contract(half)) == "damp(factor=0.5, strength=0.5)"
    torch.testing.assert_close(half(X, partition=IDS), 0.75 * X)
    assert torch.equal(blend(damp, 1.0)(X, partition=IDS), damp(X, partition=IDS))
    torch.testing.assert_close(half(X, partition=IDS, strength=0.0), X, rtol=0, atol=0)


def test_blend_at_zero_is_bit_exact_where_the_arithmetic_is_not():
    blown_up = blend(lambda rewards: rewards * 1e30, 0.0)
    assert blown_up(X) is X


def test_blend_leaves_methods_with_a_dial_alone():
    with pytest.raises(ValueError, match=r"Use functools.partial\(bonus, strength=0.5\)"):
        blend(bonus, 0.5)


def test_a_blended_memory_learns_whatever_the_strength():
    off = blend(running, 0.0)
    assert isinstance(off, Stateful)
    y, state = off.update(X, off.init())
    assert torch.equal(y, X)
    assert state == {"mean": pytest.approx(0.325)}


def test_a_schedule_follows_the_step_and_the_monitors_boost():
    f = scheduled(damp, factor=Linear(0.0, 1.0, 10))
    assert contract(f).signals == ("partition", "step", "boost")
    assert is_scheduled(f)
    assert not is_scheduled(damp)
    torch.testing.assert_close(f(X, partition=IDS, step=5, boost=1.0), 0.5 * X)
    torch.testing.assert_close(f(X, partition=IDS, step=5, boost=2.0), X)
    torch.testing.assert_close(f(X, partition=IDS, step=50, boost=1.0), X)


def test_a_scheduled_method_that_asks_for_the_step_still_gets_it():
    def late(rewards, *, step, factor=1.0):
        return rewards * factor + step

    f = scheduled(late, factor=lambda step: 2.0)
    torch.testing.assert_close(f(X, step=3, boost=1.0), 2 * X + 3)


@pytest.mark.parametrize("f", [running, running()])
def test_the_hyper_parameters_of_a_memory_can_be_scheduled(f):
    g = scheduled(f, decay=lambda step: 1 - 1 / step)
    state = g.init()
    for step in (1, 2):
        y, state = g.update(X, state, step=step, boost=1.0)
    assert state["mean"] == pytest.approx(0.65)  # the mean of both
    assert json.loads(json.dumps(state)) == state
    torch.testing.assert_close(y, X - 0.65)


def test_blend_can_be_scheduled():
    f = scheduled(blend(damp, 1.0), strength=Linear(0.0, 1.0, 4))
    assert torch.equal(f(X, partition=IDS, step=0, boost=1.0), X)
    torch.testing.assert_close(f(X, partition=IDS, step=2, boost=1.0), 0.75 * X)


@pytest.mark.parametrize("f", [damp, running, running(), functools.partial(running, decay=0.1)])
def test_only_hyper_parameters_can_be_scheduled(f):
    with pytest.raises(ValueError, match="has no hyper-parameter 'rate' to schedule; it takes "):
        scheduled(f, rate=lambda step: 1.0)
