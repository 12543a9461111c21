"""Training steps on what the model writes itself: beginnings of the data's texts, continued."""

import dataclasses
import random
from typing import Any

import torch
from torch import Tensor
from transformers import GenerationConfig

from divreg.trainers import _seams
from divreg.trainers._probe import ends_of
from divreg.trainers._rows import CARRIED

SIGNALS = frozenset({"generated", "continues"})


@dataclasses.dataclass(frozen=True)
class Continuations:
    """How often the model writes, from what, and how much.

    Attributes:
        share: Of all optimizer steps, in [0, 1]: the paper takes one half.
        prefix: Tokens that are kept of a text without a prompt; a prompt is kept whole.
        tokens: The longest continuation.
        samples: Of each prefix: 1 takes the likeliest token each time, more are drawn.
    """

    share: float = 0.5
    prefix: int = 50
    tokens: int = 100
    samples: int = 1

    def due(self, seed: int, step: int) -> bool:
        """Whether the step after ``step`` is one of them: the same on all processes and resumes."""
        return random.Random(f"continuations {seed} {step}").random() < self.share

    def write(self, trainer: Any, batches: list[Any]) -> list[Any]:
        """Return as many micro-batches of the model's own texts, from the beginnings of these."""
        step, rank = trainer.state.global_step, trainer.accelerator.process_index
        device = trainer.accelerator.device
        cuda = [device] if device.type == "cuda" else []
        with (
            torch.random.fork_rng(devices=cuda),
            _seams.generation_model(trainer) as unwrapped,
            torch.no_grad(),
        ):
            model: Any = unwrapped
            seed = int(random.Random(f"{trainer.args.seed} {step} {rank}").random() * 1e9)
            with _seams.evaluating(model):
                torch.manual_seed(seed)
                return [self._batch(trainer, model, batch) for batch in batches]

    def _batch(self, trainer: Any, model: Any, batch: Any) -> dict[str, Tensor]:
        prefixes = self._prefixes(batch)
        prefixes = prefixes[: max(1, len(prefixes) // self.samples)]
        tokenizer = getattr(trainer.processing_class, "tokenizer", trainer.processing_class)
        ends = ends_of(model, tokenizer)
        pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else min(ends, default=0)
        width = max(map(len, prefixes))
        ids = torch.tensor([[pad] * (width - len(p)) + p for p in prefixes], device=model.device)
        real = torch.tensor([[0] * (width - len(p)) + [1] * len(p) for p in prefixes])
        drawn = {"do_sample": True, "temperature": 1.0, "top_k": 0, "top_p": 1.0}
        config = GenerationConfig(
            max_new_tokens=self.tokens,
            num_return_sequences=self.samples,
            eos_token_id=sorted(ends) or None,
            pad_token_id=pad,
            **(drawn if self.samples > 1 else {"do_sample": False}),
        )
        said = model.generate(
            input_ids=ids, attention_mask=real.to(ids.device), generation_config=config
        )[:, width:]
        rows = []
        for i, row in enumerate(said.tolist()):
            length = next((j + 1 for j, token in enumerate(row) if token in ends), len(row))
            rows.append((prefixes[i // self.samples], row[:length]))
        return _padded(rows, pad, self.samples)

    def _prefixes(self, batch: Any) -> list[list[int]]:
        """Return the prompt of each row, or the first tokens of a text without one."""
        ids, labels = batch["input_ids"].tolist(), batch["labels"].tolist()
        found = []
        for row, label in zip(ids, labels, strict=True):
            asked = next((i for i, x in enumerate(label) if x != -100), 0)
            found.append(row[: asked or min(self.prefix, _trained(label) - 1) or 1])
        return found


def mark(batch: Any) -> None:
    """Say of a micro-batch of data that nobody wrote it."""
    rows = len(batch["input_ids"])
    batch[f"{CARRIED}generated"] = torch.zeros(rows, dtype=torch.bool)
    batch[f"{CARRIED}continues"] = torch.full((rows,), -1)


def _trained(label: list[int]) -> int:
    return sum(x != -100 for x in label)


def _padded(rows: list[tuple[list[int], list[int]]], pad: int, samples: int) -> dict[str, Tensor]:
    """Lay rows out as TRL's collator does: padded on the right, nothing trained but what was said.

    Args:
        rows: Prefix and continuation.
        pad: Token that fills up.
        samples: Rows that continue the same prefix, one after the other.
    """
    width = max(len(prefix) + len(said) for prefix, said in rows)
    ids, mask, labels = [], [], []
    for prefix, said in rows:
        rest = width - len(prefix) - len(said)
        ids.append(prefix + said + [pad] * rest)
        mask.append([1] * (len(prefix) + len(said)) + [0] * rest)
        labels.append([-100] * len(prefix) + said + [-100] * rest)
    return {
        "input_ids": torch.tensor(ids),
        "attention_mask": torch.tensor(mask),
        "labels": torch.tensor(labels),
        f"{CARRIED}generated": torch.ones(len(rows), dtype=torch.bool),
        f"{CARRIED}continues": torch.arange(len(rows)) // samples,
    }


def configured(given: Any, grouped: bool) -> Continuations:
    """Read ``signals['generated']``; what is not said is the paper's.

    Args:
        given: A dict, or None.
        grouped: Whether somebody compares several samples of a prefix.

    Raises:
        ValueError: For a key or a number that cannot be.
    """
    known = {f.name for f in dataclasses.fields(Continuations)}
    if given is not None and (not isinstance(given, dict) or not set(given) <= known):
        raise ValueError(
            f"signals['generated'] needs some of {', '.join(sorted(known))}; got {given!r}. "
            f"Write {{'share': 0.5, 'tokens': 100}}."
        )
    found = Continuations(**{**({"samples": 4} if grouped else {}), **(given or {})})
    least = {"prefix": 1, "tokens": 1, "samples": 2 if grouped else 1}
    for name, lowest in least.items():
        value = getattr(found, name)
        if not isinstance(value, int) or value < lowest:
            raise ValueError(
                f"signals['generated'] needs {name}, at least {lowest}; got {value!r}. Write "
                f"{{'{name}': {getattr(Continuations, name) if lowest < 2 else 4}}}."
            )
    if not 0 <= found.share <= 1:
        raise ValueError(
            f"signals['generated'] needs a share of the optimizer steps, from 0 to 1; got "
            f"{found.share!r}. Write {{'share': 0.5}}."
        )
    return found
