"""DRA-GRPO: divide each reward by how similar its completion is to the whole group."""

import torch
from jaxtyping import Float
from torch import Tensor


def dra(
    rewards: Float[Tensor, "*p g"], *, similarity: Float[Tensor, "*p g g"]
) -> Float[Tensor, "*p g"]:
    r"""Divide each reward by one plus the similarities to the other completions of its group.

    .. math:: r'_i = \frac{r_i}{1 + \sum_{j \ne i} \max(S_{ij}, 0)}

    Alone in its meaning a completion keeps its reward, one of n copies keeps 1/n of it. Rewards
    should be non-negative: dividing a penalty rewards redundancy. An all-correct group is ordered
    by novelty alone, at full strength unless ``scale_rewards="none"``.

    Args:
        rewards: Reward of each completion, any unit, >= 0.
        similarity: Cosine similarity of each pair, in [-1, 1].

    Returns:
        Rewards, in the unit of ``rewards``.

    Source:
        Chen et al., DRA-GRPO, arXiv:2505.09655; released code, commit 0882661.

    Differs from the paper:
        Negative similarities count as 0: their sum could otherwise come near -1.
    Differs from the released code:
        Similarities are those within the group; theirs are over a process's whole batch.

    >>> alike = torch.tensor([[1.0, 1.0, 0.0], [1.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
    >>> dra(torch.ones(3), similarity=alike)
    tensor([0.5000, 0.5000, 1.0000])
    """
    own = torch.eye(rewards.shape[-1], dtype=torch.bool, device=similarity.device)
    crowd = 1 + similarity.clamp(min=0).masked_fill(own, 0).sum(dim=-1)
    return rewards / crowd.to(rewards.dtype)
