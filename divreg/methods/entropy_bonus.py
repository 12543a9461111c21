"""Entropy bonus: reward the policy for staying undecided, token by token."""

from jaxtyping import Bool, Float
from torch import Tensor


def entropy_bonus(
    loss: Float[Tensor, ""],
    *,
    entropy: Float[Tensor, "b t"],
    mask: Bool[Tensor, "b t"],
    strength: float = 0.01,
) -> Float[Tensor, ""]:
    r"""Subtract the mean entropy of the tokens, so that higher entropy lowers the loss.

    .. math:: L' = L - \text{strength} \cdot \frac{1}{|M|} \sum_{t \in M} H_t

    It keeps tokens undecided, which is not the same as answers different; too much of it explodes.
    For RLOO. ``GRPOTrainer`` has its own, ``entropy_coef``: use that one there.

    Args:
        loss: Loss of this process's micro-batch, before division by gradient accumulation.
        entropy: Entropy of the next-token distribution, nats, with gradient.
        mask: True where there is a token.
        strength: Loss per nat of mean entropy; 0 is off.

    Returns:
        Loss, in the unit of ``loss``.

    Source:
        Williams and Peng, 1991; in the form of Mnih et al., arXiv:1602.01783, section 4.

    >>> import torch
    >>> entropy = torch.tensor([[1.0, 3.0, 9.0]])
    >>> mask = torch.tensor([[True, True, False]])
    >>> entropy_bonus(torch.tensor(5.0), entropy=entropy, mask=mask, strength=0.5)
    tensor(4.)
    """
    mean_entropy = entropy.masked_fill(~mask, 0).sum() / mask.sum().clamp(min=1)
    return loss - strength * mean_entropy.to(loss.dtype)
