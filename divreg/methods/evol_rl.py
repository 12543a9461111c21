"""EVOL-RL: what the majority answers is right, and novelty orders completions within a side."""

import math
from collections import Counter
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from divreg.methods.outcome_exploration import _groups

_EQUAL = 1e-6  # novelties closer than this are the same number, rounded differently


def evol_rl(
    rewards: Float[Tensor, "*p g"],
    *,
    answer: list[Any],
    similarity: Float[Tensor, "*p g g"],
    alpha: float = 0.5,
) -> Float[Tensor, "*p g"]:
    r"""Put in place of each reward the vote of the group, and novelty within either side of it.

    .. math::
        r_i = \begin{cases} \tfrac12 + \tfrac12 \tilde u_i & \text{majority} \\
            -1 + \tfrac12 \tilde u_i & \text{minority} \\ -1 & \text{no answer} \end{cases},
        \qquad u_i = 1 - \alpha\,\bar S_i - (1 - \alpha) \max_{j \ne i} S_{ij}

    with :math:`\bar S_i` the mean similarity to the others of the same side (to all others for the
    only one of its side), and :math:`\tilde u` the novelty :math:`u` scaled to [0, 1] within the
    side: 1 for the only one, 1/2 where all are equally novel. Any completion of the majority earns
    more than any other. No labels are used: the rewards handed over are replaced, and a group of
    one keeps its own. Of answers with equally many votes the first in the alphabet wins. Fewer
    than two answers in a group are no vote: all earn -1.

    The paper trains with clip-higher and a little entropy bonus beside it (``epsilon_high=0.28``,
    ``entropy_coef=0.003``) and finds both matter.

    Args:
        rewards: Replaced; their shape and dtype are kept.
        answer: Extracted answers, nested lists ``(*p, g)`` of str or None.
        similarity: Cosine similarity of each pair; negative ones count as 0.
        alpha: Weight of the mean similarity; the rest is on the largest.

    Returns:
        Rewards in [-1, 1], dimensionless.

    Source:
        Zhou et al., EVOL-RL, arXiv:2509.15194; released code, commit 19896e0.

    Differs from the paper:
        The only one of its side and a side of equals score as in the released code.
        Completions without an answer have no vote; in the released code they have.

    >>> alike = torch.tensor([[1.0, 1.0, 0.0], [1.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
    >>> evol_rl(torch.zeros(3), answer=["7", "7", "8"], similarity=alike)
    tensor([ 0.7500,  0.7500, -0.5000])
    """
    if rewards.shape[-1] == 1:
        return rewards.clone()
    given, side = _answered(answer, rewards), _majority(answer, rewards)
    earned = _banded(given, side, similarity, alpha)
    no_vote = given.sum(dim=-1, keepdim=True) < 2
    return earned.masked_fill(no_vote, -1).to(rewards.dtype)


def evol_rl_correct(
    rewards: Float[Tensor, "*p g"],
    *,
    correct: Bool[Tensor, "*p g"],
    answer: list[Any],
    similarity: Float[Tensor, "*p g g"],
    alpha: float = 0.5,
) -> Float[Tensor, "*p g"]:
    r"""Put in place of each reward whether it is correct, and novelty within either side of it.

    :func:`evol_rl` with labels: the two sides are right and wrong answers instead of the majority
    and the rest. Nobody votes; ``answer`` says who gave one, so that text without an answer earns
    -1 however novel it is. The only answer of a group counts, there is no vote to fail.

    Args:
        rewards: Replaced; their shape and dtype are kept.
        correct: Whether each completion is correct.
        answer: Extracted answers, nested lists ``(*p, g)``; only whether one is None matters.
        similarity: Cosine similarity of each pair; negative ones count as 0.
        alpha: Weight of the mean similarity; the rest is on the largest.

    Returns:
        Rewards in [-1, 1], dimensionless.

    Source:
        Zhou et al., EVOL-RL, arXiv:2509.15194, the variant with ground truth.

    >>> alike = torch.tensor([[1.0, 1.0, 0.0], [1.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
    >>> words = {"answer": ["7", "7", "8"], "similarity": alike}
    >>> evol_rl_correct(torch.zeros(3), correct=torch.tensor([False, False, True]), **words)
    tensor([-0.7500, -0.7500,  1.0000])
    """
    if rewards.shape[-1] == 1:
        return rewards.clone()
    return _banded(_answered(answer, rewards), correct, similarity, alpha).to(rewards.dtype)


def _answered(answer: list[Any], like: Float[Tensor, "*p g"]) -> Bool[Tensor, "*p g"]:
    """Return who gave an answer."""
    given = [a is not None for group in _groups(answer) for a in group]
    return torch.tensor(given, device=like.device).view(like.shape)


def _majority(answer: list[Any], like: Float[Tensor, "*p g"]) -> Bool[Tensor, "*p g"]:
    """Return who gave the answer with most votes in the group."""
    side: list[bool] = []
    for group in _groups(answer):
        votes = Counter(a for a in group if a is not None)
        first = min(votes, key=lambda a: (-votes[a], str(a)), default=None)
        side += [a is not None and a == first for a in group]
    return torch.tensor(side, device=like.device).view(like.shape)


def _banded(
    given: Bool[Tensor, "*p g"],
    side: Bool[Tensor, "*p g"],
    similarity: Float[Tensor, "*p g g"],
    alpha: float,
) -> Float[Tensor, "*p g"]:
    """Score completions in [1/2, 1] on the one side and in [-1, -1/2] on the other."""
    alike = similarity.clamp(0, 1)
    itself = torch.eye(given.shape[-1], dtype=torch.bool, device=given.device)
    other = (given.unsqueeze(-1) & given.unsqueeze(-2)) & ~itself
    same = other & (side.unsqueeze(-1) == side.unsqueeze(-2))
    peers = torch.where(same.any(dim=-1, keepdim=True), same, other)
    mean = alike.masked_fill(~peers, 0).sum(dim=-1) / peers.sum(dim=-1).clamp(min=1)
    novelty = 1 - alpha * mean - (1 - alpha) * alike.masked_fill(~other, 0).amax(dim=-1)
    within = torch.zeros_like(novelty)
    for members in (given & side, given & ~side):
        least = novelty.masked_fill(~members, math.inf).amin(dim=-1, keepdim=True)
        spread = novelty.masked_fill(~members, -math.inf).amax(dim=-1, keepdim=True) - least
        scaled = torch.where(spread > _EQUAL, (novelty - least) / spread, 0.5)
        scaled = scaled.masked_fill(members.sum(dim=-1, keepdim=True) == 1, 1)
        within = torch.where(members, scaled, within)
    earned = torch.where(side, 0.5, -1.0) + within / 2
    return earned.masked_fill(~given, -1)
