"""IPS-GRPO: divide rewards by how often the group came to the same outcome."""

from jaxtyping import Float, Int64
from torch import Tensor


def ips(
    rewards: Float[Tensor, "*p g"], *, partition: Int64[Tensor, "*p g"]
) -> Float[Tensor, "*p g"]:
    r"""Divide each reward by the share of its group that came to the same outcome.

    .. math:: r'_i = \frac{r_i}{\hat p_i}, \qquad \hat p_i = \frac{s_i}{g}

    with :math:`s_i` the completions of the same class, itself included. Every outcome then earns
    the same in total, however often it was sampled, so that none of equal worth can crowd out the
    others. Alone a completion earns g times its reward; a group of one outcome keeps its rewards.
    Rewards should be non-negative: a penalty is divided as well, and hits the rare mistake hardest;
    ``rarity`` leaves penalties alone.

    Args:
        rewards: Reward of each completion, any unit, >= 0.
        partition: Class of each completion, its outcome, ids within its group.

    Returns:
        Rewards, in the unit of ``rewards``.

    Source:
        IPS-GRPO, arXiv:2601.21669. The formula is from accounts of the paper; its code was not
        read.

    Differs from the paper:
        The frequency is not clipped from below: what was sampled has at least 1/g.

    >>> import torch
    >>> ips(torch.tensor([1.0, 1.0, 1.0, 0.0]), partition=torch.tensor([0, 0, 1, 2]))
    tensor([2., 2., 4., 0.])
    """
    class_size = (partition.unsqueeze(-1) == partition.unsqueeze(-2)).sum(dim=-1)
    return rewards * rewards.shape[-1] / class_size.to(rewards.dtype)
