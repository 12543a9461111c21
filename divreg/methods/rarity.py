"""Rarity: what a class earns grows slower than the number of completions in it."""

import torch
from jaxtyping import Float, Int64
from torch import Tensor


def rarity(
    rewards: Float[Tensor, "*p g"],
    *,
    partition: Int64[Tensor, "*p g"],
    power: float = 0.5,
) -> Float[Tensor, "*p g"]:
    r"""Divide each positive reward by a power of the size of its class in the group.

    .. math:: r'_i = r_i\, s_i^{-\text{power}} \quad\text{where } r_i > 0

    with :math:`s_i` the size of the completion's class, itself included. At power 1 every class
    earns the same in total, however many completions it has; at 0 nothing changes. A negative
    reward stays as it is: dividing it would punish a wrong answer less for being common.

    Args:
        rewards: Reward of each completion, any unit.
        partition: Class of each completion, ids within its group.
        power: How much common classes lose; 0 is off, 1 equalises classes.

    Returns:
        Rewards, in the unit of ``rewards``.

    Source:
        Ours. Kin to Uniqueness-aware RL, arXiv:2601.08763, whose weights multiply advantages, and
        to IPS-GRPO, arXiv:2601.21669, which is power 1 up to the factor g.

    Differs from the papers:
        The weights act before the group is normalised; after it, an all-correct group has no
        gradient left to weigh.
        Negative rewards are untouched; the papers weigh every completion.

    >>> rarity(torch.tensor([1.0, 1.0, -1.0, 1.0]), partition=torch.tensor([0, 0, 0, 1]), power=1.0)
    tensor([ 0.3333,  0.3333, -1.0000,  1.0000])
    """
    class_size = (partition.unsqueeze(-1) == partition.unsqueeze(-2)).sum(dim=-1)
    scaled = rewards * class_size.to(rewards.dtype).pow(-power)
    return torch.where(rewards > 0, scaled, rewards)
