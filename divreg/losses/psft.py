"""PSFT: stop learning a token once it has become enough more likely."""

from jaxtyping import Float
from torch import Tensor


def psft(
    loss: Float[Tensor, ""],
    *,
    logprob: Float[Tensor, "b t"],
    old_logprob: Float[Tensor, "b t"],
    token_share: Float[Tensor, "b t"],
    high: float = 1.28,
) -> Float[Tensor, ""]:
    r"""Put in place of the cross-entropy PPO's clipped objective with an advantage of 1.

    .. math:: L = -\min(r, h), \qquad r = p_y / p_y^{old}

    A token has no gradient once it is ``high`` times as likely as it was under the old policy.
    PPO's lower bound never binds where the advantage is positive. The loss is -1 where the old
    policy is the current one: after every refresh, and on the first step.

    Args:
        loss: Replaced; its dtype is kept.
        logprob: Log-probability of each token, nats, with gradient.
        old_logprob: The same under the old policy, nats.
        token_share: What each token counts in the loss, 0 where there is none.
        high: Ratio beyond which a token is left alone, > 1.

    Returns:
        Loss, dimensionless.

    Raises:
        ValueError: If ``high`` is not above 1.

    Source:
        PSFT, Proximal Supervised Fine-Tuning, arXiv:2508.17784; released code, commit 569b1ba.

    >>> import torch
    >>> words = {"old_logprob": torch.zeros(1, 2) - 2, "token_share": torch.tensor([[0.5, 0.5]])}
    >>> psft(torch.tensor(0.0), logprob=torch.tensor([[-2.0, -1.0]]), **words)
    tensor(-1.1400)
    """
    if not high > 1:
        raise ValueError(f"psft needs high > 1; got {high}. Use high=1.28.")
    ratio = (logprob - old_logprob).exp().clamp(max=high)
    return -(ratio * token_share).sum().to(loss.dtype)
