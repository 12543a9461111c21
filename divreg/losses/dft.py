"""DFT: learn more from what the model already believes; for contrast, it narrows."""

from jaxtyping import Float
from torch import Tensor


def dft(
    token_weights: Float[Tensor, "b t"], *, logprob: Float[Tensor, "b t"]
) -> Float[Tensor, "b t"]:
    r"""Weigh tokens by the probability that the model gives them.

    .. math:: w = p_y

    without gradient: unlikely targets are hardly learned. It seeks modes, so expect less diversity:
    it is here to be compared with. Alone it is TRL's ``loss_type="dft"``.

    Args:
        token_weights: Weight of each token in the loss, dimensionless, >= 0.
        logprob: Log-probability of each token, nats.

    Returns:
        Weights, dimensionless.

    Source:
        Wu et al., On the Generalization of SFT, arXiv:2508.05629.

    >>> import torch
    >>> dft(torch.ones(1, 2), logprob=torch.tensor([[0.5, 0.25]]).log())
    tensor([[0.5000, 0.2500]])
    """
    return token_weights * logprob.exp().to(token_weights.dtype)
