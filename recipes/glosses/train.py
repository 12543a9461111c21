"""The models of the recipe: a small tokenizer, pre-training from scratch, fine-tuning.

Every model is saved when it is done, and found again by the next call. ``model`` may be a folder
with a pre-trained one and its tokenizer instead: pre-training then goes on from there.
"""

import random
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from glosses import HEADERS, WORDS, Gloss, Task
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
)

from divreg import losses
from divreg.anchors import markers, texts
from divreg.trainers.sft import DiverseSFTConfig, DiverseSFTTrainer

VOCABULARY, BLOCK = 1536, 128
KEY = "class"


@dataclass(frozen=True)
class Size:
    """A model and how long it is pre-trained."""

    hidden: int
    layers: int
    feedforward: int
    tokens: int
    rate: float
    heads: int = 4


SIZES = {
    "small": Size(64, 3, 192, tokens=450_000, rate=1.5e-2),
    "large": Size(128, 3, 352, tokens=450_000, rate=1e-2),
}


def entry(gloss: Gloss, annotated: bool, chance: random.Random) -> str:
    """Write a document of pre-training: a heading, and a gloss behind its class."""
    header = chance.choice(HEADERS).format(WORDS[gloss.part])
    tags = {KEY: gloss.kind} if annotated else None
    return texts.document([(None, header), (tags, gloss.text)])


def tokenizer(glosses: list[Gloss], folder: Path, tasks: list[Task]) -> Any:
    """Return byte-pair encoding learned from the texts, with the markers."""
    if not (folder / "tokenizer.json").exists():
        chance = random.Random(0)
        read = [entry(g, False, chance) for g in glosses]
        read += [part for g in glosses for part in (KEY, g.kind)]
        read += [t.prompt for t in tasks for _ in range(50)]
        inner = Tokenizer(models.BPE())
        inner.pre_tokenizer = pre_tokenizers.Sequence(
            [
                pre_tokenizers.Split(Regex("\n+"), "isolated"),
                pre_tokenizers.ByteLevel(add_prefix_space=False),
            ]
        )
        inner.decoder = decoders.ByteLevel()
        specials = ["<pad>", "<eos>"]
        alphabet = pre_tokenizers.ByteLevel.alphabet()
        inner.train_from_iterator(
            read,
            trainers.BpeTrainer(
                vocab_size=VOCABULARY, special_tokens=specials, initial_alphabet=alphabet
            ),
        )
        names = PreTrainedTokenizerFast(
            tokenizer_object=inner, pad_token="<pad>", eos_token="<eos>"
        )
        markers.add_markers(None, names)
        names.save_pretrained(folder)
    return AutoTokenizer.from_pretrained(folder)


def load(folder: Path) -> Any:
    """Load a model that is done."""
    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)


def pretrain(
    size: Size,
    seed: int,
    annotated: bool,
    glosses: list[Gloss],
    names: Any,
    folder: Path,
    model: Path | None = None,
) -> Path:
    """Pre-train on a number of tokens: annotations count, so that there are fewer glosses.

    Args:
        size: What to build, and for how many tokens.
        seed: Of weights and order.
        annotated: Whether every gloss has its class before it.
        glosses: What there is to read, again and again if need be.
        names: The tokenizer.
        folder: Where the model is kept.
        model: A model to go on from.
    """
    if (folder / "config.json").exists():
        return folder
    chance = random.Random(seed)
    stream: list[int] = []
    while len(stream) < size.tokens:
        for gloss in chance.sample(glosses, len(glosses)):
            stream += [*names(entry(gloss, annotated, chance)).input_ids, names.eos_token_id]
    blocks = [stream[i : i + BLOCK] for i in range(0, size.tokens - BLOCK + 1, BLOCK)]
    torch.manual_seed(seed)
    net = new_model(size, names) if model is None else load(model)
    if model is not None:
        markers.add_markers(net, names)
    trainer = DiverseSFTTrainer(
        net,
        args=config(folder, seed, size.rate, epochs=1, bf16=True),
        train_dataset=Dataset.from_dict({"input_ids": blocks}),
        processing_class=names,
        interventions=[],
        optimizers=(Both(net, size.rate), None),
    )
    trainer.train()
    keep(trainer, names, folder)
    return folder


class Both(torch.optim.Optimizer):
    """Muon for the matrices inside, AdamW for all else: learns more from few tokens."""

    def __init__(self, model: Any, rate: float):
        inside = [p for n, p in model.named_parameters() if p.ndim == 2 and "embed" not in n]
        chosen = set(map(id, inside))
        others = [p for p in model.parameters() if id(p) not in chosen]
        self.parts = [
            torch.optim.Muon(inside, lr=rate, weight_decay=0.01, adjust_lr_fn="match_rms_adamw"),
            torch.optim.AdamW(others, lr=rate, betas=(0.9, 0.98), weight_decay=0.0),
        ]
        super().__init__([group for part in self.parts for group in part.param_groups], {})

    def step(self, closure: Any = None) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Let both make their step."""
        for part in self.parts:
            part.step(closure)


def new_model(size: Size, names: Any) -> LlamaForCausalLM:
    """Return a model with random weights."""
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(names),
            hidden_size=size.hidden,
            intermediate_size=size.feedforward,
            num_hidden_layers=size.layers,
            num_attention_heads=size.heads,
            num_key_value_heads=size.heads,
            max_position_embeddings=256,
            initializer_range=0.04,
            tie_word_embeddings=True,
            bos_token_id=None,
            eos_token_id=names.eos_token_id,
            pad_token_id=names.pad_token_id,
        )
    )


def tune(
    source: Path,
    seed: int,
    examples: list[tuple[Task, Gloss]],
    names: Any,
    folder: Path,
    *,
    annotated: bool,
    masked: bool,
    rate: float,
    epochs: int,
) -> Path:
    """Fine-tune on narrow answers: with annotations or not, in the loss or not."""
    if (folder / "config.json").exists():
        return folder
    rows = [
        texts.example(t.prompt, {KEY: g.kind} if annotated else None, t.answer(g.text))
        for t, g in examples
    ]
    trainer = DiverseSFTTrainer(
        load(source),
        args=config(folder, seed, rate, epochs=epochs),
        train_dataset=Dataset.from_list(rows),
        processing_class=names,
        interventions=[losses.anchored] if masked else [],
    )
    trainer.train()
    keep(trainer, names, folder)
    return folder


def config(
    folder: Path, seed: int, rate: float, *, epochs: int, bf16: bool = False
) -> DiverseSFTConfig:
    """Return the settings of both trainings."""
    return DiverseSFTConfig(
        output_dir=str(folder),
        per_device_train_batch_size=16,
        num_train_epochs=epochs,
        learning_rate=rate,
        lr_scheduler_type="cosine",
        warmup_steps=20,
        max_grad_norm=1.0,
        weight_decay=0.01,
        adam_beta2=0.98,
        max_length=None,
        seed=seed,
        data_seed=seed,
        logging_steps=50,
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
        gradient_checkpointing=False,
        bf16=bf16,
        use_cpu=not torch.cuda.is_available(),
        dataloader_pin_memory=False,
    )


def keep(trainer: Any, names: Any, folder: Path) -> None:
    """Save a model in one rename: what lies there is whole."""
    staging = folder.with_name(f".{folder.name}")
    trainer.model.save_pretrained(staging)
    names.save_pretrained(staging)
    if folder.exists():
        shutil.rmtree(folder)
    staging.rename(folder)
