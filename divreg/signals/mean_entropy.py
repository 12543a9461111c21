"""How undecided the policy was on average over the tokens of each completion."""

from jaxtyping import Bool, Float
from torch import Tensor


def mean_entropy(
    *, entropy: Float[Tensor, "*p t"], mask: Bool[Tensor, "*p t"]
) -> Float[Tensor, "*p"]:
    """Mean entropy of the next-token distributions of a completion.

    Range [0, ln of the vocabulary's size], nats; 0 for an empty completion.

    Args:
        entropy: Entropy of the next-token distribution, nats.
        mask: True where there is a token.

    >>> import torch
    >>> mean_entropy(entropy=torch.tensor([1.0, 2.0, 9.0]), mask=torch.tensor([True, True, False]))
    tensor(1.5000)
    """
    return entropy.masked_fill(~mask, 0).sum(-1) / mask.sum(-1).clamp(min=1)
