"""TOFU: GEM's gradient, weighted by how unsure the model still is of the token."""

from collections.abc import Callable

from jaxtyping import Float
from torch import Tensor


def tofu(
    loss: Float[Tensor, ""],
    *,
    logprob: Float[Tensor, "b t"],
    tempered: Callable[[float], tuple[Tensor, Tensor]],
    token_share: Float[Tensor, "b t"],
    gamma: float = 3.0,
    beta: float = 0.8,
) -> Float[Tensor, ""]:
    r"""Put in place of the cross-entropy one that leaves rare and settled tokens room.

    .. math:: L = -m\,\beta \log \operatorname{softmax}(z / \beta)_y, \qquad
        m = (1 - p_y)^\gamma - \gamma\,p_y (1 - p_y)^{\gamma - 1} \ln p_y

    without gradient through :math:`m`, which is the factor of the focal loss' gradient: a little
    above 1 for tokens that the model doubts, 0 for those it is sure of. ``gamma=0, beta=1`` is the
    cross-entropy.

    Args:
        loss: Replaced; its dtype is kept.
        logprob: Log-probability of each token at temperature 1, nats; only its value is used.
        tempered: Log-probability and entropy at a temperature, nats, with gradient.
        token_share: What each token counts in the loss, 0 where there is none.
        gamma: How fast settled tokens lose their weight, >= 0; 0 weighs all alike.
        beta: Temperature of the head, > 0; 1 is the model's own.

    Returns:
        Loss, nats.

    Raises:
        ValueError: If ``gamma`` is below 0 or ``beta`` is not above 0.

    Source:
        Klypa and Cherednichenko, TOFU, arXiv:2605.00195; released code, commit 1bf062c,
        ``train/tofu_loss.py``.

    Differs from the released code:
        A token of probability 0 has weight 1; theirs is NaN.

    >>> import torch
    >>> logits = torch.tensor([[2.0, 1.0, 0.0, -1.0]])
    >>> def tempered(t):
    ...     l = (logits / t).log_softmax(-1)
    ...     return l[:, 1:2], -(l.exp() * l).sum(-1, keepdim=True)
    >>> words = {"logprob": tempered(1.0)[0], "token_share": torch.ones(1, 1)}
    >>> tofu(torch.tensor(0.0), tempered=tempered, **words)
    tensor(1.3158)
    """
    if gamma < 0 or not beta > 0:
        raise ValueError(
            f"tofu needs gamma >= 0 and beta > 0; got gamma={gamma}, beta={beta}. "
            f"Use gamma=3.0, beta=0.8."
        )
    known = logprob.detach()
    doubt = (-known.expm1()).clamp(min=1e-12)  # 1 - p, which gamma < 1 divides by
    weight = doubt**gamma - gamma * known.exp() * doubt ** (gamma - 1) * known
    return (-weight * beta * tempered(beta)[0] * token_share).sum().to(loss.dtype)
