"""Typical probability that the policy gave to a token of each completion."""

from jaxtyping import Bool, Float
from torch import Tensor


def confidence(
    *, logprob: Float[Tensor, "*p t"], mask: Bool[Tensor, "*p t"]
) -> Float[Tensor, "*p"]:
    """Geometric mean of the probabilities of a completion's tokens: exp of the mean log-prob.

    Range (0, 1], dimensionless: the inverse of the perplexity; 1 for an empty completion.

    Args:
        logprob: Log-probability of each token, nats.
        mask: True where there is a token.

    >>> import torch
    >>> confidence(logprob=torch.tensor([-1.0, -3.0]), mask=torch.tensor([True, True]))
    tensor(0.1353)
    """
    total = logprob.masked_fill(~mask, 0).sum(-1)
    return (total / mask.sum(-1).clamp(min=1)).exp()
