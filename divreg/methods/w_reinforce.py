"""W-REINFORCE: push away from what is wrong, and only a little towards what is right."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor


def w_reinforce(
    advantages: Float[Tensor, "*p g"],
    *,
    correct: Bool[Tensor, "*p g"],
    positive: float = 0.1,
) -> Float[Tensor, "*p g"]:
    r"""Put a small positive constant in place of advantages of right completions, -1 of wrong ones.

    .. math:: \tilde A_i = \begin{cases} \lambda & \text{correct} \\ -1 & \text{wrong}\end{cases}

    Pushing away from a wrong answer hands its probability to all others, as the model ranks them;
    pushing towards a right one takes from all others. There is no baseline: advantages do not have
    mean zero, a group of wrong completions trains at full strength and one of right completions at
    ``positive``. At 0 only wrong completions train (NSR), at 1 it is REINFORCE on rewards of ±1.

    Args:
        advantages: Replaced; their shape and dtype are kept.
        correct: Whether each completion is correct.
        positive: Advantage of right completions, the paper's lambda, in [0, 1].

    Returns:
        Advantages, dimensionless.

    Source:
        Zhu et al., The Surprising Effectiveness of Negative Reinforcement, arXiv:2506.01347;
        released code, commit a5d4e7c.

    Differs from the released code:
        NSR there drops the right completions from the batch; here they stay, at 0, and count where
        the loss divides by tokens or completions.

    >>> w_reinforce(torch.zeros(3), correct=torch.tensor([True, False, False]))
    tensor([ 0.1000, -1.0000, -1.0000])
    """
    right = advantages.new_tensor(positive)
    return torch.where(correct, right, -torch.ones_like(advantages))
