"""What a model of the expressions task can do: right how often, in how many different ways."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from math import comb
from typing import Any

import torch
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

from divreg.metrics.ngrams import distinct_n
from divreg.metrics.pass_at_k import pass_at_k
from divreg.tasks import expressions, tiny


@dataclass(frozen=True)
class Score:
    """Means over the target numbers, of ``k`` samples each unless the name says otherwise."""

    pass_at_1: float
    pass_at_k: float
    distinct_correct: float
    """Expected number of different correct answers among ``k`` samples of one number."""
    entropy_nats: float
    """Mean over sampled tokens of the entropy of the distribution each was drawn from."""
    distinct_ngrams: float
    """Share of a number's character 2- and 3-grams, in ``k`` samples, that are different."""
    targets: int
    samples: int
    k: int

    def as_dict(self) -> dict[str, Any]:
        """Return the score as a row for a JSON file."""
        return asdict(self)


@torch.inference_mode()
def sample(
    model: LlamaForCausalLM,
    names: PreTrainedTokenizerFast,
    numbers: Sequence[int],
    *,
    samples: int,
    max_tokens: int,
    seed: int,
    rows_at_once: int = 2048,
) -> tuple[list[list[str]], float]:
    """Sample answers at temperature 1, with a key-value cache and a generator of their own.

    Returns:
        One list of ``samples`` texts per number, and the mean token entropy in nats.
    """
    generator = torch.Generator().manual_seed(seed)
    # All prompts have one length, so no padding.
    prompts = torch.tensor([names.encode(expressions.prompt(n)) for n in numbers])
    texts: list[str] = []
    entropy, tokens = 0.0, 0
    for rows in prompts.repeat_interleave(samples, dim=0).split(rows_at_once):
        drawn, their_entropy, alive = _continue(model, rows, max_tokens, generator)
        texts += names.batch_decode(drawn, skip_special_tokens=True)
        entropy += (their_entropy * alive).sum().item()
        tokens += int(alive.sum())
    groups = [texts[i : i + samples] for i in range(0, len(texts), samples)]
    return groups, entropy / max(1, tokens)


def _continue(
    model: LlamaForCausalLM, prompts: torch.Tensor, max_tokens: int, generator: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    alive = torch.ones(len(prompts), dtype=torch.bool)
    cache, given = None, prompts
    drawn, entropies, masks = [], [], []
    for _ in range(max_tokens):
        out = model(input_ids=given, past_key_values=cache, use_cache=True, logits_to_keep=1)
        cache = out.past_key_values
        logprob = out.logits[:, -1].log_softmax(-1)
        probability = logprob.exp()
        given = torch.multinomial(probability, 1, generator=generator)
        drawn.append(given[:, 0].masked_fill(~alive, tiny.PAD))
        entropies.append(-(probability * logprob).sum(-1))
        masks.append(alive)
        alive = alive & (given[:, 0] != tiny.EOS)
        if not alive.any():
            break
    return torch.stack(drawn, 1), torch.stack(entropies, 1), torch.stack(masks, 1)


def evaluate(
    model: LlamaForCausalLM,
    names: PreTrainedTokenizerFast,
    *,
    numbers: Sequence[int] | None = None,
    samples: int = 128,
    k: int = 32,
    max_tokens: int = 14,
    seed: int = 1234,
) -> Score:
    """Score a model on the held-out numbers.

    More samples than ``k`` are drawn and all of them used: pass@k is the unbiased estimator, and
    the distinct correct answers are the expectation over all subsets of size ``k`` (rarefaction).

    Args:
        model: The model; it is put in evaluation mode.
        names: Its tokenizer.
        numbers: The target numbers; default, the 14 held-out ones.
        samples: Samples per number, at least ``k``.
        k: The budget that the score speaks of.
        max_tokens: Longest answer, in tokens.
        seed: Of the sampling.
    """
    numbers = expressions.targets("held_out") if numbers is None else numbers
    groups, entropy = sample(
        model.eval(), names, numbers, samples=samples, max_tokens=max_tokens, seed=seed
    )
    right = [
        [expressions.answer(t) for t in texts if expressions.is_correct(t, n)]
        for n, texts in zip(numbers, groups, strict=True)
    ]
    return Score(
        pass_at_1=_mean(len(r) / samples for r in right),
        pass_at_k=_mean(pass_at_k(samples, len(r), k) for r in right),
        distinct_correct=_mean(expected_distinct(r, samples, k) for r in right),
        entropy_nats=entropy,
        distinct_ngrams=_mean(
            (
                distinct_n([" ".join(t) for t in texts[:k]], 2)
                + distinct_n([" ".join(t) for t in texts[:k]], 3)
            )
            / 2
            for texts in groups
        ),
        targets=len(numbers),
        samples=samples,
        k=k,
    )


def expected_distinct(answers: Sequence[str | None], samples: int, k: int) -> float:
    """Return how many different answers ``k`` of the ``samples`` draws hold in expectation.

    Args:
        answers: The class of each draw that counts (the correct ones).
        samples: All draws, ``answers`` among them.
        k: Size of the subset.

    Source:
        Rarefaction: Hurlbert, The nonconcept of species diversity, Ecology 52(4), 1971, Eq. 14.

    >>> expected_distinct(["a", "a", "b"], samples=3, k=3), expected_distinct(["a"], 4, 2)
    (2.0, 0.5)
    """
    sizes = [answers.count(a) for a in set(answers)]
    return float(sum(1 - comb(samples - s, k) / comb(samples, k) for s in sizes))


def _mean(values: Any) -> float:
    values = list(values)
    return sum(values) / len(values)
