"""MMR-GRPO: rewards fall with the similarity to completions that were chosen before."""

import math
from typing import Any

from jaxtyping import Float
from torch import Tensor

_DIGITS = 5  # scores and similarities that agree so far are equal, rounded differently


def mmr(
    rewards: Float[Tensor, "*p g"], *, similarity: Float[Tensor, "*p g g"]
) -> Float[Tensor, "*p g"]:
    r"""Choose completions one by one for reward and novelty, and pay each the score it won with.

    .. math::
        r'_i = \lambda r_i - (1 - \lambda) \max\bigl(0, \max_{j\ \text{chosen}} S_{ij}\bigr), \qquad
        \lambda = \frac{1}{1 + e^{-\sigma}}

    The first chosen is the best rewarded, and keeps its reward as it is; then at each turn the one
    of largest :math:`r'`. :math:`\sigma` is the standard deviation of the group's rewards, so that
    novelty counts for half where all rewards are equal and for less where they tell completions
    apart. Similarities are subtracted as they are: rewards far from the size of 1 drown them, or
    drown in them.

    Args:
        rewards: Reward of each completion, in units in which 1 is a copy's penalty.
        similarity: Cosine similarity of each pair, in [-1, 1].

    Returns:
        Rewards, in the unit of ``rewards``.

    Source:
        MMR-GRPO, arXiv:2601.09085; released code, commit db07f71, without a fixed lambda.

    Differs from the released code:
        A group is chosen from and measured by itself; theirs is over the whole batch.
        Of equals the one that resembles the group least goes first; in theirs, the one that comes
        first. Completions that nothing tells apart, copies for example, share what they earn.

    >>> import torch
    >>> alike = torch.tensor([[1.0, 1.0, 0.0], [1.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
    >>> mmr(torch.ones(3), similarity=alike)
    tensor([0.2500, 0.2500, 1.0000])
    """
    spread = rewards.std(dim=-1, correction=0)
    return _chosen(rewards, similarity, spread.sigmoid())


def mmr_fixed(
    rewards: Float[Tensor, "*p g"], *, similarity: Float[Tensor, "*p g g"], lam: float = 0.7
) -> Float[Tensor, "*p g"]:
    r"""Choose completions one by one as ``mmr`` does, at a fixed trade of reward for novelty.

    :func:`mmr` with the same :math:`\lambda` for every group.

    Args:
        rewards: Reward of each completion, in units in which 1 is a copy's penalty.
        similarity: Cosine similarity of each pair, in [-1, 1].
        lam: Weight of the reward, in [0, 1]; the rest is on novelty.

    Returns:
        Rewards, in the unit of ``rewards``.

    Raises:
        ValueError: If ``lam`` is not in [0, 1].

    Source:
        MMR-GRPO, arXiv:2601.09085; released code, commit db07f71, ``lambda_div``.

    Differs from the released code:
        As :func:`mmr`.

    >>> import torch
    >>> mmr_fixed(torch.ones(2), similarity=torch.tensor([[1.0, 0.5], [0.5, 1.0]]))
    tensor([0.7750, 0.7750])
    """
    if not 0 <= lam <= 1:
        raise ValueError(f"mmr_fixed needs lam in [0, 1]; got {lam}. Use lam=0.7.")
    return _chosen(rewards, similarity, rewards.new_full(rewards.shape[:-1], lam))


def _chosen(
    rewards: Float[Tensor, "*p g"], similarity: Float[Tensor, "*p g g"], lam: Float[Tensor, "*p"]
) -> Float[Tensor, "*p g"]:
    """Return the score with which each completion is chosen in its group."""
    g = rewards.shape[-1]
    worth = rewards.reshape(-1, g).tolist()
    alike = similarity.clamp(min=0).reshape(-1, g, g).tolist()
    weights = lam.reshape(-1).tolist()
    scores = [_scores(*group) for group in zip(worth, alike, weights, strict=True)]
    return rewards.new_tensor(scores).view(rewards.shape)


def _scores(worth: list[float], alike: list[list[float]], lam: float) -> list[float]:
    """Choose greedily; what the group cannot tell apart shares its scores."""
    kind = _kinds(worth, alike)
    scores, nearest, left = [0.0] * len(worth), [0.0] * len(worth), set(range(len(worth)))
    while left:
        first = len(left) == len(worth)
        offers = {i: worth[i] if first else lam * worth[i] - (1 - lam) * nearest[i] for i in left}
        best = max(offers.values())
        equals = [i for i in left if math.isclose(offers[i], best, rel_tol=1e-5, abs_tol=1e-5)]
        chosen = min(equals, key=lambda i: (kind[i], i))
        scores[chosen] = offers[chosen]
        left.remove(chosen)
        nearest = [max(near, alike[i][chosen]) for i, near in enumerate(nearest)]
    members = [[scores[j] for j, k in enumerate(kind) if k == own] for own in kind]
    return [sum(shared) / len(shared) for shared in members]


def _kinds(worth: list[float], alike: list[list[float]]) -> list[int]:
    """Number completions by content, least similar to the group first; equals have one number.

    Told apart are completions with other similarities or rewards, then those with other
    similarities to the kinds so far, until nothing more can be told apart.
    """
    others = [[j for j in range(len(worth)) if j != i] for i in range(len(worth))]
    near = [[round(alike[i][j], _DIGITS) for j in range(len(worth))] for i in range(len(worth))]
    crowd = [round(sum(near[i][j] for j in others[i]), _DIGITS) for i in range(len(worth))]
    kind = _places(list(zip(crowd, (round(r, _DIGITS) for r in worth), strict=True)))
    while True:
        around = [tuple(sorted((kind[j], near[i][j]) for j in others[i])) for i in range(len(kind))]
        finer = _places(list(zip(kind, around, strict=True)))
        if finer == kind:
            return kind
        kind = finer


def _places(keys: list[Any]) -> list[int]:
    """Return the place of each key among the different keys, in order."""
    place = {key: n for n, key in enumerate(sorted(set(keys)))}
    return [place[key] for key in keys]
