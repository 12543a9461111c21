"""Steps on what the model writes itself: which, of what, and what they change."""

import pytest
import torch

from divreg.trainers import _continuations
from divreg.trainers._rows import CARRIED

ALWAYS = {"generated": {"share": 1.0, "prefix": 3, "tokens": 12}}
REPEATS = {"sequence_unlikelihood": {"ngram": 1}}
SHARED = {"group_unlikelihood": {"ngram": 1}}


@pytest.fixture
def written(monkeypatch):
    """Every batch that a model wrote, as the trainer saw it."""
    kept = []
    write = _continuations.Continuations.write

    def listening(self, trainer, batches):
        kept.extend(write(self, trainer, batches))
        return kept[-len(batches) :]

    monkeypatch.setattr(_continuations.Continuations, "write", listening)
    return kept


def test_a_step_trains_on_the_models_own_continuation_of_a_prompt(train, written):
    options = {"completions": True, "interventions": [REPEATS], "signals": ALWAYS}
    result = train("DiverseSFTTrainer", **options)
    for batch in written:
        prompts = (batch["labels"] == -100) & (batch["attention_mask"] == 1)
        said = batch["labels"] != -100
        assert prompts.any(1).all()
        assert said.any(1).all()
        assert (batch["labels"][said] == batch["input_ids"][said]).all()
        assert said.sum(1).max() <= 12
    assert result["digest"] != train("SFTTrainer", completions=True)["digest"]
    assert not any("diversity/ce_nats" in row for row in result["logs"])


def test_samples_of_a_group_continue_one_prefix(train, written):
    signals = {"generated": {"share": 1.0, "prefix": 3, "tokens": 8, "samples": 2}}
    train("DiverseSFTTrainer", interventions=[SHARED], signals=signals)
    for batch in written:
        group = batch[f"{CARRIED}continues"]
        assert group.tolist() == [i // 2 for i in range(len(group))]
        starts = batch["input_ids"][:, :3]
        assert (starts[0] == starts[1]).all()


def test_no_step_of_its_own_trains_as_trl(train):
    never = {"generated": {"share": 0.0}}
    ours = train("DiverseSFTTrainer", interventions=[REPEATS], signals=never)
    assert ours["digest"] == train("SFTTrainer")["digest"]


@pytest.mark.parametrize("more", [{"lora": True}, {"args": {"gradient_accumulation_steps": 2}}])
def test_adapters_and_accumulated_batches(more, train, written):
    result = train("DiverseSFTTrainer", interventions=[REPEATS], signals=ALWAYS, **more)
    assert written
    assert all(row["loss"] >= 0 for row in result["logs"] if "loss" in row)


def test_which_steps_are_set_aside_depends_on_nothing_but_seed_and_step():
    half = _continuations.Continuations(share=0.5)
    days = [half.due(7, step) for step in range(200)]
    assert days == [half.due(7, step) for step in range(200)]
    assert 70 < sum(days) < 130
    assert days != [half.due(8, step) for step in range(200)]


REFUSED = {
    "packing": (REPEATS, None, {"packing": True}, r"one text a row.*packing=False"),
    "padding-free": (REPEATS, None, {"padding_free": True, "max_length": None}, "one text a row"),
    "a key": (REPEATS, {"generated": {"shar": 1}}, {}, r"some of prefix, samples, share, tokens"),
    "a share": (REPEATS, {"generated": {"share": 2}}, {}, r"from 0 to 1; got 2"),
    "one sample": (SHARED, {"generated": {"samples": 1}}, {}, r"samples, at least 2; got 1"),
    "a small batch": (SHARED, {"generated": {"samples": 64}}, {}, r"Use at least 64"),
    "nobody who reads": ("gem", {"generated": {}}, {}, r"needs a method that reads it"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_is_refused_when_built(name, scenarios, tiny_checkpoint, tmp_path):
    method, signals, args, says = REFUSED[name]
    scenario = {"trainer": "DiverseSFTTrainer", "interventions": [method], "args": args}
    with pytest.raises(ValueError, match=says):
        scenarios.build(tiny_checkpoint, {**scenario, "signals": signals}, tmp_path)


def test_an_old_policy_beside_it_is_refused(scenarios, tiny_checkpoint, tmp_path):
    scenario = {"trainer": "DiverseSFTTrainer", "interventions": ["psft", REPEATS]}
    with pytest.raises(ValueError, match="Leave psft or the unlikelihood out"):
        scenarios.build(tiny_checkpoint, scenario, tmp_path)


def test_random_numbers_of_training_are_not_drawn_from(train):
    torch.manual_seed(3)
    before = torch.get_rng_state()
    _continuations.Continuations().due(1, 2)
    assert (torch.get_rng_state() == before).all()
