"""Focal loss: learn less from the tokens that the model already predicts."""

from jaxtyping import Float
from torch import Tensor


def focal(
    loss: Float[Tensor, ""],
    *,
    logprob: Float[Tensor, "b t"],
    token_share: Float[Tensor, "b t"],
    gamma: float = 3.0,
) -> Float[Tensor, ""]:
    r"""Put in place of the cross-entropy one that fades as a token becomes likely.

    .. math:: L = -(1 - p_y)^\gamma \ln p_y

    with gradient through the factor. A token at probability 0.9 counts a thousandth of one at 0.

    Args:
        loss: Replaced; its dtype is kept.
        logprob: Log-probability of each token, nats, with gradient.
        token_share: What each token counts in the loss, 0 where there is none.
        gamma: How fast likely tokens fade, >= 0; 0 is the cross-entropy.

    Returns:
        Loss, nats.

    Raises:
        ValueError: If ``gamma`` is below 0.

    Source:
        Lin et al., Focal Loss for Dense Object Detection, arXiv:1708.02002, Eq. 4; for SFT in the
        code of TOFU, arXiv:2605.00195.

    >>> import torch
    >>> half = torch.tensor([[0.5]]).log()
    >>> focal(torch.tensor(0.0), logprob=half, token_share=torch.ones(1, 1), gamma=1.0)
    tensor(0.3466)
    """
    if gamma < 0:
        raise ValueError(f"focal needs gamma >= 0; got {gamma}. Use gamma=3.0.")
    doubt = (-logprob.expm1()).clamp(min=1e-12)  # 1 - p, whose slope is infinite at 0 for gamma < 1
    return (-(doubt**gamma) * logprob * token_share).sum().to(loss.dtype)
