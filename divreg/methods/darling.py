"""DARLING: scale rewards by the share of the group that says something else."""

from jaxtyping import Float, Int64
from torch import Tensor


def darling(
    rewards: Float[Tensor, "*p g"],
    *,
    partition: Int64[Tensor, "*p g"],
    floor: float = 0.1,
) -> Float[Tensor, "*p g"]:
    r"""Scale each reward by how many completions of its group are not equivalent to it.

    .. math:: r'_i = r_i \max\!\Bigl(\frac{g - s_i}{g - 1},\ \text{floor}\Bigr)

    with :math:`s_i` the size of the completion's class, itself included, among all completions of
    the prompt, right or wrong. Alone in its class a completion keeps its reward; where all are
    equivalent each keeps ``floor`` of it, so that a correct answer still scores above a wrong one.

    Use it with ``scale_rewards="none"``, as the paper does: dividing by the standard deviation
    blows the differences inside an all-correct group up to full strength. Rewards should be
    non-negative: a factor below 1 shrinks the penalty of what is redundant *and* negative.

    Args:
        rewards: Reward of each completion, any unit, >= 0.
        partition: Class of each completion, ids within its group.
        floor: Least factor, in [0, 1]; 1 is off.

    Returns:
        Rewards, in the unit of ``rewards``.

    Raises:
        ValueError: If a group has one completion: there is nothing to compare it with.

    Source:
        Li et al., DARLING, arXiv:2509.02534, Eq. 4 and 5; released code, commit c07a323.

    Differs from the paper:
        The floor is the released code's; Eq. 4 as printed sums over equivalent completions.

    >>> import torch
    >>> darling(torch.tensor([1.0, 1.0, 0.0, 1.0]), partition=torch.tensor([0, 0, 1, 2]))
    tensor([0.6667, 0.6667, 0.0000, 1.0000])
    """
    g = rewards.shape[-1]
    if g < 2:
        raise ValueError(
            f"darling needs groups of at least two completions; got {g}. Set num_generations=2 "
            f"or more."
        )
    class_size = (partition.unsqueeze(-1) == partition.unsqueeze(-2)).sum(dim=-1)
    others = (g - class_size).to(rewards.dtype) / (g - 1)
    return rewards * others.clamp(min=floor)
