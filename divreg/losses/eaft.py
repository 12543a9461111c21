"""EAFT: learn less where the model is sure of itself, so that it forgets less."""

from collections.abc import Callable

from jaxtyping import Float
from torch import Tensor


def eaft(
    token_weights: Float[Tensor, "b t"],
    *,
    top: Callable[[int], tuple[Tensor, Tensor]],
    k: int = 20,
    scale: float = 3.0,
    power: float = 1.0,
) -> Float[Tensor, "b t"]:
    r"""Weigh tokens by the entropy of the likeliest ones.

    .. math:: w = (H_{top-k} / s)^a, \qquad
        H_{top-k} = \text{entropy of the } k \text{ likeliest tokens, renormalised}

    A target that the model is sure is wrong (low entropy, high cross-entropy) gets a small weight:
    such tokens are what makes a model forget. The mean weight is below 1, which acts like a lower
    learning rate.

    Args:
        token_weights: Weight of each token in the loss, dimensionless, >= 0.
        top: Probability that the likeliest tokens hold together, and their entropy, nats.
        k: Tokens among which the entropy is taken, >= 1.
        scale: Entropy of weight 1, nats; the paper's 3.0 is near the most that 20 tokens can have.
        power: Of the weight; 0 is off.

    Returns:
        Weights, dimensionless.

    Source:
        EAFT, arXiv:2601.02151; in LLaMA-Factory, commit ff6d4d1.

    >>> import torch
    >>> even = (torch.tensor([[1.0, 1.0]]), torch.tensor([[1.5, 3.0]]))
    >>> eaft(torch.ones(1, 2), top=lambda k: even)
    tensor([[0.5000, 1.0000]])
    """
    _, entropy = top(k)
    return token_weights * (entropy.clamp(min=0) / scale).pow(power).to(token_weights.dtype)
