"""Cosine similarity of every pair of completions in a group."""

from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import normalize


def similarity(*, embedding: Float[Tensor, "*p g d"]) -> Float[Tensor, "*p g g"]:
    """Cosine similarity of every pair of completions in a group.

    Range [-1, 1], dimensionless; the diagonal is 1. A zero vector is similar to nothing (0).

    Args:
        embedding: One vector per completion, any length.

    >>> import torch
    >>> similarity(embedding=torch.tensor([[2.0, 0.0], [0.0, 1.0]]))
    tensor([[1., 0.],
            [0., 1.]])
    """
    unit = normalize(embedding, dim=-1)
    return (unit @ unit.mT).clamp(-1, 1)
