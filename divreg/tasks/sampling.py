"""Samples of a causal LM with what the model thought of each of their tokens."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

NUCLEUS = 0.9  # of the distribution whose entropy makes the branching factor
_LIKELY = (256, 4096)  # tokens that mostly hold the nucleus; all are sorted where they do not
_TAIL = 12  # tokens in which a text that ends an answer is looked for

Prompt = str | list[dict[str, str]]


@dataclass(frozen=True)
class Way:
    """How samples are drawn.

    Attributes:
        samples: Of each prompt.
        max_tokens: Of the longest sample.
        temperature: Divides the logits, above 0.
        top_p: Probability from which tokens are drawn, the most likely first; 1 is all of it.
        stop: Texts that end a sample; what comes from there on is cut off.
        seed: Of the drawing.
    """

    samples: int
    max_tokens: int
    temperature: float = 1.0
    top_p: float = 1.0
    stop: tuple[str, ...] = ()
    seed: int = 0


@dataclass(frozen=True)
class Drawn:
    """One sample.

    Attributes:
        text: Without special tokens.
        tokens: How many were drawn, the end of text included.
        logprob: Their mean log-probability, nats, before ``top_p`` cuts.
        entropy: Mean entropy of the distributions they were drawn from, nats, before that cut;
            None where only the likeliest tokens are known.
        top_mass: Mean probability of the likeliest token.
        step_entropies: Entropy of each such distribution cut to its top 0.9, nats: what
            :func:`divreg.metrics.branching_factor.branching_factor` reads.
    """

    text: str
    tokens: int
    logprob: float
    entropy: float | None
    top_mass: float
    step_entropies: list[float] = field(repr=False)


@torch.inference_mode()
def draw(
    model: Any,
    names: Any,
    prompts: Sequence[Prompt],
    way: Way,
    *,
    prefill: str = "",
    nuclei: bool = True,
    rows_at_once: int = 2048,
) -> list[list[Drawn]]:
    """Draw samples with a key-value cache and a generator of their own; a prompt is read once.

    Args:
        model: A causal LM.
        names: Its tokenizer.
        prompts: Texts, or conversations, which the tokenizer's chat template writes; where their
            lengths in tokens differ they are padded on the left.
        way: How samples are drawn.
        prefill: Text that every answer starts with; it is no part of the sample.
        nuclei: Whether ``step_entropies`` are wanted; they cost a sort.
        rows_at_once: Samples written side by side; all of one prompt are.

    Returns:
        One list of ``way.samples`` per prompt.
    """
    generator = torch.Generator(model.device).manual_seed(way.seed)
    rows = [encode(names, prompt, prefill) for prompt in prompts]
    at_once = max(1, rows_at_once // way.samples)
    found: list[list[Drawn]] = []
    for start in range(0, len(rows), at_once):
        drawn = _Batch(model, names, rows[start : start + at_once], way, nuclei).run(generator)
        found += [drawn[i : i + way.samples] for i in range(0, len(drawn), way.samples)]
    return found


def encode(names: Any, prompt: Prompt, prefill: str = "") -> list[int]:
    """Return the tokens of a prompt, and of the text that its answer starts with."""
    if isinstance(prompt, str):
        return names.encode(prompt + prefill)
    text = names.apply_chat_template(prompt, add_generation_prompt=True, tokenize=False)
    return names.encode(text + prefill, add_special_tokens=False)


def ends(model: Any, names: Any) -> list[int]:
    """Return the tokens that end a text: the tokenizer's, and those the model generates with."""
    config = getattr(model, "generation_config", None)
    theirs = getattr(config, "eos_token_id", None)
    theirs = theirs if isinstance(theirs, list) else [theirs]
    known = dict.fromkeys([names.eos_token_id, *theirs])
    return [token for token in known if token is not None]


class _Batch:
    """Samples of some prompts, written side by side."""

    def __init__(self, model: Any, names: Any, rows: list[list[int]], way: Way, nuclei: bool):
        self.model, self.names, self.way, self.nuclei = model, names, way, nuclei
        blank = names.pad_token_id if names.pad_token_id is not None else names.eos_token_id
        self.blank, width, on = blank, max(map(len, rows)), model.device
        self.ids = torch.tensor([[blank] * (width - len(r)) + r for r in rows], device=on)
        real = torch.tensor([[0] * (width - len(r)) + [1] * len(r) for r in rows], device=on)
        self.real = None if bool(real.all()) else real
        self.ends = torch.tensor(ends(model, names), device=on)

    def run(self, generator: torch.Generator) -> list[Drawn]:
        way = self.way
        logits, cache = self._step(self.ids, None)
        logits = logits.repeat_interleave(way.samples, dim=0)
        cache.batch_repeat_interleave(way.samples)
        if self.real is not None:
            self.real = self.real.repeat_interleave(way.samples, dim=0)
        count = torch.zeros(len(logits), dtype=torch.long, device=logits.device)
        seen: dict[str, Tensor] = {}
        rows = torch.arange(len(logits), device=logits.device)  # those that are written
        writes = torch.ones_like(rows, dtype=torch.bool)  # of them, those that have not ended
        for step in range(way.max_tokens):
            luck = torch.rand(
                len(count), 1, dtype=torch.float64, device=count.device, generator=generator
            )  # every row has its own, whichever have ended
            for name, value in self._draw(logits, luck[rows]).items():
                if name not in seen:
                    fill = self.blank if name == "token" else 0
                    seen[name] = value.new_full((len(count), way.max_tokens), fill)
                seen[name][rows[writes], step] = value[writes]
            count[rows[writes]] += 1
            token = seen["token"][rows, step]
            writes &= ~torch.isin(token, self.ends)
            writes &= ~self._stopped(seen["token"][rows, max(0, step + 1 - _TAIL) : step + 1])
            left = int(writes.sum())
            if not left or step + 1 == way.max_tokens:
                break
            if 2 * left <= len(rows):  # ended ones are worth being left out
                kept = writes.nonzero()[:, 0]
                cache.batch_select_indices(kept)
                self.real = None if self.real is None else self.real[kept]
                rows, token, writes = rows[kept], token[kept], writes[kept]
            if self.real is not None:
                self.real = torch.cat([self.real, self.real.new_ones(len(self.real), 1)], 1)
            logits, cache = self._step(token[:, None], cache)
        return self._samples(seen, count)

    def _step(self, ids: Tensor, cache: Any) -> tuple[Tensor, Any]:
        where = {}
        if self.real is not None:
            places = (self.real.cumsum(-1) - 1).clamp(min=0)[:, -ids.shape[1] :]
            where = {"attention_mask": self.real, "position_ids": places}
        out = self.model(
            input_ids=ids, past_key_values=cache, use_cache=True, logits_to_keep=1, **where
        )
        return out.logits[:, -1].float() / self.way.temperature, out.past_key_values

    def _draw(self, logits: Tensor, luck: Tensor) -> dict[str, Tensor]:
        logprob = logits.log_softmax(-1)
        probability = logprob.exp()
        found = {
            "entropy": torch.special.entr(probability).sum(-1),
            "top_mass": probability.amax(-1),
        }
        if self.nuclei:
            found["nucleus"] = nucleus_entropy(probability, NUCLEUS)
        weights = probability if self.way.top_p >= 1 else _cut(probability, self.way.top_p)
        token = _one_of(weights, luck)
        return {**found, "token": token[:, 0], "logprob": logprob.gather(1, token)[:, 0]}

    def _stopped(self, tails: Tensor) -> Tensor:
        """Return which rows have just written a text that ends an answer."""
        if not self.way.stop:
            return torch.zeros(len(tails), dtype=torch.bool, device=tails.device)
        texts = self.names.batch_decode(tails)
        stopped = [any(stop in text for stop in self.way.stop) for text in texts]
        return torch.tensor(stopped, device=tails.device)

    def _samples(self, seen: Mapping[str, Tensor], count: Tensor) -> list[Drawn]:
        texts = self.names.batch_decode(seen["token"], skip_special_tokens=True)
        logprob, entropy, top = (
            (seen[name].sum(1) / count).tolist() for name in ("logprob", "entropy", "top_mass")
        )
        nuclei = seen["nucleus"].tolist() if self.nuclei else [[]] * len(texts)
        return [
            Drawn(_before(text, self.way.stop), n, lp, e, m, steps[:n])
            for text, n, lp, e, m, steps in zip(
                texts, count.tolist(), logprob, entropy, top, nuclei, strict=True
            )
        ]


def nucleus_entropy(probability: Tensor, top_p: float) -> Tensor:
    """Return the entropy of distributions ``(n, v)`` cut to their likeliest tokens, ``(n,)``, nats.

    The same as :func:`divreg.metrics.branching_factor.nucleus`, on the model's device.
    """
    tokens = probability.shape[1]
    found = probability.new_zeros(len(probability))
    left = torch.arange(len(probability), device=probability.device)
    for look in (*(n for n in _LIKELY if n < tokens), tokens):
        likely = probability[left].topk(look).values
        enough = likely.sum(-1) >= top_p if look < tokens else left >= 0
        kept = likely[enough]
        kept = kept.where(kept.cumsum(-1) - kept < top_p, 0.0)
        found[left[enough]] = torch.special.entr(kept / kept.sum(-1, keepdim=True)).sum(-1)
        left = left[~enough]
        if not len(left):
            break
    return found


def _cut(probability: Tensor, top_p: float) -> Tensor:
    ordered, order = probability.sort(descending=True)
    kept = ordered.where(ordered.cumsum(-1) - ordered < top_p, 0.0)
    return torch.zeros_like(probability).scatter(1, order, kept)


def _one_of(weights: Tensor, luck: Tensor) -> Tensor:
    """Return a column of each row ``(n, 1)``, as often as its weight says; a zero is never drawn.

    Args:
        weights: ``(n, v)``, not all 0 in a row.
        luck: ``(n, 1)``, uniform in [0, 1).
    """
    reached = weights.cumsum(-1, dtype=torch.float64)
    return torch.searchsorted(reached, luck * reached[:, -1:], right=True)


def _before(text: str, stop: Sequence[str]) -> str:
    for end in stop:
        text = text.partition(end)[0]
    return text
