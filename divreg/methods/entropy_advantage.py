"""Entropy-based advantage shaping: tokens at which the policy hesitated gain advantage."""

from jaxtyping import Bool, Float
from torch import Tensor


def entropy_advantage(
    token_weights: Float[Tensor, "b t"],
    *,
    advantages: Float[Tensor, "b t"],
    entropy: Float[Tensor, "b t"],
    mask: Bool[Tensor, "b t"],
    alpha: float = 0.4,
    kappa: float = 2.0,
) -> Float[Tensor, "b t"]:
    r"""Weigh tokens so that each advantage gains with the entropy at which it was chosen.

    .. math::
        \tilde A_t = A_t + \min\Bigl(\alpha H_t, \frac{|A_t|}{\kappa}\Bigr), \qquad
        w_t = \tilde A_t / A_t

    Uncertain tokens of good completions count more, those of bad ones less; no sign flips, and
    where there is no advantage nothing changes. It rewards hesitating and makes completions longer;
    it does not keep the entropy up by itself.

    Args:
        token_weights: Weight of each token in the policy loss, dimensionless, >= 0.
        advantages: Advantage of each token, dimensionless.
        entropy: Entropy of the next-token distribution under the current policy, nats.
        mask: True where there is a token; the others keep their weight.
        alpha: Advantage per nat of entropy, >= 0; 0 is off. The paper's 0.4 is for GRPO; 0.1, PPO.
        kappa: An advantage grows or shrinks by a kappa-th of itself at most; >= 1.

    Returns:
        Weights, dimensionless.

    Raises:
        ValueError: If ``alpha < 0`` or ``kappa < 1``: a weight could become negative.

    Source:
        Cheng et al., Reasoning with Exploration, arXiv:2506.14758.

    Differs from the paper:
        A factor on the advantage instead of a term beside it: the same for clipped losses.

    >>> import torch
    >>> given = {"advantages": torch.tensor([[1.0, -1.0]]), "entropy": torch.tensor([[0.5, 0.5]])}
    >>> entropy_advantage(torch.ones(1, 2), **given, mask=torch.ones(1, 2, dtype=torch.bool))
    tensor([[1.2000, 0.8000]])
    """
    if alpha < 0 or kappa < 1:
        raise ValueError(
            f"entropy_advantage needs alpha >= 0 and kappa >= 1; got alpha={alpha}, "
            f"kappa={kappa}. Use alpha=0.4, kappa=2.0."
        )
    size = advantages.abs()
    least = size.new_tensor(1e-12)
    gain = (alpha * entropy / size.maximum(least)).clamp(max=1 / kappa)
    weights = 1 + advantages.sign() * gain
    return token_weights * weights.masked_fill(~mask, 1).to(token_weights.dtype)
