"""The pipeline: signals once and lazily, stages in the user's order, effects, memory."""

import functools

import pytest
import torch

from divreg import Linear, Stateful, blend, scheduled
from divreg.pipeline import Pipeline, Signals


def nothing_missing(stage, name):
    return None


def test_a_signal_is_computed_once_and_only_when_asked_for():
    calls = []

    def base(name, value):
        return lambda: calls.append(name) or value

    def double(*, number):
        calls.append("double")
        return 2 * number

    def quadruple(*, double):
        return 2 * double

    signals = Signals(
        {"number": base("number", 3), "unused": base("unused", 0)},
        {"double": double, "quadruple": quadruple},
    )
    assert signals["quadruple"] == 12
    assert signals["double"] == 6
    assert signals["quadruple"] == 12
    assert calls == ["number", "double"]


def test_the_users_order_is_kept_within_a_stage():
    def add(rewards, *, by=1.0):
        return rewards + by

    def times(rewards, *, by=3.0):
        return rewards * by

    def later(advantages):
        raise AssertionError("another stage")

    x = torch.tensor([[2.0]])
    assert Pipeline([add, later, times]).apply("rewards", x, {}, learn=True).item() == 9
    assert Pipeline([times, add]).apply("rewards", x, {}, learn=True).item() == 7


def test_effects_say_what_changed():
    def flip_first(rewards):
        rewards = rewards.clone()
        rewards[0, 0] = -1.0
        return rewards

    pipeline = Pipeline([flip_first])
    pipeline.apply("rewards", torch.tensor([[1.0, 1.0], [1.0, 1.0]]), {}, learn=True)
    assert pipeline.take_effects() == {
        "flip_first_mean_change": 0.5,
        "flip_first_sign_flips_frac": 0.25,
        "flip_first_groups_touched_frac": 0.5,
    }
    assert pipeline.take_effects() == {}


def test_the_same_method_twice_has_two_names():
    def scale(rewards, *, by=2.0):
        return rewards * by

    pipeline = Pipeline([scale, functools.partial(scale, by=3.0), scale])
    assert list(pipeline.methods) == ["scale", "scale_2", "scale_3"]
    assert str(pipeline.contracts["scale_2"]) == "scale(by=3.0)"


def counter(*, step_size: int = 1) -> Stateful:
    def update(advantages, state):
        n = state["n"] + step_size
        return advantages + n, {"n": n}

    return Stateful(lambda: {"n": 0}, update, "counter")


def test_evaluation_reads_memory_and_leaves_it():
    pipeline = Pipeline([counter])
    zero = torch.zeros(1, 2)
    assert pipeline.apply("advantages", zero, {}, learn=True)[0, 0] == 1
    assert pipeline.apply("advantages", zero, {}, learn=False)[0, 0] == 2
    assert pipeline.apply("advantages", zero, {}, learn=False)[0, 0] == 2
    assert pipeline.state_dict()["methods"] == {"counter": {"n": 1}}
    resumed = Pipeline([counter])
    resumed.load_state_dict(pipeline.state_dict())
    assert resumed.apply("advantages", zero, {}, learn=True)[0, 0] == 2


def test_rehearsal_leaves_no_trace():
    pipeline = Pipeline([counter])
    assert pipeline.rehearse(nothing_missing) == []
    assert pipeline.state_dict()["methods"] == {"counter": {"n": 0}}
    assert pipeline.take_effects() == {}


def test_rehearsal_meets_a_recipe_of_the_users_own():
    def vowels(*, texts):
        return torch.tensor([[sum(c in "aeiou" for c in t) for t in group] for group in texts])

    def fewer_vowels(token_weights, *, vowels):
        return token_weights / (1 + vowels[:, None])

    pipeline = Pipeline([fewer_vowels], {"vowels": vowels})
    assert pipeline.rehearse(nothing_missing) == []
    assert pipeline.ingredients(["vowels"]) == {"texts"}


def test_blend_and_schedule_reach_a_method_with_memory():
    half = blend(counter(), 0.5)
    pipeline = Pipeline([half, scheduled(blend(counter(), 1.0), strength=Linear(0.0, 1.0, 4))])
    y = pipeline.apply("advantages", torch.zeros(1, 2), {"step": 2, "boost": 1.0}, learn=True)
    assert y[0, 0] == 0.5 + 0.5  # half of 1, then half of another 1


def test_strengthening_needs_a_schedule_and_has_a_limit():
    with pytest.raises(ValueError, match=r"Wrap the method: divreg\.scheduled"):
        Pipeline([counter]).strengthen(2.0)

    def scale(rewards, *, by=2.0):
        return rewards * by

    pipeline = Pipeline([scheduled(scale, by=Linear(1.0, 1.0, 1))])
    assert [pipeline.strengthen(1.5) for _ in range(5)][-1] == 4.0
    resumed = Pipeline([scheduled(scale, by=Linear(1.0, 1.0, 1))])
    resumed.load_state_dict(pipeline.state_dict())
    assert resumed.boost == 4.0
