"""Unlikeliness reward: the more likely a completion was in its group, the less it earns."""

from jaxtyping import Bool, Float
from torch import Tensor


def unlikeliness(
    rewards: Float[Tensor, "*p g"],
    *,
    logprob: Float[Tensor, "*p g t"],
    mask: Bool[Tensor, "*p g t"],
    correct: Bool[Tensor, "*p g"],
    beta: float = 0.25,
    first: float = 0.0,
) -> Float[Tensor, "*p g"]:
    r"""Take from each reward a share that grows with the rank of the completion's likelihood.

    .. math:: r'_i = r_i \Bigl(1 - \beta\,\frac{\text{rank}_i + \text{first}}{g}\Bigr)

    with :math:`\text{rank}_i` = 0 for the least likely completion of the group and g - 1 for the
    most likely, by mean log-probability per token; equal ones share the mean of their ranks. Wrong
    completions are ranked too. Groups that are all correct or all wrong are left alone. Rewards
    should be non-negative: a factor below 1 shrinks a penalty.

    Args:
        rewards: Reward of each completion, any unit, >= 0.
        logprob: Log-probability of each completion token under the sampling policy, nats.
        mask: True where a completion has a token.
        correct: Whether each completion is correct.
        beta: Share that the most likely loses, about, in [0, 1]; 0 is off.
        first: Rank of the least likely: 0 as in the released code, 1 as in the paper.

    Returns:
        Rewards, in the unit of ``rewards``.

    Source:
        He et al., Rewarding the Unlikely, arXiv:2506.02355; released code, commit ca1cff0.

    Differs from the paper:
        The least likely loses nothing, as in the released code; ``first=1`` is the paper's.
    Differs from the released code:
        Equal likelihoods share a rank; theirs are ordered by the sort.

    >>> import torch
    >>> lp, one = torch.tensor([[-0.2], [-0.8], [-0.5]]), torch.ones(3, 1, dtype=torch.bool)
    >>> right = torch.tensor([True, True, False])
    >>> unlikeliness(torch.tensor([1.0, 1.0, 0.0]), logprob=lp, mask=one, correct=right, beta=0.3)
    tensor([0.8000, 1.0000, 0.0000])
    """
    tokens = mask.sum(dim=-1).clamp(min=1)
    mean = logprob.masked_fill(~mask, 0).sum(dim=-1) / tokens
    mine, other = mean.unsqueeze(-1), mean.unsqueeze(-2)
    less, equal = (other < mine).sum(dim=-1), (other == mine).sum(dim=-1)
    rank = less + (equal - 1) / 2
    factor = 1 - beta * (rank + first) / rewards.shape[-1]
    differ = correct.any(dim=-1, keepdim=True) & ~correct.all(dim=-1, keepdim=True)
    return rewards * factor.masked_fill(~differ, 1).to(rewards.dtype)
