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
