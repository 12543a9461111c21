"""Uniqueness-aware RL: the advantage of a completion shrinks with the size of its class."""

from jaxtyping import Float, Int64
from torch import Tensor


def uniqueness(
    advantages: Float[Tensor, "*p g"],
    *,
    partition: Int64[Tensor, "*p g"],
    alpha: float = 0.5,
) -> Float[Tensor, "*p g"]:
    r"""Divide each advantage by a power of the size of its class in the group.

    .. math:: \tilde A_i = A_i\, f_i^{-\alpha}

    with :math:`f_i` the size of the completion's class, itself included. Right and wrong alike: a
    common wrong completion is punished *less* than a rare one, and advantages no longer have mean
    zero. A group whose rewards are equal has nothing to weigh and stays at zero; ``rarity`` acts
    there as well.

    Args:
        advantages: Normalised advantage of each completion, dimensionless.
        partition: Class of each completion, ids within its group.
        alpha: How much common classes lose, in [0, 1]; 0 is off.

    Returns:
        Advantages, dimensionless.

    Source:
        Uniqueness-aware RL ("Rewarding the Rare"), arXiv:2601.08763. No code is released.

    Differs from the paper:
        ``alpha`` is ours: the paper's value was not found.
        Classes are those of the signal ``partition``; a language model groups strategies there.

    >>> import torch
    >>> uniqueness(torch.tensor([1.0, 1.0, -2.0]), partition=torch.tensor([0, 0, 1]), alpha=1.0)
    tensor([ 0.5000,  0.5000, -2.0000])
    """
    class_size = (partition.unsqueeze(-1) == partition.unsqueeze(-2)).sum(dim=-1)
    return advantages * class_size.to(advantages.dtype).pow(-alpha)
