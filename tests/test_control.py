"""Strengths that follow the step, or hold a signal: by hand, and through a method."""

import functools
import json

import pytest
import torch

from divreg import Cosine, Hold, Linear, methods, scheduled
from divreg.compose import Stateful, blend, contract
from divreg.control import MEASURES
from divreg.pipeline import Pipeline
from divreg.signals import SIGNALS
from divreg.testing import check_method


def scale(rewards, *, factor=2.0):
    return rewards * factor


def run(hold, measured, start=1.0, calls=1):
    """The strength at each step, when ``measured[step]`` is seen in it."""
    state, strengths = hold.begin(), []
    for step, value in enumerate(measured):
        for _ in range(calls):
            strength, state = hold.follow(state, step, value, start=start)
        strengths.append(strength)
    return strengths


def test_it_measures_first_then_moves_at_its_pace_then_in_proportion():
    """Baseline 2, target 1.4: far below, far above, then 0.07 of 0.14 below."""
    measured = [1.0, 3.0, 0.7, 0.7, 2.0, 1.33, 1.4, 1.4]
    hold = Hold("distinct", 0.7, baseline=2)
    expected = [10, 10, 10, 11, 12, 11, 11.5, 11.5]
    assert run(hold, measured, start=10.0) == pytest.approx(expected)


def test_too_little_raises_it_to_its_limit_and_too_much_turns_it_off():
    hold = Hold("mean_entropy", 0.5, baseline=1, pace=0.4, most=2.0)
    assert run(hold, [1.0] + [0.1] * 5) == pytest.approx([1, 1, 1.4, 1.8, 2.0, 2.0])
    assert run(hold, [1.0] + [9.0] * 5) == pytest.approx([1, 1, 0.6, 0.2, 0.0, 0.0])
    assert run(hold, [1.0, *[9.0] * 3, 0.1, 0.1])[-1] == pytest.approx(0.4), "it comes back at once"


def test_the_calls_of_one_step_count_once():
    hold = Hold("mean_entropy", 0.7, baseline=2)
    measured = [2.0, 2.0, 1.0, 1.0, 3.0, 1.45]
    assert run(hold, measured, calls=4) == pytest.approx(run(hold, measured))


def test_the_target_is_relative_to_the_runs_own_baseline():
    hold = Hold("mean_entropy", 0.7, baseline=1)
    measured = [2.0, 1.5, 1.39, 1.0, 1.8]
    assert run(hold, [7 * m for m in measured]) == pytest.approx(run(hold, measured))


def test_where_there_was_nothing_there_is_nothing_to_hold():
    assert run(Hold("mean_entropy", 0.7, baseline=1), [0.0, 0.0, 1.0, 0.0]) == [1.0] * 4


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"signal": "entropy"}, "got 'entropy'. Use one of 'mean_entropy', 'mean_var"),
        ({"share": 0.0}, "a share above 0; got 0.0"),
        ({"baseline": 0}, "a baseline of at least 1; got 0"),
        ({"pace": -0.1}, "a pace above 0; got -0.1"),
        ({"most": 0.5}, "a most of at least 1; got 0.5"),
    ],
)
def test_a_value_outside_its_range_is_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        Hold(**{"signal": "distinct", "share": 0.7, **wrong})


def test_what_can_be_held_is_a_signal():
    assert set(MEASURES) <= set(SIGNALS)


@pytest.mark.parametrize("start", [0.0, -1.0])
def test_a_strength_starts_above_zero(start):
    with pytest.raises(ValueError, match=r"Give one: Hold\('distinct', 0.7, start=0.1\)"):
        scheduled(functools.partial(scale, factor=start), factor=Hold("distinct", 0.7))


def test_a_strength_starts_where_it_is_told_to():
    off = functools.partial(scale, factor=0.0)
    held = scheduled(off, factor=Hold("distinct", 0.7, start=0.5))
    y, _ = held.update(torch.ones(2), held.init(), step=0, distinct=torch.ones(2))
    torch.testing.assert_close(y, torch.full((2,), 0.5))


def test_only_hyper_parameters_can_be_held():
    with pytest.raises(ValueError, match="no hyper-parameter 'rate' to schedule; it takes factor"):
        scheduled(scale, rate=Hold("distinct", 0.7))


def test_a_held_method_asks_for_the_step_and_what_is_measured():
    held = scheduled(scale, factor=Hold("distinct", 0.5, baseline=1))
    assert isinstance(held, Stateful)
    assert (contract(held).name, contract(held).signals) == ("scale", ("step", "distinct"))
    state, x = held.init(), torch.ones(2)
    for step, (classes, expected) in enumerate([(4.0, 2.0), (1.0, 2.0), (1.0, 2.2), (4.0, 2.4)]):
        y, state = held.update(x, state, step=step, distinct=torch.full((2,), classes))
        torch.testing.assert_close(y, x * expected)
        state = json.loads(json.dumps(state))


def test_a_hold_and_a_schedule_and_a_memory_go_together():
    f = scheduled(
        methods.outcome_exploration, c=Hold("distinct", 0.9, baseline=1), b0=Linear(0.5, 0.0, 2)
    )
    known = contract(f)
    assert set(known.signals) == {"answer", "correct", "prompt_id", "step", "boost", "distinct"}
    state = f.init()
    asked = {"answer": ["a", "b"], "correct": torch.tensor([False, False]), "prompt_id": "x"}
    for step in range(3):
        seen = {**asked, "step": step, "boost": 1.0, "distinct": torch.ones(2) * (2 - step)}
        y, state = f.update(torch.zeros(2), state, **seen)
    # c is 0.2 raised once by a tenth, b0 is 0, and both answers were seen three times.
    torch.testing.assert_close(y, torch.full((2,), 0.22 * 3**-0.5))
    assert state["inner"] == {"counts": {"x": {"a": 3, "b": 3}}}


@pytest.mark.parametrize(
    "f",
    [
        scheduled(methods.rarity, power=Hold("distinct", 0.7)),
        scheduled(methods.entropy_bonus, strength=Hold("mean_entropy", 0.7, baseline=1)),
        scheduled(methods.entropy_advantage, alpha=Hold("mean_entropy", 0.7, baseline=1)),
        scheduled(methods.outcome_exploration, c=Hold("mean_entropy", 0.7, baseline=1)),
        blend(scheduled(methods.progrpo, alpha=Hold("distinct", 0.7)), 0.5),
        scheduled(methods.rarity, power=Cosine(0.5, 0.1, 10)),
    ],
    ids=["rewards", "loss", "tokens", "memory", "blend", "cosine"],
)
def test_following_breaks_no_law(f):
    check_method(f, examples=8)


def test_evaluation_leaves_a_controller_where_it_is():
    pipeline = Pipeline([scheduled(scale, factor=Hold("distinct", 0.5, baseline=1))])
    signals = {"step": 0, "distinct": torch.full((1, 2), 4.0)}
    pipeline.apply("rewards", torch.ones(1, 2), signals, learn=True)
    before = json.dumps(pipeline.state_dict())
    for step in range(1, 4):
        signals = {"step": step, "distinct": torch.full((1, 2), 1.0)}
        pipeline.apply("rewards", torch.ones(1, 2), signals, learn=False)
    assert json.dumps(pipeline.state_dict()) == before
    assert pipeline.take_effects()["scale_factor_of_start"] == 1.0
