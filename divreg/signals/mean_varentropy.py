"""How unequal the surprise of a completion's possible tokens was, on average."""

from jaxtyping import Bool, Float
from torch import Tensor

from divreg.signals.mean_entropy import mean_entropy


def mean_varentropy(
    *, varentropy: Float[Tensor, "*p t"], mask: Bool[Tensor, "*p t"]
) -> Float[Tensor, "*p"]:
    """Mean varentropy of the next-token distributions of a completion.

    Squared nats, from 0: a policy that is sure has none, nor has one that knows nothing; it is
    large where a few likely tokens stand before many unlikely ones. 0 for an empty completion.

    Args:
        varentropy: Variance of log p under p, squared nats.
        mask: True where there is a token.

    >>> import torch
    >>> mean_varentropy(varentropy=torch.tensor([1.0, 2.0]), mask=torch.tensor([True, True]))
    tensor(1.5000)
    """
    return mean_entropy(entropy=varentropy, mask=mask)
