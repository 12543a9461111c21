"""F-GRPO: groups that mostly succeed are trained on less."""

from jaxtyping import Bool, Float
from torch import Tensor


def f_grpo(
    advantages: Float[Tensor, "*p g"],
    *,
    correct: Bool[Tensor, "*p g"],
    gamma: float = 1.0,
) -> Float[Tensor, "*p g"]:
    r"""Scale the advantages of each group by a power of the share of it that is wrong.

    .. math:: \tilde A_i = (1 - \hat\mu)^\gamma A_i

    with :math:`\hat\mu` the share of the group that is correct. A group in which all are wrong
    keeps its advantages, one in which nearly all are right hardly trains: what is sampled there
    would grow at the cost of right answers that were not. An all-correct group is switched off,
    also where another method made its rewards differ.

    Args:
        advantages: Normalised advantage of each completion, dimensionless.
        correct: Whether each completion is correct.
        gamma: How fast solved groups fade, >= 0; 0 is off.

    Returns:
        Advantages, dimensionless.

    Raises:
        ValueError: If ``gamma`` is negative: solved groups would be trained on more.

    Source:
        Plyusov et al., F-GRPO, arXiv:2602.06717. The formula is from accounts of the paper; its
        code was not read.

    Differs from the paper:
        ``gamma`` is ours: the paper's values were not found.

    >>> import torch
    >>> f_grpo(torch.tensor([0.5, 0.5, 0.5, -1.5]), correct=torch.tensor([True, True, True, False]))
    tensor([ 0.1250,  0.1250,  0.1250, -0.3750])
    """
    if gamma < 0:
        raise ValueError(f"f_grpo needs gamma >= 0; got {gamma}. Use gamma=1.0, or 0 for off.")
    wrong = (~correct).to(advantages.dtype).mean(dim=-1, keepdim=True)
    return advantages * wrong.pow(gamma)
