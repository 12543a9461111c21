"""SED: keep the targets of open positions near even odds."""

from collections.abc import Callable

from jaxtyping import Float
from torch import Tensor


def sed(
    loss: Float[Tensor, ""],
    *,
    logprob: Float[Tensor, "b t"],
    top: Callable[[int], tuple[Tensor, Tensor]],
    token_share: Float[Tensor, "b t"],
    strength: float = 1.0,
    k: int = 10,
    tau: float = 0.9,
) -> Float[Tensor, ""]:
    r"""Pull the target's probability towards a half where many tokens could stand.

    .. math:: L' = L + \lambda\,[\textstyle\sum_{top-k} p_j < \tau]\,(p_y - \tfrac12)^2

    A position is open where its likeliest tokens hold less than ``tau`` together. There a target
    above one half is held down, and one below is lifted.

    Args:
        loss: The cross-entropy, or what stands in its place.
        logprob: Log-probability of each token, nats, with gradient.
        top: Probability that the likeliest tokens hold together, in [0, 1], and their entropy.
        token_share: What each token counts in the loss, 0 where there is none.
        strength: Loss per squared distance from one half; 0 is off.
        k: Tokens that are added up, >= 1.
        tau: Mass below which a position is open, in [0, 1].

    Returns:
        Loss, in the unit of ``loss``.

    Source:
        SED-SFT, arXiv:2602.07464; released code, commit 6a89ea3, ``utils/sed_triton_loss.py``.

    Differs from the released code:
        ``tau`` is given; theirs is a quantile (ratio 0.3 by default) of the top-10 mass of 100
        validation samples, and the loss falls back to ``k=2`` where no k is set.

    >>> import torch
    >>> words = {"logprob": torch.tensor([[0.9]]).log(), "token_share": torch.ones(1, 1)}
    >>> narrow = (torch.tensor([[0.5]]), torch.tensor([[1.0]]))
    >>> sed(torch.tensor(1.0), top=lambda k: narrow, **words)
    tensor(1.1600)
    """
    mass, _ = top(k)
    distance = (logprob.exp() - 0.5).square()
    return loss + strength * (distance * (mass < tau) * token_share).sum().to(loss.dtype)
