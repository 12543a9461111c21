"""Without interventions ``DiverseSFTTrainer`` is TRL's, bit for bit."""

import pytest

OPTIONS = {
    "plain": {},
    "completions only": {"completions": True},
    "accumulation": {"args": {"gradient_accumulation_steps": 2}},
    "tokens of this process": {"args": {"average_tokens_across_devices": False}},
    "packing": {"args": {"packing": True}},
    "wrapped": {"args": {"packing": True, "packing_strategy": "wrapped"}},
    "padding-free": {"args": {"padding_free": True, "max_length": None}},
    "LoRA": {"lora": True, "args": {"gradient_checkpointing": True}},
    "DFT": {"args": {"loss_type": "dft"}},
    "evaluation": {"evaluate": True, "completions": True},
}


def same(ours, theirs):
    for key in ("digest", "moments", "logs"):
        assert ours[key] == theirs[key]


@pytest.mark.parametrize("option", OPTIONS)
def test_an_empty_list_trains_bit_for_bit_as_trl(option, train):
    stock = train("SFTTrainer", **OPTIONS[option])
    same(train("DiverseSFTTrainer", interventions=[], **OPTIONS[option]), stock)


def test_nothing_said_is_nothing_on(train):
    same(train("DiverseSFTTrainer"), train("SFTTrainer"))


def test_the_monitor_changes_neither_weights_nor_trls_logs(train, scenarios):
    stock = train("SFTTrainer")
    monitor = {"probe_prompts": ["What is "], "probe_every": 2, "probe_samples": 2}
    options = {"monitor": monitor, "interventions": []}
    for watched in (
        train("DiverseSFTTrainer", **options),
        train("DiverseSFTTrainer", args={"divreg": {"monitor": monitor, "interventions": []}}),
    ):
        assert watched["digest"] == stock["digest"]
        assert scenarios.without_ours(watched["logs"]) == stock["logs"]
        assert any("diversity/distinct_classes" in row for row in watched["logs"])


def test_a_resumed_run_is_still_trls(train, tmp_path):
    saved = {"save_strategy": "steps", "save_steps": 2, "max_steps": 4}
    results = []
    for trainer, more in (("SFTTrainer", {}), ("DiverseSFTTrainer", {"interventions": []})):
        options = {"args": saved, "output_dir": tmp_path / trainer, **more}
        train(trainer, **options)
        checkpoint = str(tmp_path / trainer / "checkpoint-2")
        results.append(train(trainer, resume=checkpoint, **options))
    same(*results)


def test_a_run_with_losses_resumes_where_it_was(train, tmp_path):
    held = {"confidence_penalty": {"strength": {"hold": ["mean_entropy", 0.9, 0.1, 1]}}}
    saved = {"save_strategy": "steps", "save_steps": 2, "max_steps": 4}
    for chosen in ([held], ["psft"]):
        signals = {"old_logprob": {"every": 2}} if chosen == ["psft"] else None
        name = tmp_path / str(chosen[0])[:8]
        options = {"args": saved, "interventions": chosen, "signals": signals, "output_dir": name}
        whole = train("DiverseSFTTrainer", **options)
        resumed = train("DiverseSFTTrainer", resume=str(name / "checkpoint-2"), **options)
        for key in ("digest", "moments", "state"):
            assert resumed[key] == whole[key]


def test_an_intervention_changes_the_weights(train):
    stock = train("SFTTrainer")
    assert train("DiverseSFTTrainer", interventions=["gem"])["digest"] != stock["digest"]


def test_divregs_head_trains_as_trls(train):
    args = {"args": {"divreg": {"head": "divreg", "interventions": ["confidence_penalty"]}}}
    ours = train("DiverseSFTTrainer", **args)["logs"]
    trls = train("DiverseSFTTrainer", interventions=["confidence_penalty"])["logs"]
    for a, b in zip(ours[:-1], trls[:-1], strict=True):
        for key in ("loss", "grad_norm", "entropy", "mean_token_accuracy", "diversity/ce_nats"):
            assert a[key] == pytest.approx(b[key], rel=1e-4)
        assert "diversity/collision_mass" in a


HALVES = {"per_device_train_batch_size": 2, "gradient_accumulation_steps": 2}
WHOLE = {"per_device_train_batch_size": 8}
CHOSEN = {
    "none": [],
    "gem": [{"gem": {"beta": 0.6}}],
    "weights": ["eaft"],
    "terms": ["unlikelihood", "label_smoothing", "confidence_penalty"],
    "psft": ["psft"],
    "texts": ["diffuse"],
}


@pytest.fixture(scope="module")
def two(launch):
    """TRL's and ours on two processes, and every choice on two with accumulation."""
    options = [{"args": {**HALVES, "packing": True}}, {"lora": True, "completions": True}]
    pairs = [({"trainer": "SFTTrainer"}, {"trainer": "DiverseSFTTrainer", "interventions": []})]
    identical = [{**given, **o} for o in options for pair in pairs for given in pair]
    exact = [
        {"trainer": "DiverseSFTTrainer", "interventions": chosen, "args": HALVES}
        for chosen in CHOSEN.values()
    ]
    results = launch([*identical, *exact])
    return results[: len(identical)], dict(zip(CHOSEN, results[len(identical) :], strict=True))


def test_two_processes_train_as_trl(two):
    results, _ = two
    for stock, empty in zip(results[::2], results[1::2], strict=True):
        assert stock["world"] == 2
        same(empty, stock)


@pytest.mark.parametrize("name", CHOSEN)
def test_two_processes_with_accumulation_are_one_with_a_big_batch(name, two, train):
    halves = two[1][name]
    whole = train("DiverseSFTTrainer", interventions=CHOSEN[name], args=WHOLE)
    for a, b in zip(halves["logs"][:-1], whole["logs"][:-1], strict=True):
        for key in ("loss", "grad_norm"):
            assert a[key] == pytest.approx(b[key], rel=2e-6), key


@pytest.mark.slow
@pytest.mark.parametrize("stage", [2, 3])
def test_deepspeed_gives_the_losses_of_two_plain_processes(stage, two, launch, deepspeed_launcher):
    args = {**HALVES, "use_cpu": False, "ddp_backend": "gloo"}
    listed = [
        {"trainer": "DiverseSFTTrainer", "interventions": chosen, "args": args}
        for chosen in CHOSEN.values()
    ]
    sharded = launch(listed, deepspeed_launcher(stage))
    for name, ours in zip(CHOSEN, sharded, strict=True):
        assert ours["sharded"] == (stage == 3)
        for a, b in zip(ours["logs"][:-1], two[1][name]["logs"][:-1], strict=True):
            for key in ("loss", "grad_norm"):
                assert a[key] == pytest.approx(b[key], rel=1e-4, abs=1e-5), (name, key)
