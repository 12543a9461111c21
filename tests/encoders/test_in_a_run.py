"""Encoders and judges inside a training: configured by a recipe, recorded, not saved."""

import json
from pathlib import Path

import pytest
from safetensors import safe_open


def letters(completions, **_):
    """1 for a completion whose first character is a letter."""
    return [float(c[:1].isalpha()) for c in completions]


@pytest.fixture
def train(tiny_model, tiny_tokenizer, tiny_dataset, grpo_arguments):
    """``train(block)``: train one step with a ``divreg:`` block; the trainer and its run event."""

    def go(block):
        from divreg import DiverseGRPOConfig, DiverseGRPOTrainer

        settings = {**grpo_arguments, "max_steps": 1, "divreg": {"monitor": True, **block}}
        trainer = DiverseGRPOTrainer(
            tiny_model,
            letters,
            DiverseGRPOConfig(**settings),
            train_dataset=tiny_dataset,
            processing_class=tiny_tokenizer,
        )
        trainer.train()
        events = Path(trainer.args.output_dir) / "divreg" / "events.jsonl"
        return trainer, json.loads(events.read_text().splitlines()[0])

    return go


def test_classes_of_a_judge_and_vectors_of_a_server(train, make_judge, server, tmp_path):
    judge = {"classifier": make_judge("different", "same"), "max_tokens": 8, "device": "cpu"}
    trainer, run = train(
        {
            "interventions": ["darling", "dra"],
            "signals": {
                "partition": {"by_pairs": {**judge, "threshold": 0.4, "short_words": 0}},
                "embedding": {"endpoint": server.url, "model": "letters"},
            },
        }
    )
    judged = {
        "model": judge["classifier"],
        "max_tokens": 8,
        "truncate": "left",
        "same": "same",
        "symmetric": True,
    }
    embedded = {
        "model": "letters",
        "endpoint": server.url + "/embeddings",
        "embed": "text",
        "truncate": "as the server does",
    }
    assert run["signals"] == {
        "partition": {"function": "by_pairs", "threshold": 0.4, "short_words": 0, "judge": judged},
        "embedding": embedded,
    }
    assert run["encoder"] == judged
    assert len(server.asked) > 1, "asked at construction and for the rollout"
    trainer.save_model(str(tmp_path / "saved"))
    with safe_open(tmp_path / "saved" / "model.safetensors", "pt") as saved:
        assert set(saved.keys()) <= set(trainer.model.state_dict())
    assert not [m for m in trainer.model.modules() if "Bert" in type(m).__name__]


def test_the_last_tokens_of_the_real_encoder(train, folder):
    embedding = {"encoder": folder, "device": "cpu", "embed": "last_tokens", "tokens": 16}
    _, run = train({"interventions": ["dra"], "signals": {"embedding": embedding}})
    assert run["encoder"] == run["signals"]["embedding"]
    assert run["encoder"] == {
        "model": folder,
        "embed": "last_tokens",
        "tokens": 16,
        "truncate": "left",
        "max_tokens": 256,
    }


def test_a_monitor_of_a_stock_trainer_says_what_judges(
    make_judge, tiny_model, tiny_tokenizer, tiny_dataset, grpo_arguments
):
    import functools

    from trl import GRPOConfig, GRPOTrainer

    from divreg import CollapseMonitor, signals
    from divreg.encoders import NLIEquivalence

    folder = make_judge("entailment", "neutral", "contradiction")
    judge = NLIEquivalence(folder, max_tokens=8, device="cpu")
    partition = functools.partial(signals.by_pairs, judge=judge)
    args = GRPOConfig(**{**grpo_arguments, "max_steps": 1})
    trainer = GRPOTrainer(
        tiny_model, letters, args, train_dataset=tiny_dataset, processing_class=tiny_tokenizer
    )
    trainer.add_callback(CollapseMonitor(trainer, partition=partition))
    trainer.train()
    events = (Path(args.output_dir) / "divreg" / "events.jsonl").read_text().splitlines()
    run = json.loads(events[0])
    assert run["partition"] == {"function": "by_pairs", "judge": judge.facts}
    assert run["encoder"]["same"] == "entailment both ways"
    assert run["equivalence"] == "by_pairs"
