"""DQO: a bonus for the volume that a completion adds to what its group says."""

import torch
from jaxtyping import Float
from torch import Tensor


def dqo(
    rewards: Float[Tensor, "*p g"],
    *,
    similarity: Float[Tensor, "*p g g"],
    alpha: float = 1.0,
) -> Float[Tensor, "*p g"]:
    r"""Add to each reward how much its completion adds to the log-determinant of its group.

    .. math:: r'_i = r_i + \alpha \ln \frac{\det(S + I)}{\det(S_{-i} + I)}

    with :math:`S` the cosine similarities and :math:`S_{-i}` those without completion i. The bonus
    lies in (0, :math:`\alpha \ln 2`]: most for what resembles nothing else. It is paid to wrong
    completions as well, and the authors report that outcome rewards are hacked with it: a right
    answer followed by random text. Watch the lengths.

    Args:
        rewards: Reward of each completion; the bonus is in their unit.
        similarity: Cosine similarity of each pair, in [-1, 1], a Gram matrix.
        alpha: Scale of the bonus; 0 is off.

    Returns:
        Rewards, in the unit of ``rewards``.

    Source:
        DQO, arXiv:2509.04784, the leave-one-out form. Its code was not read.

    Differs from the paper:
        Vectors have length 1; whether theirs do is not known, the bound they state needs it.
        The bonus is added to the rewards that GRPO normalises; theirs has its own objective.

    >>> alike = torch.tensor([[1.0, 1.0, 0.0], [1.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
    >>> dqo(torch.zeros(3), similarity=alike)
    tensor([0.4055, 0.4055, 0.6931])
    """
    wide = similarity.to(torch.promote_types(similarity.dtype, torch.float32))
    own = torch.eye(rewards.shape[-1], dtype=wide.dtype, device=wide.device)
    # det(S_-i + I) / det(S + I) is the diagonal of the inverse: one inverse for the whole group.
    without = torch.linalg.inv(wide + own).diagonal(dim1=-2, dim2=-1)
    return rewards - alpha * without.log().to(rewards.dtype)
