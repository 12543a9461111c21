"""Responses of a model that annotates them first: its own annotations, or drawn ones."""

import random
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, NamedTuple

from divreg.anchors.tags import MARKERS, OPEN, VALUE, render, strip

Distribution = Mapping[str, float]
"""Values of one key and how often each is to come; any positive numbers."""


class Sample(NamedTuple):
    """One response.

    Attributes:
        text: What a reader sees: without annotation.
        tags: The annotation that it was written behind.
        finished: Whether the model came to an end of its own.
    """

    text: str
    tags: dict[str, str]
    finished: bool


def weights(
    counts: Mapping[str, float], kind: Literal["natural", "balanced", "inverse"]
) -> dict[str, float]:
    """Turn how often values came into how often they are to come.

    ``natural`` is as they came, ``balanced`` each alike, ``inverse`` in inverse proportion.

    Raises:
        ValueError: If a count is not above 0, or the kind is not known.

    >>> weights({"animal": 3, "plant": 1}, "inverse")
    {'animal': 0.25, 'plant': 0.75}
    """
    if not counts or min(counts.values()) <= 0:
        raise ValueError(
            f"weights needs counts above 0; got {dict(counts)!r}. Leave out what never came."
        )
    powers = {"natural": 1, "balanced": 0, "inverse": -1}
    if kind not in powers:
        raise ValueError(f"weights needs one of {', '.join(powers)}; got {kind!r}. Use 'balanced'.")
    raw = {value: count ** powers[kind] for value, count in counts.items()}
    total = sum(raw.values())
    return {value: share / total for value, share in raw.items()}


def sample(
    model: Any,
    tokenizer: Any,
    prompts: Sequence[str],
    n: int,
    *,
    draw: Mapping[str, Distribution] | None = None,
    key: str | None = None,
    temperature: float = 1.0,
    max_new_tokens: int = 128,
    batch_size: int = 64,
    seed: int = 0,
) -> list[list[Sample]]:
    """Write ``n`` responses to every prompt, and take their annotations off.

    Args:
        model: A causal language model of transformers; stays in evaluation mode.
        tokenizer: Its tokenizer, with the markers if the model annotates.
        prompts: Prompts as the model was trained on them, chat template and all.
        n: Responses to each prompt.
        draw: Of every key, a distribution of values to draw annotations from: the model then goes
            on behind them. None lets it write its own.
        key: A key to put in front of every response, whose value the model then writes: for one
            that does not begin its annotations by itself. Not together with ``draw``.
        temperature: Of sampling, > 0.
        max_new_tokens: Tokens of a response, annotation included where the model writes it.
        batch_size: Responses at a time.
        seed: Same seed, same responses on one machine; torch's own random numbers stay as they are.

    Returns:
        For every prompt its samples.

    Raises:
        ValueError: If both ``draw`` and ``key`` are given.
    """
    import torch

    if draw and key:
        raise ValueError(
            f"sample needs draw or key; got both, {', '.join(draw)} and {key!r}. Leave one out."
        )
    chance = random.Random(seed)
    begin = f"{OPEN}{key}{VALUE}" if key else ""
    jobs = [
        _Job(prompt, tags, render(tags) if tags else begin)
        for prompt in prompts
        for tags in (_drawn(draw, chance) for _ in range(n))
    ]
    found: list[Sample] = []
    model.eval()
    devices = [] if model.device.type == "cpu" else [model.device]
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(seed)
        for start in range(0, len(jobs), batch_size):
            found += _batch(
                model, tokenizer, jobs[start : start + batch_size], temperature, max_new_tokens
            )
    return [found[i : i + n] for i in range(0, len(found), n)]


class _Job(NamedTuple):
    """A prompt, the annotation drawn for it, and what its response begins with."""

    prompt: str
    tags: dict[str, str]
    begin: str


def _drawn(draw: Mapping[str, Distribution] | None, chance: random.Random) -> dict[str, str]:
    """Draw one value for every key."""
    return {
        key: chance.choices(list(values), weights=list(values.values()))[0]
        for key, values in (draw or {}).items()
    }


def _batch(
    model: Any,
    tokenizer: Any,
    jobs: list[_Job],
    temperature: float,
    max_new_tokens: int,
) -> list[Sample]:
    import torch

    side, tokenizer.padding_side = tokenizer.padding_side, "left"
    texts = [job.prompt + job.begin for job in jobs]
    inputs = tokenizer(texts, return_tensors="pt", padding=True, add_special_tokens=False)
    tokenizer.padding_side = side
    inputs = {k: inputs[k].to(model.device) for k in ("input_ids", "attention_mask")}
    with torch.no_grad():
        rows = model.generate(
            **inputs,
            do_sample=True,
            temperature=temperature,
            top_k=0,
            top_p=1.0,
            max_new_tokens=max_new_tokens,
            pad_token_id=tokenizer.pad_token_id,
            eos_token_id=tokenizer.eos_token_id,
        )
    written = rows[:, inputs["input_ids"].shape[1] :].tolist()
    return [_read(tokenizer, ids, job) for ids, job in zip(written, jobs, strict=True)]


def _read(tokenizer: Any, ids: list[int], job: _Job) -> Sample:
    """Cut at the end of the text, and decode without special tokens but for the markers."""
    finished = tokenizer.eos_token_id in ids
    if finished:
        ids = ids[: ids.index(tokenizer.eos_token_id)]
    special = set(tokenizer.all_special_ids) - set(tokenizer.convert_tokens_to_ids(list(MARKERS)))
    text = tokenizer.decode([i for i in ids if i not in special], skip_special_tokens=False)
    if job.tags:
        return Sample(text.strip(), job.tags, finished)
    own, text = strip(job.begin + text)
    return Sample(text.strip(), own, finished)


def tally(samples: Iterable[Sample], key: str) -> dict[str, int]:
    """Count the values of a key; samples without it are left out.

    >>> tally([Sample("A cat.", {"topic": "animals"}, True), Sample("Hm.", {}, True)], "topic")
    {'animals': 1}
    """
    counts: dict[str, int] = {}
    for one in samples:
        if key in one.tags:
            counts[one.tags[key]] = counts.get(one.tags[key], 0) + 1
    return counts
