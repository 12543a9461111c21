"""Entropy and mass of the likeliest next tokens, while preference pairs are trained on."""

import json

import pytest
import torch

from divreg.history import read
from divreg.metrics.topk import topk_entropy_bits, topk_mass
from divreg.report.numbers import label_of, series_of

WATCHED = {
    "probe_prompts": ["What is ", "A "],
    "probe_every": 2,
    "probe_samples": 2,
    "probe_tokens": 8,
    "indicators": {"k": 5},
}
KEYS = {
    f"diversity/top_{kind}_{where}"
    for kind in ("entropy_bits", "mass_frac")
    for where in ("chosen", "rejected", "probe")
}


@pytest.mark.parametrize("lora", [False, True])
def test_the_numbers_are_those_of_all_logits(lora, scenarios, tiny_checkpoint, tmp_path):
    args = {"divreg": {"monitor": WATCHED}}
    given = {"trainer": "DiverseDPOTrainer", "args": args, "lora": lora}
    trainer = scenarios.build(tiny_checkpoint, given, tmp_path / "run")
    trainer.model.train()
    trainer.state.logging_steps = 1
    inputs = trainer._prepare_inputs(next(iter(trainer.get_train_dataloader())))
    trainer.compute_loss(trainer.model, dict(inputs))
    with torch.no_grad():
        logits = trainer.model(
            input_ids=inputs["input_ids"], attention_mask=inputs["attention_mask"]
        ).logits[:, :-1]
    mask = inputs["completion_mask"][:, 1:].bool()
    for where, rows in (("chosen", slice(4)), ("rejected", slice(4, 8))):
        seen = logits[rows][mask[rows]].double().numpy()
        bits, mass = topk_entropy_bits(seen, k=5).mean(), topk_mass(seen, k=5).mean()
        logged = trainer._metrics["train"]
        assert logged[f"diversity/top_entropy_bits_{where}"] == [pytest.approx(bits, rel=1e-5)]
        assert logged[f"diversity/top_mass_frac_{where}"] == [pytest.approx(mass, rel=1e-5)]


def test_following_changes_nothing_and_costs_nothing_between_two_lines(train, scenarios, tmp_path):
    halves = {"logging_steps": 2, "max_steps": 4, "gradient_accumulation_steps": 2}
    stock = train("DPOTrainer", args=halves)
    where = tmp_path / "watched"
    watched = train(
        "DiverseDPOTrainer",
        args={**halves, "divreg": {"monitor": WATCHED}},
        output_dir=where,
    )
    assert watched["digest"] == stock["digest"]
    assert scenarios.without_ours(watched["logs"]) == stock["logs"]
    for row in watched["logs"][:-1]:
        assert set(row) >= KEYS
    history = read(where)
    series = series_of(history)
    for key in KEYS:
        name = key.removeprefix("diversity/")
        assert series[name].steps == ([0, 2, 4] if name.endswith("probe") else [2, 4])
    assert history.run["monitor"]["indicators"]["k"] == 5
    assert label_of("top_mass_frac_chosen") == "Mass of the likeliest tokens, chosen"


def test_an_alarm_is_told_recorded_and_reported(train, tmp_path, caplog):
    from divreg.report import write_report

    where = tmp_path / "run"
    eager = {"k": 5, "entropy_drop": 0.0, "mass_drop": 0.0, "patience": 1, "window": 1}
    eager |= {"errors": 0}
    monitor = {**WATCHED, "indicators": eager, "on_collapse": "stop"}
    args = {"max_steps": 8, "learning_rate": 1e-2, "divreg": {"monitor": monitor}}
    result = train("DiverseDPOTrainer", args=args, output_dir=where)
    assert result["logs"][-1]["step"] == 8  # a warning stops nothing
    lines = (where / "divreg" / "events.jsonl").read_text().splitlines()
    alerts = [e for e in map(json.loads, lines) if e["event"] == "alert"]
    assert {alert["kind"] for alert in alerts} == {"reversal"}
    assert len(alerts) == 3  # each series tells it once
    assert "likeliest next tokens" in caplog.text
    page = write_report(where).html.read_text()
    assert "likeliest next tokens" in page


@pytest.mark.parametrize("trainer", ["DPOTrainer", "SFTTrainer"])
def test_a_stock_trainer_is_followed_by_its_probes(trainer, train):
    logs = train(trainer, monitor=WATCHED)["logs"]
    found = {key for row in logs for key in row if key in KEYS}
    assert found == {key for key in KEYS if key.endswith("probe")}


def test_the_probes_numbers_are_those_of_all_logits():
    from divreg.trainers._probe import EntropyMeter

    drawn = torch.Generator().manual_seed(0)
    meter = EntropyMeter(2, {7}, 5)
    ids = torch.tensor([[1, 2, 3], [1, 2, 7]])  # the second has ended
    scores = 3 * torch.randn(2, 40, generator=drawn)
    assert meter(ids, scores) is scores
    bits, mass = topk_entropy_bits(scores[0].numpy(), k=5), topk_mass(scores[0].numpy(), k=5)
    assert meter.tokens == 1
    assert meter.top_nats == pytest.approx(float(bits) * torch.log(torch.tensor(2.0)).item())
    assert meter.top_mass == pytest.approx(float(mass))
