"""Length of each completion."""

from jaxtyping import Bool, Int64
from torch import Tensor


def lengths(*, mask: Bool[Tensor, "*p t"]) -> Int64[Tensor, "*p"]:
    """Count the tokens of each completion.

    Args:
        mask: True where there is a token.

    >>> import torch
    >>> lengths(mask=torch.tensor([[True, True, False]]))
    tensor([2])
    """
    return mask.sum(-1)
