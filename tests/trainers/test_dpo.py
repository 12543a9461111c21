"""Without anything on ``DiverseDPOTrainer`` is TRL's, bit for bit; what is on acts exactly."""

import pytest

OPTIONS = {
    "plain": {},
    "accumulation": {"args": {"gradient_accumulation_steps": 2}},
    "computed before": {"args": {"precompute_ref_log_probs": True}},
    "LoRA": {"lora": True, "args": {"gradient_checkpointing": True}},
    "other losses": {"args": {"loss_type": ["ipo", "sft"], "loss_weights": [1.0, 0.5]}},
    "forward KL": {"args": {"f_divergence_type": "forward_kl"}},
    "Jensen-Shannon": {"args": {"f_divergence_type": "js_divergence"}},
    "evaluation": {"evaluate": True},
}


def same(ours, theirs):
    for key in ("digest", "moments", "logs"):
        assert ours[key] == theirs[key]


@pytest.mark.parametrize("option", OPTIONS)
def test_an_empty_list_trains_bit_for_bit_as_trl(option, train):
    stock = train("DPOTrainer", **OPTIONS[option])
    same(train("DiverseDPOTrainer", interventions=[], **OPTIONS[option]), stock)


@pytest.mark.parametrize("option", ["plain", "computed before", "LoRA", "evaluation"])
def test_spl_with_equal_coefficients_is_trl_bit_for_bit(option, train):
    given = {**OPTIONS[option], "args": {**OPTIONS[option].get("args", {}), "beta": 0.2}}
    stock = train("DPOTrainer", **given)
    given["args"] = {**given["args"], "divreg": {"spl": {"alpha": 0.2}}}
    same(train("DiverseDPOTrainer", **given), stock)


def test_a_resumed_run_is_still_trls(train, tmp_path):
    saved = {"save_strategy": "steps", "save_steps": 2, "max_steps": 4}
    results = []
    for trainer, more in (("DPOTrainer", {}), ("DiverseDPOTrainer", {"interventions": []})):
        options = {"args": saved, "output_dir": tmp_path / trainer, **more}
        train(trainer, **options)
        checkpoint = str(tmp_path / trainer / "checkpoint-2")
        results.append(train(trainer, resume=checkpoint, **options))
    same(*results)


def test_the_monitor_changes_neither_weights_nor_trls_logs(train, scenarios):
    stock = train("DPOTrainer")
    monitor = {"probe_prompts": ["What is "], "probe_every": 2, "probe_samples": 2}
    watched = train("DiverseDPOTrainer", args={"divreg": {"monitor": monitor}})
    assert watched["digest"] == stock["digest"]
    assert scenarios.without_ours(watched["logs"]) == stock["logs"]
    assert any("diversity/distinct_classes" in row for row in watched["logs"])


def test_even_weights_train_as_trl_and_others_do_not(train, scenarios):
    stock = train("DPOTrainer", evaluate=True)  # on data without weights
    even = {**scenarios.preferences(), "share": [1.0] * 12}
    given = {"interventions": ["ddpo"], "data": even, "evaluate": True}
    ours = train("DiverseDPOTrainer", signals={"pair_weight": "share"}, **given)
    assert ours["digest"] == stock["digest"]
    assert scenarios.without_ours(ours["logs"]) == stock["logs"]
    assert train("DiverseDPOTrainer", **given)["digest"] != stock["digest"]


HALVES = {"per_device_train_batch_size": 2, "gradient_accumulation_steps": 2}
WHOLE = {"per_device_train_batch_size": 8}
CHOSEN = {
    "none": {"interventions": []},
    "ddpo": {"interventions": ["ddpo"]},
    "ddpo, computed before": {
        "interventions": ["ddpo"],
        "args": {"precompute_ref_log_probs": True},
    },
    "dorpo": {"interventions": ["dorpo"]},
    "spl": {"args": {"divreg": {"spl": {"alpha": 0.3}}}},
}


def divided(name, sizes):
    """A scenario with batches of these sizes."""
    return {**CHOSEN[name], "args": {**CHOSEN[name].get("args", {}), **sizes}}


@pytest.fixture(scope="module")
def two(launch):
    """TRL's and ours on two processes, and every choice on two with accumulation."""
    options = [{"args": HALVES}, {"lora": True}]
    pairs = [({"trainer": "DPOTrainer"}, {"trainer": "DiverseDPOTrainer", "interventions": []})]
    identical = [{**given, **o} for o in options for pair in pairs for given in pair]
    exact = [{"trainer": "DiverseDPOTrainer", **divided(name, HALVES)} for name in CHOSEN]
    results = launch([*identical, *exact])
    return results[: len(identical)], dict(zip(CHOSEN, results[len(identical) :], strict=True))


def test_two_processes_train_as_trl(two):
    results, _ = two
    for stock, empty in zip(results[::2], results[1::2], strict=True):
        assert stock["world"] == 2
        same(empty, stock)


@pytest.mark.parametrize("name", CHOSEN)
def test_two_processes_with_accumulation_are_one_with_a_big_batch(name, two, train):
    whole = train("DiverseDPOTrainer", **divided(name, WHOLE))
    for a, b in zip(two[1][name]["logs"][:-1], whole["logs"][:-1], strict=True):
        for key in ("loss", "grad_norm"):
            assert a[key] == pytest.approx(b[key], rel=2e-5), key


@pytest.mark.slow
@pytest.mark.parametrize("stage", [2, 3])
def test_deepspeed_gives_the_losses_of_two_plain_processes(stage, two, launch, deepspeed_launcher):
    args = {**HALVES, "use_cpu": False, "ddp_backend": "gloo"}
    listed = [{"trainer": "DiverseDPOTrainer", **divided(name, args)} for name in CHOSEN]
    sharded = launch(listed, deepspeed_launcher(stage))
    for name, ours in zip(CHOSEN, sharded, strict=True):
        assert ours["sharded"] == (stage == 3)
        for a, b in zip(ours["logs"][:-1], two[1][name]["logs"][:-1], strict=True):
            for key in ("loss", "grad_norm"):
                assert a[key] == pytest.approx(b[key], rel=1e-4, abs=1e-5), (name, key)
