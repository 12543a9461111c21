"""Sample a fixed set of prompts in the middle of training, without the training noticing."""

import math
from collections.abc import Sequence
from typing import Any

import torch
from accelerate.utils import gather_object
from torch import Tensor
from transformers import GenerationConfig, LogitsProcessor, LogitsProcessorList

from divreg.trainers._seams import evaluating, generation_model


class EntropyMeter(LogitsProcessor):
    """Adds up the entropy of every sampled token while ``generate`` runs; keeps no logits.

    With ``k`` also the entropy among the k likeliest tokens, renormalised, and their probability.
    """

    def __init__(self, prompt_tokens: int, ends: set[int], k: int | None = None):
        self.prompt_tokens, self.ends, self.k = prompt_tokens, ends, k
        self.nats = self.top_nats = self.top_mass = 0.0
        self.tokens = 0

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Measure rows ``(b, v)`` that have not ended; return the scores as they are."""
        said = input_ids[:, self.prompt_tokens :]
        ends = torch.tensor(sorted(self.ends), device=said.device)
        open_rows = ~torch.isin(said, ends).any(dim=1)
        logprob = scores[open_rows].float().log_softmax(dim=-1)
        finite = logprob.masked_fill(logprob == -torch.inf, 0.0)
        self.nats += float(-(logprob.exp() * finite).sum())
        self.tokens += int(open_rows.sum())
        if self.k is not None and len(logprob):
            top = logprob.topk(min(self.k, logprob.shape[-1])).values
            among = top.log_softmax(dim=-1)
            finite = among.masked_fill(among == -torch.inf, 0.0)
            self.top_nats += float(-(among.exp() * finite).sum())
            self.top_mass += float(top.exp().sum())
        return scores


def sample_probes(
    trainer: Any,
    prompts: Sequence[Any],
    *,
    samples: int,
    max_tokens: int,
    seed: int,
    k: int | None = None,
) -> dict[str, Any]:
    """Sample every prompt ``samples`` times at temperature 1, the same on any number of processes.

    Random number generators, training mode of every module and the tokenizer's settings are what
    they were afterwards. Collective: every process must call it, at the same step.

    Args:
        trainer: Any trainer with a causal language model.
        prompts: Texts, or lists of chat messages.
        samples: Completions per prompt.
        max_tokens: Longest completion, in tokens.
        seed: Prompt ``i`` is sampled with ``seed + i``, every time.
        k: How many of the likeliest next tokens to measure by themselves; None for none.

    Returns:
        ``prompts`` and ``completions`` as texts, ``lengths`` in tokens and ``truncated``, one entry
        per completion in the order of the prompts; ``entropy``: nats per sampled token; ``top``:
        entropy (bits, renormalised) and mass of the k likeliest next tokens by name, or nothing.
    """
    accelerator = trainer.accelerator
    tokenizer = getattr(trainer.processing_class, "tokenizer", trainer.processing_class)
    rank, world = accelerator.process_index, accelerator.num_processes
    rows: list[tuple[int, str, str, int, bool]] = []
    sums = torch.zeros(4, dtype=torch.float64)  # entropy, of the top, its mass; tokens
    cuda = [accelerator.device] if accelerator.device.type == "cuda" else []
    with (
        torch.random.fork_rng(devices=cuda),
        generation_model(trainer) as unwrapped,
        torch.no_grad(),
    ):
        model: Any = unwrapped
        with evaluating(model):
            for i in range(rank, -(-len(prompts) // world) * world, world):
                # Under ZeRO-3 generate() talks to the other processes: all call it equally often.
                prompt = prompts[i % len(prompts)]
                torch.manual_seed(seed + i)
                found, meter = _sample(model, tokenizer, prompt, samples, max_tokens, k)
                if i < len(prompts):
                    rows += [(i, *row) for row in found]
                    more = [meter.nats, meter.top_nats, meter.top_mass, meter.tokens]
                    sums += torch.tensor(more, dtype=torch.float64)
    gathered = sorted(gather_object(rows), key=lambda row: row[0]) if world > 1 else rows
    totals = gather_object([sums.tolist()]) if world > 1 else [sums.tolist()]
    *means, tokens = (sum(column) for column in zip(*totals, strict=True))
    nats, top_nats, mass = (total / max(1, tokens) for total in means)
    _, texts, completions, lengths, truncated = zip(*gathered, strict=True)
    return {
        "prompts": list(texts),
        "completions": list(completions),
        "lengths": list(lengths),
        "truncated": list(truncated),
        "entropy": nats,
        "top": {}
        if k is None
        else {"top_entropy_bits_probe": top_nats / math.log(2), "top_mass_frac_probe": mass},
    }


def _sample(
    model: Any, tokenizer: Any, prompt: Any, samples: int, max_tokens: int, k: int | None
) -> tuple[list[tuple[str, str, int, bool]], EntropyMeter]:
    if not isinstance(prompt, str):
        prompt = tokenizer.apply_chat_template(prompt, tokenize=False, add_generation_prompt=True)
    ids = tokenizer(prompt, return_tensors="pt", add_special_tokens=True)["input_ids"]
    ids = ids.to(model.device)
    ends = ends_of(model, tokenizer)
    pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else min(ends, default=0)
    meter = EntropyMeter(ids.shape[1], ends, k)
    config = GenerationConfig(
        do_sample=True,
        temperature=1.0,
        top_k=0,
        top_p=1.0,
        max_new_tokens=max_tokens,
        num_return_sequences=samples,
        eos_token_id=sorted(ends) or None,
        pad_token_id=pad,
    )
    out = model.generate(
        input_ids=ids,
        attention_mask=torch.ones_like(ids),
        generation_config=config,
        logits_processor=LogitsProcessorList([meter]),
    )[:, ids.shape[1] :]
    rows = []
    for row in out.tolist():
        length = next((j + 1 for j, token in enumerate(row) if token in ends), len(row))
        ended = bool(row[:length]) and row[length - 1] in ends
        text = tokenizer.decode(row[:length], skip_special_tokens=True)
        rows.append((prompt, text, length, not ended))
    return rows, meter


def ends_of(model: Any, tokenizer: Any) -> set[int]:
    """Return the tokens that end a completion, the model's and the tokenizer's."""
    found = getattr(model.generation_config, "eos_token_id", None)
    ids = {found} if isinstance(found, int) else set(found or ())
    return ids | ({tokenizer.eos_token_id} if tokenizer.eos_token_id is not None else set())
