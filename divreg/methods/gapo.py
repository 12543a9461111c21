"""GAPO: valid outcomes earn by how near their frequency in the group is to uniform."""

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor


def gapo(
    rewards: Float[Tensor, "*p g"],
    *,
    partition: Int64[Tensor, "*p g"],
    correct: Bool[Tensor, "*p g"],
    outcomes: int = 100,
) -> Float[Tensor, "*p g"]:
    r"""Put in place of each reward how near its outcome's frequency is to that of a fair draw.

    .. math::
        r'_i = \begin{cases} 1 - |f_i - 1/L| & \text{valid} \\ -1 & \text{not}\end{cases}

    with :math:`f_i` the share of the group's valid completions that are of the same class. It is
    for prompts with a list of L equally valid answers, such as "name a planet". Where L is not
    less than the group's size it only shifts the rewards of valid completions, all alike: a large L
    serves open questions. The rewards handed over are replaced.

    Args:
        rewards: Replaced; their shape and dtype are kept.
        partition: Class of each completion, its outcome, ids within its group.
        correct: Whether each completion is valid.
        outcomes: How many valid answers a prompt has, L, at least 1.

    Returns:
        Rewards in [-1, 1], dimensionless.

    Raises:
        ValueError: If ``outcomes`` is below 1.

    Source:
        Anschel et al., Group-Aware Reinforcement Learning for Output Diversity, arXiv:2511.12596.
        The formula is from accounts of the paper; its code was not read.

    Differs from the paper:
        ``outcomes`` is one number for all prompts, and its value is ours; theirs is the length of
        each prompt's list.

    >>> said = torch.tensor([0, 0, 1, 2])
    >>> right = torch.tensor([True, True, True, False])
    >>> gapo(torch.zeros(4), partition=said, correct=right)
    tensor([ 0.3433,  0.3433,  0.6767, -1.0000])
    """
    if outcomes < 1:
        raise ValueError(
            f"gapo needs at least one valid outcome; got outcomes={outcomes}. Use the number of "
            f"right answers that a prompt has, or 100 where there is no list."
        )
    same = (partition.unsqueeze(-1) == partition.unsqueeze(-2)) & correct.unsqueeze(-2)
    valid = correct.sum(dim=-1, keepdim=True).clamp(min=1).to(rewards.dtype)
    frequency = same.sum(dim=-1).to(rewards.dtype) / valid
    return torch.where(correct, 1 - (frequency - 1 / outcomes).abs(), -1)
