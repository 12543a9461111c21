"""divreg's loss head: TRL's numbers and gradients, and the statistics that TRL's does not have."""

import pytest
import torch
from divreg_kernels import last_backend, token_stats_reference

from divreg import methods, scheduled
from divreg.control import Hold
from divreg.trainers import _head

OURS = {"divreg": {"head": "divreg"}}
EXTRAS = ("varentropy", "log_sum_p2", "sum_p2_logp")


@pytest.fixture
def build(scenarios, tiny_checkpoint, tmp_path):
    """``build(**scenario)``: a trainer, not yet run."""

    def go(trainer="DiverseGRPOTrainer", **scenario):
        return scenarios.build(tiny_checkpoint, {"trainer": trainer, **scenario}, tmp_path / "run")

    return go


def batch(trainer):
    """Rows of two prompts with completions of different length, and their labels."""
    rows = ["What is 1 plus 1? eat ten apples", "What is 2 plus 1? tea"]
    ids = trainer.processing_class(rows, return_tensors="pt", padding=True)
    labels = ids["input_ids"].masked_fill(ids["attention_mask"] == 0, -100)
    labels[:, :4] = -100
    return {**ids, "labels": labels, "fused_lm_head": True}


def test_the_head_gives_trls_numbers_and_gradients_and_the_exact_statistics(build):
    chosen = {"temperature": 0.7}
    ours = build(interventions=[], args={**OURS, **chosen})
    trls = build("GRPOTrainer", args=chosen)
    trls.model.load_state_dict(ours.model.state_dict())
    given = batch(ours)
    a, b = ours.model(**given), trls.model(**given)
    torch.testing.assert_close(a.log_probs, b.log_probs, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(a.entropy, b.entropy, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(a.loss, b.loss)
    assert torch.equal(a.label_mask, b.label_mask)
    assert last_backend() == "torch"

    logits = ours.model(given["input_ids"], attention_mask=given["attention_mask"]).logits[:, :-1]
    targets = given["labels"][:, 1:]
    truth = token_stats_reference(
        logits, targets.clamp(min=0), temperature=0.7, mask=targets != -100
    )
    found = _head.scores(a)
    for name in EXTRAS:
        torch.testing.assert_close(found[name].double(), getattr(truth, name), rtol=1e-4, atol=1e-5)
    for output in (a, b):
        (output.log_probs.sum() + 0.3 * output.entropy.sum()).backward()
    for x, y in zip(ours.model.parameters(), trls.model.parameters(), strict=True):
        torch.testing.assert_close(x.grad, y.grad, rtol=1e-4, atol=1e-5)


def test_a_batch_without_labels_gives_a_loss_of_zero_that_can_be_differentiated(build):
    trainer = build(interventions=[], args=OURS)
    given = batch(trainer)
    given["labels"] = torch.full_like(given["labels"], -100)
    trainer.model(**batch(trainer))
    output = trainer.model(**given)
    assert output.loss.item() == 0
    output.loss.backward()


def test_generation_does_not_notice(build):
    ours, trls = build(interventions=[], args=OURS), build("GRPOTrainer")
    trls.model.load_state_dict(ours.model.state_dict())
    ids = trls.processing_class("What is 3 plus 1?", return_tensors="pt")["input_ids"]
    texts = [m.generate(ids, max_new_tokens=5, do_sample=False) for m in (ours.model, trls.model)]
    assert torch.equal(*texts)


KINDS = {
    "plain": {},
    "LoRA": {"lora": True, "args": {"beta": 0.1}},
    "gradient checkpointing": {"args": {"gradient_checkpointing": True}},
    "several updates": {"args": {"num_iterations": 2, "steps_per_generation": 2}},
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["GRPO", "RLOO"])
def test_training_is_the_one_with_trls_head(train, name, kind):
    scenario = {"interventions": ["entropy_bonus"], **KINDS[kind]}
    both = []
    for extra in ({}, OURS):
        args = {**scenario.get("args", {}), **extra, "max_steps": 3}
        both.append(train(f"Diverse{name}Trainer", **{**scenario, "args": args})["logs"])
    for theirs, ours in zip(*both, strict=True):
        for key in ("loss", "grad_norm", "entropy"):
            if key in theirs:
                assert ours[key] == pytest.approx(theirs[key], rel=1e-3, abs=1e-5)


def test_steer_and_a_controller_use_what_only_this_head_has(train, monkeypatch, scenarios):
    hold = Hold("mean_varentropy", 0.9, 0.05, baseline=1)
    chosen = [methods.steer_exact, scheduled(methods.entropy_bonus, strength=hold)]
    monkeypatch.setattr(scenarios, "interventions", lambda _: (chosen, {}))
    args = {**OURS, "num_iterations": 2, "max_steps": 4}
    logs = train("DiverseGRPOTrainer", args=args)["logs"]
    assert logs[-2]["diversity/steer_exact_mean_change"] > 0
    assert logs[-2]["diversity/entropy_bonus_strength_of_start"] != 1


def test_the_statistics_are_logged_where_the_head_has_them(train):
    logs = train("DiverseGRPOTrainer", interventions=["rarity"], args=OURS)["logs"]
    for key in ("varentropy_nats2", "collision_mass", "entropy_change_nats"):
        assert f"diversity/{key}" in logs[0]
    assert logs[0]["diversity/collision_mass"] <= 1
    other = train("DiverseGRPOTrainer", interventions=["rarity"])["logs"]
    assert "diversity/varentropy_nats2" not in other[0]


def test_what_only_this_head_has_is_refused_with_trls(build, monkeypatch, scenarios):
    monkeypatch.setattr(scenarios, "interventions", lambda _: ([methods.steer_exact], {}))
    with pytest.raises(ValueError, match=r"TRL's own loss head does not compute.*head: divreg"):
        build()


def test_a_head_that_does_not_exist_is_refused(build):
    with pytest.raises(ValueError, match="head needs trl or divreg; got 'liger'"):
        build(interventions=[], args={"divreg": {"head": "liger"}})


def test_logits_that_autocast_rounds_are_no_reason_to_refuse_a_model(build):
    trainer = build(interventions=[], args={**OURS, "bf16": True})
    with torch.no_grad():
        trainer.model.get_output_embeddings().weight.mul_(20)  # a trained model's logits: tens
    given = batch(trainer)
    with trainer.accelerator.autocast():
        trainer.model(**given)
    wrong = _head._Head({"temperature": 0.5})
    trls = build("GRPOTrainer").model
    trls.load_state_dict(trainer.model.state_dict())
    del given["fused_lm_head"]
    with trainer.accelerator.autocast(), pytest.raises(RuntimeError, match="differ by"):
        _head._compare(trainer.model, wrong, trls.forward, (), given)


def test_a_model_whose_logits_divreg_gets_wrong_is_refused(build):
    trainer, trls = build(interventions=[], args=OURS), build("GRPOTrainer").model
    trls.load_state_dict(trainer.model.state_dict())
    given = batch(trainer)
    del given["fused_lm_head"]
    wrong = _head._Head({"temperature": 0.5})
    trainer.model.train()
    with pytest.raises(RuntimeError, match=r"differ by .* Use head: trl"):
        _head._compare(trainer.model, wrong, trls.forward, (), given)
    assert trainer.model.training
