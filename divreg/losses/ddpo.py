"""DDPO: the more a chosen answer deviates from its siblings, the more its pair counts."""

from jaxtyping import Float
from torch import Tensor


def ddpo(
    token_weights: Float[Tensor, "b t"], *, pair_weight: Float[Tensor, " b"]
) -> Float[Tensor, "b t"]:
    r"""Weigh every preference pair by how much its chosen answer deviates from its siblings.

    .. math:: L = w\,L_{\mathrm{DPO}}, \qquad w = 1 + \delta_{\mathrm{chosen}}

    The weights are a column of the data set, as ``divreg pairs`` writes it: of mean 1 over the
    answers to a prompt, and 0 for the least deviant one. Any loss that is a mean over pairs is
    weighted, whatever its formula.

    Args:
        token_weights: What the rows of each pair count so far, >= 0.
        pair_weight: Weight of the pair that a row belongs to, >= 0; both of its rows have it.

    Returns:
        Weights, the same along each row.

    Source:
        Chung et al., Modifying Large Language Model Post-Training for Diverse Creative Writing,
        arXiv:2503.17126, DDPO.

    >>> import torch
    >>> ddpo(torch.ones(2, 3), pair_weight=torch.tensor([2.0, 2.0]))
    tensor([[2., 2., 2.],
            [2., 2., 2.]])
    """
    return token_weights * pair_weight.to(token_weights.dtype)[:, None]
