"""Random but consistent values of every signal: to call a method once before anything is trained.

The same answer is equally correct everywhere in its group, equal texts have equal embeddings, and
the seeds run through the groups that break methods: ties, duplicates, all correct, none correct.
"""

import difflib
import inspect
import zlib
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor

from divreg.compose import STAGES
from divreg.signals import COMPARED, SIGNALS, _softmax

# A text and the answer in it: equal ones, near-copies, one without an answer, an empty one.
_TEXTS = (
    ("4", "4"),
    (" 4 ", "4"),
    ("7", "7"),
    ("As anybody can verify by counting on the fingers of one hand, the sum of both is 4.", "4"),
    ("As anybody can verify by counting on the fingers of one hand, the sum of both is 7.", "7"),
    ("I do not know.", None),
    ("", None),
)
_DIMENSIONS = 8
_PROMPT_TOKENS = 6
_VOCABULARY = 16  # more tokens than most losses look at
_KINDS = 4  # of rewards, which the seeds run through


def example(
    names: Iterable[str], stage: str, p: int = 2, g: int = 4, t: int = 5, seed: int = 0
) -> dict[str, Any]:
    """Draw values of the named signals as a method of ``stage`` gets them.

    At ``rewards`` and ``advantages`` they are shaped as ``divreg.signals.BASE`` says, with
    ``*p = (p,)``; at ``token_weights`` and ``loss`` there are ``b = p * g`` rows. The name of the
    stage gives the first argument itself. ``seed % 4`` picks the rewards: 0 signed, graded and
    tied, 1 zero and one, 2 all correct, 3 all wrong.

    Args:
        names: Signals, base or derived, and possibly the stage.
        stage: One of ``divreg.compose.STAGES``.
        p: Prompts.
        g: Completions of a prompt.
        t: Tokens of a completion, padding included.
        seed: Same seed and sizes, same values, whatever else is asked for.

    Raises:
        ValueError: If the stage or a signal is not known.

    >>> example(["correct"], "rewards", p=1, seed=2)
    {'correct': tensor([[True, True, True, True]])}
    """
    if stage not in STAGES:
        raise ValueError(
            f"example needs one of the stages {', '.join(STAGES)}; got {stage!r}. "
            f"Pass divreg.compose.contract(method).stage."
        )
    values = ingredients(stage, p, g, t, seed)
    return {name: derive(name, values) for name in names}


def derive(
    name: str, values: Mapping[str, Any], recipes: Mapping[str, Callable[..., Any]] = SIGNALS
) -> Any:
    """Return the named value, or compute it from others as its signature says.

    Raises:
        ValueError: If nothing supplies the signal.
    """
    if name in values:
        return values[name]
    recipes = {**_softmax.SOURCES, **recipes}
    if name not in recipes:
        near = difflib.get_close_matches(name, [*values, *recipes], n=1)
        meant = f"Did you mean {near[0]!r}?" if near else "Pass a function that computes it."
        raise ValueError(f"no signal is called {name!r}; got neither value nor recipe. {meant}")
    wanted = inspect.signature(recipes[name]).parameters.values()
    inputs = {w.name: derive(w.name, values, recipes) for w in wanted if w.default is w.empty}
    return recipes[name](**inputs)


def ingredients(stage: str, p: int, g: int, t: int, seed: int) -> dict[str, Any]:
    """Draw every base signal of a stage and its first argument; see :func:`example`."""
    groups = _groups(p, g, t, seed)
    if stage in ("rewards", "advantages"):
        return groups
    # Where rows are shuffled, what compares completions was computed while groups were whole.
    groups |= {name: derive(name, groups) for name in COMPARED}
    return _rows(groups, p, g, t, seed)


def _groups(p: int, g: int, t: int, seed: int) -> dict[str, Any]:
    """Draw one rollout of ``p`` whole groups."""
    kind, shape = seed % _KINDS, (p, g)
    picks = torch.randint(len(_TEXTS), shape, generator=_stream(seed, "texts"))
    texts = [[_TEXTS[i][0] for i in group] for group in picks.tolist()]
    answer = [[_TEXTS[i][1] for i in group] for group in picks.tolist()]
    is_four = torch.tensor([[a == "4" for a in group] for group in answer])
    correct = (is_four, is_four, torch.ones_like(is_four), torch.zeros_like(is_four))[kind]
    graded = torch.randn(shape, generator=_stream(seed, "rewards")).mul(2).round() / 2
    rewards = graded if kind == 0 else correct.float()
    prompts = [f"2 + 2 = ? (asked for the {seed}.{i} time)" for i in range(p)]
    logprob, entropy, mask = _tokens(p * g, t, seed)
    drift = torch.randn(p * g, t, generator=_stream(seed, "ref_logprob")) / 4
    return {
        "rewards": rewards,
        "advantages": _normalised(rewards),
        "prompts": prompts,
        "prompt_id": [f"{zlib.crc32(prompt.encode()):08x}" for prompt in prompts],
        "texts": texts,
        "answer": answer,
        "correct": correct,
        "embedding": torch.stack([torch.stack([_vector(x) for x in group]) for group in texts]),
        "logprob": logprob.view(p, g, t),
        "old_logprob": logprob.view(p, g, t).clone(),
        "ref_logprob": (logprob + drift).clamp(max=0).view(p, g, t),
        "entropy": entropy.view(p, g, t),
        **_moments(entropy, p, g, t, seed),
        "mask": mask.view(p, g, t),
        **_prompt_tokens(p, g, seed),
        **_vocabulary(mask, p, g, seed),
        **_pairs(p, g, seed),
        # Every second seed is a step on what the model wrote itself.
        "generated": torch.full(shape, seed % 2 == 0),
        "continues": torch.full(shape, -1) if seed % 2 else torch.arange(p)[:, None].expand(shape),
        "markers": (2, 3, 5),
        "step": 1 + seed,
        "boost": 1.0,
    }


def _rows(groups: dict[str, Any], p: int, g: int, t: int, seed: int) -> dict[str, Any]:
    """Cut the groups into ``p * g`` rows, and let the policy have moved since it sampled them."""
    rows: dict[str, Any] = {}
    for name, value in groups.items():
        if isinstance(value, Tensor):
            rows[name] = value.flatten(0, 1)
        elif name in ("texts", "answer"):
            rows[name] = [x for group in value for x in group]
        elif name in ("prompts", "prompt_id"):
            rows[name] = [x for x in value for _ in range(g)]
        else:
            rows[name] = value
    moved = torch.randn(p * g, t, generator=_stream(seed, "moved")) / 10
    rows["logprob"] = (rows["old_logprob"] + moved).clamp(max=0)
    rows["advantages"] = rows["advantages"].unsqueeze(-1).repeat(1, t)
    rows["token_weights"] = torch.ones(p * g, t)
    mask = rows["mask"]
    rows["loss"] = -(rows["advantages"] * rows["logprob"])[mask].sum() / mask.sum().clamp(min=1)
    return rows


def _tokens(b: int, t: int, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """Draw log-probs <= 0, entropies >= 0 and the mask of completions of 1 to ``t`` tokens."""
    logprob = -torch.rand(b, t, generator=_stream(seed, "logprob")).mul(4)
    entropy = torch.rand(b, t, generator=_stream(seed, "entropy")).mul(3)
    length = torch.randint(1, t + 1, (b, 1), generator=_stream(seed, "mask"))
    return logprob, entropy, torch.arange(t) < length


def _moments(entropy: Tensor, p: int, g: int, t: int, seed: int) -> dict[str, Tensor]:
    """Draw what fits the entropies: Renyi's of order 2 is no larger than Shannon's."""
    share = torch.rand(entropy.shape, generator=_stream(seed, "log_sum_p2"))
    log_sum_p2 = -share * entropy
    varentropy = torch.rand(entropy.shape, generator=_stream(seed, "varentropy")) * 2
    # Sum of p^2 log p over sum of p^2 is a mean of log p that prefers likely tokens.
    mean = share * log_sum_p2
    found = {"varentropy": varentropy, "log_sum_p2": log_sum_p2}
    found["sum_p2_logp"] = mean * log_sum_p2.exp()
    return {name: value.view(p, g, t) for name, value in found.items()}


def _vocabulary(mask: Tensor, p: int, g: int, seed: int) -> dict[str, Tensor]:
    """Draw texts as a loss sees them: tokens, where a text begins, logits, the token's share."""
    b, t = mask.shape
    tokens = torch.randint(_VOCABULARY, (b, t), generator=_stream(seed, "tokens"))
    if seed % 2 == 0:  # what a model writes by itself says two tokens in turn
        tokens = tokens[:, torch.arange(t) % 2]
    begins = torch.rand(b, t, generator=_stream(seed, "document")) < 0.2
    logits = torch.randn(b, t, _VOCABULARY, generator=_stream(seed, "logits"))
    logits *= torch.rand(b, t, 1, generator=_stream(seed, "sharpness")) * 4  # from even to sure
    document = begins.long().cumsum(1)
    texts = (document + (t + 1) * torch.arange(b)[:, None])[mask].unique().numel()
    found = {
        "tokens": tokens,
        "document": document,
        "logits": logits,
        "token_share": mask.float() / mask.sum().clamp(min=1),
        "text_share": mask.float() / max(1, texts),
    }
    return {name: x.unflatten(0, (p, g)) for name, x in found.items()}


def _pairs(p: int, g: int, seed: int) -> dict[str, Tensor]:
    """Read rows as preference pairs, all chosen answers first; some pairs have weight 0."""
    rows = torch.arange(p * g)
    pairs = (p * g + 1) // 2
    weights = torch.rand(pairs, generator=_stream(seed, "pair_weight")).mul(3).sub(0.5)
    found = {
        "pair": rows % pairs,
        "chosen": rows < pairs,
        "pair_weight": weights.clamp(min=0)[rows % pairs],
        "pair_share": torch.full((p * g,), 1 / pairs),
    }
    return {name: x.view(p, g) for name, x in found.items()}


def _prompt_tokens(p: int, g: int, seed: int) -> dict[str, Tensor]:
    """Draw left-padded prompts; all completions of a group share theirs."""
    shape = (p, 1, _PROMPT_TOKENS)
    logprob = -torch.rand(shape, generator=_stream(seed, "prompt_logprob")).mul(4)
    length = torch.randint(1, _PROMPT_TOKENS + 1, (p, 1, 1), generator=_stream(seed, "prompt_mask"))
    mask = torch.arange(_PROMPT_TOKENS) >= _PROMPT_TOKENS - length
    return {
        "prompt_logprob": logprob.masked_fill(~mask, 0).repeat(1, g, 1),
        "prompt_mask": mask.repeat(1, g, 1),
    }


def _normalised(rewards: Tensor) -> Tensor:
    """Centre and scale in each group as TRL does; a group of one has advantage 0."""
    if rewards.shape[-1] == 1:
        return torch.zeros_like(rewards)
    centred = rewards - rewards.mean(-1, keepdim=True)
    return centred / (rewards.std(-1, keepdim=True) + 1e-4)


def _vector(text: str) -> Tensor:
    """Return a unit vector that depends on the text alone."""
    drawn = torch.randn(_DIMENSIONS, generator=_stream(0, text))
    return drawn / drawn.norm()


def _stream(seed: int, name: str) -> torch.Generator:
    """Return a generator of its own for every name, so that values do not depend on each other."""
    return torch.Generator().manual_seed(zlib.crc32(f"{seed}/{name}".encode()))
