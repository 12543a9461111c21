import json

import pytest
import torch
from datasets import Dataset

from divreg import CollapseMonitor
from divreg.anchors import texts
from divreg.trainers.anchor_watch import AnchorWatch
from divreg.trainers.sft import DiverseSFTConfig, DiverseSFTTrainer

VALUES = {"topic": ["a", "b", "c"]}


@pytest.fixture
def run(model, names, tmp_path):
    """``run(**watch)``: six steps towards one topic; the trainer and what its records hold."""

    def go(monitored=False, **watch):
        callbacks = []
        if monitored:
            callbacks = [
                CollapseMonitor(
                    probe_prompts=["Name one."], probe_every=1, probe_samples=2, probe_tokens=4
                )
            ]
        trainer = DiverseSFTTrainer(
            model,
            args=DiverseSFTConfig(
                output_dir=str(tmp_path),
                max_steps=6,
                learning_rate=1e-2,
                use_cpu=True,
                bf16=False,
                report_to="none",
                save_strategy="no",
                logging_steps=1,
                disable_tqdm=True,
            ),
            train_dataset=Dataset.from_list(
                [texts.example("Name one.", {"topic": "a"}, "A cat.")] * 48
            ),
            processing_class=names,
            callbacks=callbacks,
            interventions=[],
        )
        trainer.add_callback(AnchorWatch(trainer, prompts=["Name one."], every=1, **watch))
        trainer.train()
        return trainer

    return go


def test_a_model_that_learns_one_topic_moves_away_from_its_start(run, tmp_path):
    trainer = run(values=VALUES, monitored=True)
    logs = [row for row in trainer.state.log_history if "anchor/kl_nats" in row]
    assert [row["step"] for row in logs] == [1, 2, 3, 4, 5, 6]
    assert 0 < logs[0]["anchor/kl_nats"] < logs[-1]["anchor/kl_nats"]
    assert logs[0]["anchor/entropy_nats"] > logs[-1]["anchor/entropy_nats"]
    assert 0 < logs[0]["anchor/mass_frac"] <= 1
    lines = (tmp_path / "divreg" / "events.jsonl").read_text().splitlines()
    seen = [e["signals"] for e in map(json.loads, lines) if e["event"] == "step"]
    assert seen[0]["anchor_kl_nats"] == 0
    assert seen[-1]["anchor_kl_nats"] == pytest.approx(logs[-1]["anchor/kl_nats"], rel=1e-5)
    assert len(json.loads((tmp_path / "divreg" / "anchor_start.json").read_text())[0]) == 3


def test_the_training_does_not_notice(run, model):
    before = {n: p.detach().clone() for n, p in model.named_parameters()}
    found = []
    for words in ({"values": VALUES}, {"values": {"topic": ["a"]}}):
        with torch.no_grad():
            for n, p in model.named_parameters():
                p.copy_(before[n])
        found.append([row["loss"] for row in run(**words).state.log_history if "loss" in row])
    assert found[0] == found[1]


def test_without_values_annotations_are_sampled(run):
    logs = run(samples=4).state.log_history
    assert all(row["anchor/js_nats"] >= 0 for row in logs if "anchor/js_nats" in row)
    assert any("anchor/entropy_nats" in row for row in logs)
    assert not any("anchor/kl_nats" in row for row in logs)
