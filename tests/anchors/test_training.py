"""What anchoring does to a real trainer, against labels that are written out."""

import functools
import logging

import pytest
import torch
from datasets import Dataset

from divreg import losses
from divreg.anchors import labels, texts
from divreg.trainers.sft import DiverseSFTConfig, DiverseSFTTrainer

ROWS = [
    ("Say one.", {"topic": "numbers"}, "One."),
    ("Name an animal that lives in trees.", {"topic": "animals", "mood": "calm"}, "A monkey."),
    ("What now?", None, "No idea."),
    ("And a colour?", {"topic": "colours"}, "Blue, or green, or a red one, or anything else."),
    ("", {"topic": "none"}, "Nothing was asked."),
    ("Say two.", {"topic": "numbers"}, "Two."),
]
WAYS = {
    "rows": {},
    "accumulated": {"per_device_train_batch_size": 2, "gradient_accumulation_steps": 3},
    "packed": {"packing": True, "max_length": 96},
    "padding-free": {"padding_free": True},
    "cut": {"max_length": 48},
}


@pytest.fixture
def step(model, names, tmp_path):
    """``step(rows, **settings)``: one step of plain descent; what it moved, and the trainer."""

    def go(rows, interventions=(), peft_config=None, **settings):
        args = DiverseSFTConfig(
            output_dir=str(tmp_path / "run"),
            **{"per_device_train_batch_size": len(ROWS), "max_length": None, **settings},
            max_steps=1,
            optim="sgd",
            learning_rate=1.0,
            max_grad_norm=0.0,
            lr_scheduler_type="constant",
            use_cpu=True,
            bf16=False,
            report_to="none",
            disable_tqdm=True,
            save_strategy="no",
            logging_steps=1,
            seed=0,
        )
        trainer = DiverseSFTTrainer(
            model,
            args=args,
            train_dataset=Dataset.from_list(rows),
            processing_class=names,
            interventions=list(interventions),
            peft_config=peft_config,
        )
        before = {n: p.detach().clone() for n, p in trainer.model.named_parameters()}
        trainer.train()
        moved = {
            n: p.detach() - before[n]
            for n, p in trainer.model.named_parameters()
            if p.requires_grad
        }
        with torch.no_grad():
            for n, p in trainer.model.named_parameters():
                p.copy_(before[n])
        return moved, trainer

    return go


def written_out(names, share):
    return [labels.row(names, *row, format_share=share) for row in ROWS]


def close(ours, theirs):
    assert ours.keys() == theirs.keys()
    size = max(float(x.norm()) for x in theirs.values())
    assert size > 1e-3
    for name, x in ours.items():
        assert (x - theirs[name]).norm() <= 1e-5 * size, name


@pytest.mark.parametrize("way", WAYS)
def test_the_step_is_that_of_labels_written_out(way, step, names):
    anchored = functools.partial(losses.anchored, format_share=0.0)
    ours, trainer = step([texts.example(*row) for row in ROWS], [anchored], **WAYS[way])
    theirs, other = step(written_out(names, 0.0), **WAYS[way])
    close(ours, theirs)
    logs, plain = trainer.state.log_history[0], other.state.log_history[0]
    assert logs["loss"] == pytest.approx(plain["loss"], abs=1e-4)
    assert logs["entropy"] == pytest.approx(plain["entropy"], abs=1e-4)  # the same tokens count
    assert 0.2 < logs["anchor/left_out_frac"] < 0.9
    assert logs["anchor/unfinished"] == (1 if way == "cut" else 0)


def test_format_examples_learn_keys_and_markers(step, names):
    anchored = functools.partial(losses.anchored, format_share=1.0)
    ours, _ = step([texts.example(*row) for row in ROWS], [anchored])
    close(ours, step(written_out(names, 1.0))[0])


def test_lora_trains_the_markers_and_leaves_annotations_out(step, names):
    from peft import LoraConfig

    from divreg.anchors.markers import marker_ids

    config = LoraConfig(
        r=4, target_modules=["q_proj"], trainable_token_indices=list(marker_ids(names))
    )
    anchored = functools.partial(losses.anchored, format_share=0.0)
    rows = [texts.example(*row) for row in ROWS]
    torch.manual_seed(0)
    ours, _ = step(rows, [anchored], peft_config=config)
    assert any("trainable_tokens" in name for name in ours)
    assert all("lora_" in name or "trainable_tokens" in name for name in ours)
    assert sum(float(x.norm()) for x in ours.values()) > 0


def test_annotated_documents_are_learned_whole(step):
    whole = texts.document([({"topic": "a"}, "One."), ({"topic": "b"}, "Two.")])
    _, trainer = step([{"text": whole}])
    inputs = next(iter(trainer.get_train_dataloader()))
    assert (inputs["labels"] == inputs["input_ids"]).all()


def test_a_tokenizer_without_markers_is_refused(make_tiny_model, tiny_tokenizer, tmp_path):
    with pytest.raises(ValueError, match=r"303 tokens without .* Add them before"):
        DiverseSFTTrainer(
            make_tiny_model(),
            args=DiverseSFTConfig(output_dir=str(tmp_path), use_cpu=True, bf16=False),
            train_dataset=Dataset.from_list([texts.example("a", {"k": "v"}, "b")]),
            processing_class=tiny_tokenizer,
            interventions=[losses.anchored],
        )


def test_a_recipe_names_it(model, names, tmp_path, caplog):
    caplog.set_level(logging.WARNING, logger="divreg")
    block = {"interventions": [{"anchored": {"format_share": 0.01}}]}
    trainer = DiverseSFTTrainer(
        model,
        args=DiverseSFTConfig(
            output_dir=str(tmp_path), use_cpu=True, bf16=False, divreg=block, report_to="none"
        ),
        train_dataset=Dataset.from_list([texts.example(*row) for row in ROWS]),
        processing_class=names,
    )
    assert "anchored(format_share=0.01)" in caplog.text
    assert len(trainer.markers) == 3
