"""What a model can do of a verifiable task: right how often, in how many different ways."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, cast

import torch

from divreg.metrics.ngrams import distinct_n
from divreg.metrics.pass_at_k import pass_at_k
from divreg.metrics.richness import rarefied_distinct
from divreg.tasks.task import EXPRESSIONS, Task


@dataclass(frozen=True)
class Score:
    """Means over the prompts, of ``k`` samples each unless the name says otherwise."""

    pass_at_1: float
    pass_at_k: float
    distinct_correct: float
    """Expected number of different correct answers among ``k`` samples of one prompt."""
    entropy_nats: float
    """Mean over sampled tokens of the entropy of the distribution each was drawn from."""
    distinct_ngrams: float
    """Share of a prompt's character 2- and 3-grams, in ``k`` samples, that are different."""
    pass_at: Mapping[str, float]
    """pass@k for every power of two up to the number of samples, by k."""
    targets: int
    samples: int
    k: int

    def as_dict(self) -> dict[str, Any]:
        """Return the score as a row for a JSON file."""
        return asdict(self)


@torch.inference_mode()
def sample(
    model: Any,
    names: Any,
    prompts: Sequence[str | list[dict[str, str]]],
    *,
    samples: int,
    max_tokens: int,
    seed: int,
    rows_at_once: int = 2048,
) -> tuple[list[list[str]], float]:
    """Sample answers at temperature 1, with a key-value cache and a generator of their own.

    Args:
        model: A causal LM.
        names: Its tokenizer.
        prompts: Texts, or conversations, which the tokenizer's chat template writes; where their
            lengths in tokens differ they are padded on the left.
        samples: Answers to each.
        max_tokens: Longest answer.
        seed: Of the sampling.
        rows_at_once: Answers written side by side.

    Returns:
        One list of ``samples`` texts per prompt, and the mean token entropy in nats.
    """
    generator = torch.Generator(model.device).manual_seed(seed)
    rows = [_encode(names, prompt) for prompt in prompts]
    width = max(map(len, rows))
    blank = names.pad_token_id if names.pad_token_id is not None else names.eos_token_id
    ids = torch.tensor([[blank] * (width - len(row)) + row for row in rows])
    real = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in rows])
    texts: list[str] = []
    entropy, tokens = 0.0, 0
    for some, mask in zip(
        ids.repeat_interleave(samples, dim=0).split(rows_at_once),
        real.repeat_interleave(samples, dim=0).split(rows_at_once),
        strict=True,
    ):
        padding = None if bool(real.all()) else mask.to(model.device)
        drawn, their_entropy, alive = _continue(
            model, some.to(model.device), padding, max_tokens, generator, names.eos_token_id, blank
        )
        texts += names.batch_decode(drawn, skip_special_tokens=True)
        entropy += (their_entropy * alive).sum().item()
        tokens += int(alive.sum())
    groups = [texts[i : i + samples] for i in range(0, len(texts), samples)]
    return groups, entropy / max(1, tokens)


def _encode(names: Any, prompt: str | list[dict[str, str]]) -> list[int]:
    if isinstance(prompt, str):
        return names.encode(prompt)
    text = names.apply_chat_template(prompt, add_generation_prompt=True, tokenize=False)
    return names.encode(text, add_special_tokens=False)


def _continue(
    model: Any,
    prompts: torch.Tensor,
    padding: torch.Tensor | None,
    max_tokens: int,
    generator: torch.Generator,
    end: int,
    blank: int,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    alive = torch.ones(len(prompts), dtype=torch.bool, device=prompts.device)
    cache, given = None, prompts
    drawn, entropies, masks = [], [], []
    for _ in range(max_tokens):
        where = {}
        if padding is not None:
            places = (padding.cumsum(-1) - 1).clamp(min=0)[:, -given.shape[1] :]
            where = {"attention_mask": padding, "position_ids": places}
        out = model(
            input_ids=given, past_key_values=cache, use_cache=True, logits_to_keep=1, **where
        )
        cache = out.past_key_values
        logprob = out.logits[:, -1].float().log_softmax(-1)
        probability = logprob.exp()
        given = torch.multinomial(probability, 1, generator=generator)
        drawn.append(given[:, 0].masked_fill(~alive, blank))
        entropies.append(torch.special.entr(probability).sum(-1))
        masks.append(alive)
        alive = alive & (given[:, 0] != end)
        if padding is not None:
            padding = torch.cat([padding, padding.new_ones(len(padding), 1)], 1)
        if not alive.any():
            break
    return torch.stack(drawn, 1), torch.stack(entropies, 1), torch.stack(masks, 1)


def evaluate(
    model: Any,
    names: Any,
    task: Task = EXPRESSIONS,
    *,
    rows: Sequence[Mapping[str, Any]] | None = None,
    samples: int = 128,
    k: int = 32,
    seed: int = 1234,
    rows_at_once: int = 2048,
) -> Score:
    """Score a model on the held-out prompts of a task.

    More samples than ``k`` are drawn and all of them used: pass@k is the unbiased estimator, and
    the distinct correct answers are the expectation over all subsets of size ``k`` (rarefaction).

    Args:
        model: The model; it is put in evaluation mode.
        names: Its tokenizer.
        task: What is asked, and what is right.
        rows: Rows of the task's data set; default, its held-out ones.
        samples: Samples per prompt, at least ``k``.
        k: The budget that the score speaks of.
        seed: Of the sampling.
        rows_at_once: Answers written side by side.

    Raises:
        ValueError: For an open task.
    """
    is_correct, answer = (task.need(part, "evaluate") for part in ("is_correct", "answer"))
    if rows is None:
        rows = cast(Sequence[Mapping[str, Any]], list(task.dataset("held_out")))
    groups, entropy = sample(
        model.eval(),
        names,
        [row["prompt"] for row in rows],
        samples=samples,
        max_tokens=task.max_tokens + 2,
        seed=seed,
        rows_at_once=rows_at_once,
    )
    right = [
        [answer(t) for t in texts if is_correct(t, row)]
        for row, texts in zip(rows, groups, strict=True)
    ]
    budgets = [2**i for i in range(samples.bit_length())]
    return Score(
        pass_at_1=_mean(len(r) / samples for r in right),
        pass_at_k=_mean(pass_at_k(samples, len(r), k) for r in right),
        distinct_correct=_mean(rarefied_distinct(r, k, samples) for r in right),
        entropy_nats=entropy,
        distinct_ngrams=_mean(
            (
                distinct_n([" ".join(t) for t in texts[:k]], 2)
                + distinct_n([" ".join(t) for t in texts[:k]], 3)
            )
            / 2
            for texts in groups
        ),
        pass_at={str(n): _mean(pass_at_k(samples, len(r), n) for r in right) for n in budgets},
        targets=len(rows),
        samples=samples,
        k=k,
    )


def _mean(values: Any) -> float:
    values = list(values)
    return sum(values) / len(values)
