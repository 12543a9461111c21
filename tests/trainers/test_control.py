"""Held strengths in training: they move, survive a stop, and are the same on every process."""

import pytest

HELD = {
    "loss": {"entropy_bonus": {"strength": {"hold": ["mean_entropy", 0.5, 0.01, 1]}}},
    "rewards": {"rarity": {"power": {"hold": ["distinct", 3.0, 0.5, 1]}}},
    "tokens": {"entropy_advantage": {"alpha": {"hold": ["mean_entropy", 2.0, 0.4, 1]}}},
    "advantages": {"uniqueness": {"alpha": {"hold": ["mean_entropy", 2.0, 0.5, 1]}}},
}


def strength(result, name):
    """What was logged of a held strength, one number a step."""
    key = f"diversity/{name}_of_start"
    return [round(row[key], 6) for row in result["logs"] if key in row]


@pytest.mark.parametrize("trainer", ["GRPO", "RLOO"])
def test_a_held_strength_moves_both_ways_at_every_stage(trainer, train):
    """An untrained model stays near its baseline: half of it is too little, twice is too much.

    The first step is measured, the second has that for a baseline, from the third on it moves.
    """
    args = {"max_steps": 5, "gradient_accumulation_steps": 2}
    result = train(f"Diverse{trainer}Trainer", interventions=list(HELD.values()), args=args)
    assert strength(result, "entropy_bonus_strength") == [1.0, 1.0, 0.9, 0.8, 0.7]
    for raised in ("rarity_power", "entropy_advantage_alpha", "uniqueness_alpha"):
        assert strength(result, raised) == [1.0, 1.0, 1.1, 1.2, 1.3]
    constant = [{name: {}} for method in HELD.values() for name in method]
    plain = train(f"Diverse{trainer}Trainer", interventions=constant, args=args)
    (ours, theirs) = ([r["loss"] for r in run["logs"] if "loss" in r] for run in (result, plain))
    assert ours[:2] == theirs[:2]
    assert ours[2:] != theirs[2:]


def test_a_held_strength_goes_on_after_a_stop(train, tmp_path):
    args = {"max_steps": 6, "save_strategy": "steps", "save_steps": 3}
    scenario = {"interventions": [HELD["loss"], HELD["rewards"]], "args": args, "evaluate": True}
    whole = train("DiverseGRPOTrainer", output_dir=tmp_path / "run", **scenario)
    checkpoint = str(tmp_path / "run" / "checkpoint-3")
    resumed = train(
        "DiverseGRPOTrainer", output_dir=tmp_path / "run", resume=checkpoint, **scenario
    )
    assert resumed["digest"] == whole["digest"]
    assert resumed["state"] == whole["state"]
    assert whole["state"]["methods"]["rarity"]["held"]["power"]["moved"] == pytest.approx(0.4)


def test_every_process_holds_the_same(launch):
    (result,) = launch(
        [
            {
                "trainer": "DiverseGRPOTrainer",
                "interventions": list(HELD.values()),
                "args": {"per_device_train_batch_size": 2, "num_generations": 4, "max_steps": 4},
            }
        ]
    )
    first, second = result["states"]
    assert first == second
    held = {k: v["held"] for k, v in first["methods"].items()}
    assert held["entropy_bonus"]["strength"]["moved"] == pytest.approx(-0.2)
    measured = held["entropy_bonus"]["strength"]["sum"]
    assert held["entropy_advantage"]["alpha"]["sum"] == pytest.approx(measured, rel=1e-6)
