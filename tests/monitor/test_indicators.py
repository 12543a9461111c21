"""The two signs of over-optimisation, on series that are made up."""

import random

import pytest

from divreg.monitor.detect import Detector
from divreg.monitor.indicators import Indicators

RISES_AND_TURNS = [1.0, 1.2, 1.4, 1.6, 1.6, 1.5, 1.3, 1.1, 0.9, 0.8]
LEAKS = [0.99, 0.985, 0.98, 0.975, 0.96, 0.95, 0.94, 0.93, 0.92, 0.91]


def follow(name, values, indicators=None, start=0):
    """Every alert that a series completes, with the reading at which it does."""
    indicators = indicators or Indicators(errors=0)
    detector = Detector(on_probes=True, advice="dpo", last_healthy="run/checkpoint-4")
    found = []
    for i, value in enumerate(values, start=start):
        found += [(i, a) for a in indicators.update(10 * i, {name: value}, detector)]
    return found


def test_an_entropy_that_turns_down_is_a_reversal_told_once():
    ((at, alert),) = follow("top_entropy_bits_chosen", RISES_AND_TURNS)
    assert (at, alert.kind, alert.level, alert.step) == (9, "reversal", "warning", 90)
    assert alert.message == (
        "the entropy of the 10 likeliest next tokens of chosen answers has turned down: "
        "1.60 -> 0.80 bits"
    )
    text = "\n".join(alert.lines())
    assert "beta=0.2" in text
    assert "run/checkpoint-4" in text
    assert len(alert.lines()) == 4


def test_a_mass_that_falls_below_its_first_value_is_a_leak_told_once():
    ((at, alert),) = follow("top_mass_frac_rejected", LEAKS)
    assert (at, alert.kind) == (4, "leak")
    assert "probability leaks from the 10 likeliest next tokens of rejected answers" in (
        alert.message
    )
    assert "0.990 -> 0.960" in alert.message


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("top_entropy_bits_probe", [1.0, 1.2, 1.4, 1.6, 1.8]),
        ("top_entropy_bits_probe", [1.0, 1.05, 1.0, 0.95, 1.0, 1.05, 1.0]),
        ("top_mass_frac_probe", [0.9, 0.92, 0.89, 0.95, 0.99]),
        ("entropy", RISES_AND_TURNS[::-1]),
    ],
)
def test_what_rises_or_wavers_says_nothing(name, values):
    assert not follow(name, values)


def test_every_setting_moves_an_alarm():
    name = "top_entropy_bits_chosen"

    def at(**settings):
        return [i for i, _ in follow(name, RISES_AND_TURNS, Indicators(errors=0, **settings))]

    assert at(window=1, patience=1) == [6]
    assert at(window=1, patience=1, entropy_drop=0.05) == [5]
    assert at(window=1, patience=2) == [7]
    assert at(entropy_drop=2.0) == []
    assert follow("top_mass_frac_probe", LEAKS, Indicators(mass_drop=0.2, errors=0)) == []


def noise(seed, spread, readings=200):
    drawn = random.Random(seed)
    return [drawn.gauss(0, spread) for _ in range(readings)]


def test_the_noise_of_small_batches_is_told_from_a_turn():
    entropies = [[1.6 + x for x in noise(seed, 0.06)] for seed in range(20)]
    masses = [[0.9 + x for x in noise(seed, 0.02)] for seed in range(20)]
    alarms = [follow("top_entropy_bits_chosen", e, Indicators()) for e in entropies]
    alarms += [follow("top_mass_frac_chosen", m, Indicators()) for m in masses]
    assert sum(map(bool, alarms)) <= 1
    assert follow("top_entropy_bits_chosen", entropies[0])  # without that guard
    turned = [1.5 + 0.01 * min(i, 80 - i) + x for i, x in enumerate(noise(0, 0.06, 80))]
    ((at, alert),) = follow("top_entropy_bits_chosen", turned, Indicators())
    assert alert.kind == "reversal"
    assert 45 < at < 75


def test_a_restored_run_goes_on_as_if_never_stopped():
    steady, stopped = Indicators(errors=0), Indicators(errors=0)
    expected = follow("top_mass_frac_probe", LEAKS, steady)
    found = follow("top_mass_frac_probe", LEAKS[:3], stopped)
    restored = Indicators(errors=0)
    restored.load_state_dict(stopped.state_dict())
    found += follow("top_mass_frac_probe", LEAKS[3:], restored, start=3)
    assert [(i, a.message) for i, a in found] == [(i, a.message) for i, a in expected]
    assert restored.state_dict() == steady.state_dict()


def test_a_step_is_the_mean_of_its_micro_batches():
    indicators, detector = Indicators(), Detector(on_probes=True)
    for value in (0.9, 0.8):
        indicators.keep({"top_mass_frac_chosen": value})
    assert indicators.step_end(1, detector) == []
    assert indicators.step_end(2, detector) == []
    assert indicators.series == {"top_mass_frac_chosen": [pytest.approx(0.85)]}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"k": 0}, r"k of at least 1; got 0"),
        ({"k": 2.5}, r"k of at least 1; got 2\.5"),
        ({"mass_drop": -1}, r"mass_drop of at least 0"),
        ({"top": 3}, r"takes k, entropy_drop, .*; got \['top'\]"),
        (True, r"got True\. Write indicators=\{'k': 10\}"),
    ],
)
def test_a_bad_setting_is_refused(settings, message):
    from divreg import spec

    with pytest.raises(ValueError, match=message):
        spec.load({"monitor": {"probe_prompts": ["a"], "indicators": settings}})


def test_a_trainer_with_rollouts_is_refused(make_tiny_model, tiny_tokenizer, grpo_arguments):
    import trl
    from datasets import Dataset

    from divreg import CollapseMonitor

    trainer = trl.GRPOTrainer(
        make_tiny_model(),
        reward_funcs=lambda completions, **_: [0.0] * len(completions),
        args=trl.GRPOConfig(**grpo_arguments),
        train_dataset=Dataset.from_dict({"prompt": ["a"] * 4}),
        processing_class=tiny_tokenizer,
    )
    with pytest.raises(ValueError, match=r"are for SFT and DPO; got GRPOTrainer\. Remove ind"):
        CollapseMonitor(trainer, indicators={"k": 5})
