"""With an empty list of interventions the Diverse trainers are TRL's, bit for bit."""

import pytest

OPTIONS = {
    "plain": {},
    "accumulation": {"args": {"gradient_accumulation_steps": 2}},
    "two_iterations": {"args": {"num_iterations": 2, "max_steps": 4}},
    "reference": {"args": {"beta": 0.1}},
    "lora": {"lora": True, "args": {"beta": 0.1}},
    "two_rewards": {"rewards": ["parity", "variety"], "args": {"reward_weights": [1.0, 0.5]}},
    "evaluation": {"evaluate": True, "args": {"num_generations_eval": 2}},
}


@pytest.mark.parametrize("option", OPTIONS)
@pytest.mark.parametrize("name", ["GRPOTrainer", "RLOOTrainer"])
def test_an_empty_list_trains_bit_for_bit_as_trl(name, option, train):
    stock = train(name, **OPTIONS[option])
    empty = train(f"Diverse{name}", interventions=[], **OPTIONS[option])
    assert empty["digest"] == stock["digest"]
    assert empty["logs"] == stock["logs"]


@pytest.mark.parametrize("name", ["GRPOTrainer", "RLOOTrainer"])
def test_the_monitor_changes_neither_weights_nor_trls_logs(name, train, scenarios):
    stock = train(name, args={"num_iterations": 2, "max_steps": 4})
    options = {"args": {"num_iterations": 2, "max_steps": 4}, "monitor": {}}
    for watched in (train(name, **options), train(f"Diverse{name}", interventions=[], **options)):
        assert watched["digest"] == stock["digest"]
        assert scenarios.without_ours(watched["logs"]) == stock["logs"]
        assert any("diversity/distinct_classes" in row for row in watched["logs"])


@pytest.mark.parametrize("monitor", [None, {}])
@pytest.mark.parametrize("name", ["GRPOTrainer", "RLOOTrainer"])
def test_a_resumed_run_is_still_trls(name, monitor, train, scenarios, tmp_path):
    saved = {"save_strategy": "steps", "save_steps": 2, "max_steps": 4}
    results = []
    for trainer, more in ((name, {}), (f"Diverse{name}", {"interventions": []})):
        folder = tmp_path / trainer
        options = {"args": saved, "output_dir": folder, "monitor": monitor, **more}
        train(trainer, **options)
        results.append(train(trainer, resume=str(folder / "checkpoint-2"), **options))
    stock, empty = results
    assert empty["digest"] == stock["digest"]
    assert scenarios.without_ours(empty["logs"]) == scenarios.without_ours(stock["logs"])


def test_an_intervention_changes_the_weights(train):
    stock = train("GRPOTrainer")
    assert train("DiverseGRPOTrainer", interventions=["darling"])["digest"] != stock["digest"]


def test_two_processes_with_groups_across_them_train_as_trl(launch, scenarios):
    split = {"per_device_train_batch_size": 2, "num_generations": 4}
    options = [
        {"args": split},
        {"args": {**split, "gradient_accumulation_steps": 2, "num_iterations": 2}},
        {"args": {**split, "beta": 0.1}, "lora": True},
    ]
    listed = []
    for name in ("GRPOTrainer", "RLOOTrainer"):
        for option in options:
            listed.append({"trainer": name, **option})
            listed.append({"trainer": f"Diverse{name}", "interventions": [], **option})
            listed.append(
                {"trainer": f"Diverse{name}", "interventions": [], "monitor": {}, **option}
            )
    results = launch(listed)
    for i in range(0, len(results), 3):
        stock, empty, watched = results[i : i + 3]
        assert stock["world"] == 2
        assert empty["digest"] == stock["digest"] == watched["digest"]
        assert empty["logs"] == stock["logs"] == scenarios.without_ours(watched["logs"])
