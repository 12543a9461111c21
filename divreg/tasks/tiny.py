"""The tiny language model of the demo: 0.6 M parameters, pre-trained in a minute on two cores.

It reads and writes characters, and has seen noisy solutions of a task: most are right, many are
not, all are different. So it starts where a base model starts, at roughly a third
correct and very diverse, and is small enough to watch reinforcement learning narrow it.
"""

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast

import torch
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from divreg.tasks import corpora

_SPECIALS = ("<pad>", "<eos>", "<unk>")
PAD, EOS, _ = range(len(_SPECIALS))
_VERSION = 1  # raise it when this file makes another model of the same recipe


@dataclass(frozen=True)
class Recipe:
    """All that decides what the base model is; its hash names the cache entry."""

    corpus: str = "expressions"
    """What it reads: a name of ``corpora.CORPORA``."""
    hidden: int = 128
    layers: int = 3
    heads: int = 4
    feedforward: int = 344
    examples: int = 64_000
    batch: int = 64
    learning_rate: float = 3e-3
    matrix_learning_rate: float = 0.02
    clean: float = 0.85
    """Share of the examples, from the start, without noise: it learns what is right first."""
    noise: float = 0.4
    """Share of the other examples whose solution belongs to another question."""
    spread: float = 0.05
    seed: int = 0

    @property
    def hash(self) -> str:
        """Eight hex digits that change with the recipe, the release of torch or ``_VERSION``."""
        facts = {**asdict(self), "version": _VERSION, "torch": torch.__version__}
        return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:8]


RECIPES = {name: Recipe(name) for name in corpora.CORPORA}
"""The base model of every task."""


def tokenizer(alphabet: str = corpora.EXPRESSIONS.alphabet) -> PreTrainedTokenizerFast:
    """Build a character tokenizer in memory: digits, operators, brackets, ``=``."""
    words = [*_SPECIALS, *alphabet]
    inner = Tokenizer(models.WordLevel({w: i for i, w in enumerate(words)}, unk_token="<unk>"))
    inner.pre_tokenizer = pre_tokenizers.Split(Regex("."), "isolated")
    inner.decoder = decoders.Fuse()
    return PreTrainedTokenizerFast(
        tokenizer_object=inner,
        pad_token="<pad>",
        eos_token="<eos>",
        unk_token="<unk>",
        padding_side="left",
        clean_up_tokenization_spaces=False,
    )


def build(recipe: Recipe, progress: Callable[[int, int], Any] | None = None) -> LlamaForCausalLM:
    """Pre-train the model from scratch: the same recipe gives the same weights on one machine.

    Args:
        recipe: What to build.
        progress: Called with (steps done, steps in all).
    """
    corpus = corpora.CORPORA[recipe.corpus]
    names = tokenizer(corpus.alphabet)
    texts = corpora.examples(corpus, recipe.examples, recipe.clean, recipe.noise, recipe.seed)
    rows = [names.encode(text + "<eos>") for text in texts]
    width = max(map(len, rows))
    ids = torch.full((len(rows), width), PAD)
    for i, row in enumerate(rows):
        ids[i, : len(row)] = torch.tensor(row)
    labels = ids.masked_fill(ids == PAD, -100)
    labels[:, : corpus.prompt_length] = -100  # learn answers, not questions
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.seed)
        model = _new_model(recipe, names)
        _train(model, ids, labels, recipe, progress)
    return model.eval()


def _new_model(recipe: Recipe, names: PreTrainedTokenizerFast) -> LlamaForCausalLM:
    config = LlamaConfig(
        vocab_size=len(names),
        hidden_size=recipe.hidden,
        intermediate_size=recipe.feedforward,
        num_hidden_layers=recipe.layers,
        num_attention_heads=recipe.heads,
        num_key_value_heads=recipe.heads,
        max_position_embeddings=64,
        initializer_range=recipe.spread,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=EOS,
        pad_token_id=PAD,
    )
    return LlamaForCausalLM(config)


def _train(
    model: LlamaForCausalLM,
    ids: torch.Tensor,
    labels: torch.Tensor,
    recipe: Recipe,
    progress: Callable[[int, int], Any] | None,
) -> None:
    steps = len(ids) // recipe.batch
    matrices = [p for n, p in model.named_parameters() if p.ndim == 2 and "embed" not in n]
    chosen = {id(p) for p in matrices}
    others = [p for p in model.parameters() if id(p) not in chosen]
    adam = torch.optim.AdamW(others, betas=(0.9, 0.98), weight_decay=0.0)
    momenta = [torch.zeros_like(p) for p in matrices]
    model.train()
    for step in range(steps):
        pace = min(1.0, (step + 1) / 50, (steps - step) / (0.4 * steps))
        rows = slice(step * recipe.batch, (step + 1) * recipe.batch)
        loss = model(input_ids=ids[rows], labels=labels[rows]).loss
        model.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        adam.param_groups[0]["lr"] = pace * recipe.learning_rate
        adam.step()
        with torch.no_grad():
            for parameter, momentum in zip(matrices, momenta, strict=True):
                momentum.lerp_(cast(torch.Tensor, parameter.grad), 0.05)
                update = cast(torch.Tensor, parameter.grad).lerp(momentum, 0.95)
                parameter.sub_(_orthogonal(update), alpha=pace * recipe.matrix_learning_rate)
        if progress:
            progress(step + 1, steps)


def _orthogonal(update: torch.Tensor) -> torch.Tensor:
    """Bring all singular values of an update near 1: learns twice as much from the same data.

    Source:
        Jordan et al., Muon, 2024: five Newton-Schulz steps with its quintic's coefficients.
    """
    x = update.T if update.shape[0] > update.shape[1] else update
    x = x / (x.norm() + 1e-7)
    for _ in range(5):
        square = x @ x.T
        x = 3.4445 * x + (-4.775 * square + 2.0315 * square @ square) @ x
    x = x.T if update.shape[0] > update.shape[1] else x
    return x * max(1.0, update.shape[0] / update.shape[1]) ** 0.5


def cache_directory() -> Path:
    """Return where base models are kept: ``$DIVREG_CACHE``, else the user's cache directory."""
    if chosen := os.environ.get("DIVREG_CACHE"):
        return Path(chosen)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "divreg"


def cached(recipe: Recipe | None = None) -> Path | None:
    """Return the folder of the base model if it was built already."""
    folder = _folder(recipe or Recipe())
    return folder if (folder / "config.json").exists() else None


def base_model(
    recipe: Recipe | None = None, progress: Callable[[int, int], Any] | None = None
) -> Path:
    """Return the folder of the base model with its tokenizer, building it the first time.

    The folder appears in one rename, so two processes can build at once and an interrupted build
    leaves nothing behind that looks finished.
    """
    recipe = recipe or Recipe()
    if folder := cached(recipe):
        return folder
    folder = _folder(recipe)
    folder.parent.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        model = build(recipe, progress)
        model.save_pretrained(staging)
        tokenizer(corpora.CORPORA[recipe.corpus].alphabet).save_pretrained(staging)
        (staging / "recipe.json").write_text(json.dumps(asdict(recipe), indent=2))
        try:
            staging.rename(folder)
        except OSError:  # another process was faster; its model is the same
            if not cached(recipe):
                raise
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return folder


def _folder(recipe: Recipe) -> Path:
    return cache_directory() / f"{recipe.corpus}-tiny-{recipe.hash}"


def load(folder: Path) -> tuple[LlamaForCausalLM, PreTrainedTokenizerFast]:
    """Load a base model and its tokenizer from a folder; nothing is looked up on a network."""
    model = LlamaForCausalLM.from_pretrained(folder, local_files_only=True, dtype=torch.float32)
    return model, PreTrainedTokenizerFast.from_pretrained(folder, local_files_only=True)
