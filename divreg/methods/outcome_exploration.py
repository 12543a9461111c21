"""Outcome-based exploration: a bonus for final answers that were seldom seen."""

from collections.abc import Iterator
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from divreg.compose import Stateful


def outcome_exploration(*, c: float = 0.2, b0: float = 0.5) -> Stateful:
    r"""Add to each advantage a bonus for an answer seldom given to its prompt during the run.

    .. math:: \tilde A_i = A_i + c\,(b_i - b_0), \qquad b_i = \min(1, N(x, a_i)^{-1/2})

    with :math:`N` the times the answer was sampled for this prompt so far, this batch included.
    With ``b0=0.5`` answers seen more than four times lose; with ``b0=0`` it is plain UCB, which
    never punishes. Groups that are all correct get no bonus, nor do completions without an answer.

    Args:
        c: Largest bonus in units of advantage; 0 is off.
        b0: The bonus from which an answer counts as explored, in [0, 1].

    Returns:
        A method of the stage ``advantages`` whose memory counts answers by prompt; it asks for
        ``answer``, ``correct`` and ``prompt_id``.

    Source:
        Song et al., Outcome-based Exploration, arXiv:2509.06941, UCB-Con; constants and the gate
        on all-correct groups from reviews of the paper. No code is released.

    Differs from the paper:
        The paper keeps the bonus off the tokens of the final answer; here it is on the completion.

    >>> method = outcome_exploration(c=1.0)
    >>> asked = {"prompt_id": "x", "answer": ["7", "7", "7", "7", "8"]}
    >>> wrong = torch.zeros(5, dtype=torch.bool)
    >>> bonus, state = method.update(torch.zeros(5), method.init(), correct=wrong, **asked)
    >>> bonus
    tensor([0.0000, 0.0000, 0.0000, 0.0000, 0.5000])
    >>> state
    {'counts': {'x': {'7': 4, '8': 1}}}
    """

    def update(
        advantages: Float[Tensor, "*p g"],
        state: dict[str, Any],
        *,
        answer: list[Any],
        correct: Bool[Tensor, "*p g"],
        prompt_id: Any,
        c: float = c,
        b0: float = b0,
    ) -> tuple[Float[Tensor, "*p g"], dict[str, Any]]:
        rarely, answered, state = _remember(advantages, state, answer, prompt_id)
        bonus = (rarely - b0).masked_fill(~answered | _solved(correct), 0)
        return advantages + c * bonus, state

    return Stateful(_nothing_seen, update, "outcome_exploration")


def outcome_exploration_mean(*, c: float = 0.2) -> Stateful:
    r"""Add to each advantage how much rarer its answer is than the others in its group.

    .. math:: \tilde A_i = A_i + c\,\Bigl(b_i - \frac{1}{g-1} \sum_{j \ne i} b_j\Bigr)

    with :math:`b_i` as in :func:`outcome_exploration`. A group that agrees gets nothing, however
    often its answer was seen. The mean is over the other completions that have an answer.

    Args:
        c: Scale of the bonus in units of advantage; 0 is off.

    Returns:
        A method of the stage ``advantages`` whose memory counts answers by prompt; it asks for
        ``answer``, ``correct`` and ``prompt_id``.

    Source:
        Song et al., Outcome-based Exploration, arXiv:2509.06941, UCB-Mean; that the completion
        itself is left out of the mean is one detailed reading. No code is released.

    Differs from the paper:
        The paper keeps the bonus off the tokens of the final answer; here it is on the completion.

    >>> method = outcome_exploration_mean(c=1.0)
    >>> asked = {"prompt_id": "x", "answer": ["7", "7", "7", "7", "8"]}
    >>> wrong = torch.zeros(5, dtype=torch.bool)
    >>> method.update(torch.zeros(5), method.init(), correct=wrong, **asked)[0]
    tensor([-0.1250, -0.1250, -0.1250, -0.1250,  0.5000])
    """

    def update(
        advantages: Float[Tensor, "*p g"],
        state: dict[str, Any],
        *,
        answer: list[Any],
        correct: Bool[Tensor, "*p g"],
        prompt_id: Any,
        c: float = c,
    ) -> tuple[Float[Tensor, "*p g"], dict[str, Any]]:
        rarely, answered, state = _remember(advantages, state, answer, prompt_id)
        others = answered.sum(dim=-1, keepdim=True) - 1
        mean_of_others = (rarely.sum(dim=-1, keepdim=True) - rarely) / others.clamp(min=1)
        alone = others < 1  # nothing to be rarer than
        bonus = (rarely - mean_of_others).masked_fill(~answered | alone | _solved(correct), 0)
        return advantages + c * bonus, state

    return Stateful(_nothing_seen, update, "outcome_exploration_mean")


def outcome_exploration_batch(
    advantages: Float[Tensor, "*p g"],
    *,
    answer: list[Any],
    correct: Bool[Tensor, "*p g"],
    c: float = 0.2,
) -> Float[Tensor, "*p g"]:
    r"""Take from each advantage for every completion of its group with the same answer.

    .. math:: \tilde A_i = A_i - \frac{c}{g} \sum_{j \ne i} 1\{a_i = a_j\}

    It looks at the group alone and remembers nothing. Groups that are all correct are left alone;
    a completion without an answer is equal to none.

    Args:
        advantages: Normalised advantage of each completion, dimensionless.
        answer: Extracted answers, nested lists ``(*p, g)`` of str or None.
        correct: Whether each completion is correct.
        c: Scale of the penalty in units of advantage; 0 is off.

    Returns:
        Advantages, dimensionless.

    Source:
        Song et al., Outcome-based Exploration, arXiv:2509.06941, Batch. No code is released.

    Differs from the paper:
        The paper keeps the bonus off the tokens of the final answer; here it is on the completion.

    >>> wrong = torch.zeros(4, dtype=torch.bool)
    >>> answer = ["a", "a", "b", None]
    >>> outcome_exploration_batch(torch.zeros(4), answer=answer, correct=wrong, c=1.0)
    tensor([-0.2500, -0.2500,  0.0000,  0.0000])
    """
    g = advantages.shape[-1]
    repeats = [
        [group.count(a) - 1 if a is not None else 0 for a in group] for group in _groups(answer)
    ]
    penalty = torch.tensor(repeats, dtype=advantages.dtype, device=advantages.device) / g
    penalty = penalty.view(advantages.shape).masked_fill(_solved(correct), 0)
    return advantages - c * penalty


def _nothing_seen() -> dict[str, Any]:
    return {"counts": {}}


def _remember(
    advantages: Float[Tensor, "*p g"], state: dict[str, Any], answer: list[Any], prompt_id: Any
) -> tuple[Float[Tensor, "*p g"], Bool[Tensor, "*p g"], dict[str, Any]]:
    """Count this batch's answers; return ``N**-0.5`` (0 without an answer), who answered, counts.

    All groups are counted before any is looked up: two groups of one prompt see the same counts.
    """
    counts = dict(state["counts"])
    groups = list(zip(_leaves(prompt_id), _groups(answer), strict=True))
    for name in {name for name, _ in groups}:
        counts[name] = dict(counts.get(name, {}))  # the caller's state stays as it is
    for name, group in groups:
        for a in group:
            if a is not None:
                counts[name][a] = counts[name].get(a, 0) + 1
    seen = [[counts[name][a] if a is not None else 0 for a in group] for name, group in groups]
    times = torch.tensor(seen, dtype=advantages.dtype, device=advantages.device)
    times = times.view(advantages.shape)
    answered = times > 0
    rarely = times.clamp(min=1).rsqrt().masked_fill(~answered, 0)
    return rarely, answered, {**state, "counts": counts}


def _solved(correct: Bool[Tensor, "*p g"]) -> Bool[Tensor, "*p 1"]:
    return correct.all(dim=-1, keepdim=True)


def _groups(answer: list[Any]) -> Iterator[list[Any]]:
    """Go through the innermost lists, in order."""
    if answer and isinstance(answer[0], list):
        for part in answer:
            yield from _groups(part)
    else:
        yield answer


def _leaves(nested: Any) -> Iterator[Any]:
    """Go through the values of nested lists, in order; a value by itself is one leaf."""
    if isinstance(nested, list):
        for part in nested:
            yield from _leaves(part)
    else:
        yield nested
