"""Clip-Cov: a few of the tokens that drive entropy down get no gradient."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor


def clip_cov(
    token_weights: Float[Tensor, "b t"],
    *,
    advantages: Float[Tensor, "b t"],
    logprob: Float[Tensor, "b t"],
    mask: Bool[Tensor, "b t"],
    share: float = 0.0002,
    low: float = 1.0,
    high: float = 5.0,
) -> Float[Tensor, "b t"]:
    r"""Take the gradient from a few tokens whose advantage and log-probability go together.

    .. math:: \text{cov}_t = (A_t - \bar A)(\ln \pi_t - \overline{\ln \pi})

    A token of high probability and high advantage, or of low and low, makes the policy surer; among
    those with a covariance between ``low`` and ``high``, a ``share`` of all tokens, at least one,
    is drawn and weighs 0. Means are over all valid tokens of the rows handed over: the
    micro-batches of all processes. Nothing between ``low`` and ``high``, nothing is drawn: on short
    completions with advantages of 1, a covariance above 1 is rare.

    Args:
        token_weights: Weight of each token in the policy loss, dimensionless, >= 0.
        advantages: Advantage of each token, dimensionless.
        logprob: Log-probability of each token under the current policy, nats.
        mask: True where there is a token; the others keep their weight.
        share: Share of the valid tokens to draw, rounded down, but one token at least.
        low: Least covariance of a token that can be drawn, nats.
        high: Largest covariance of a token that can be drawn, nats.

    Returns:
        Weights, dimensionless.

    Source:
        Cui et al., The Entropy Mechanism, arXiv:2505.22617; released code, commit 8850579.

    Differs from the released code:
        The draw is a hash of the token's advantage and log-probability: arbitrary, but the same for
        the same tokens. Tokens equal in both are drawn together.
        Tokens that the ratio clips can be drawn as well: they have no gradient to lose.
        It sets the clipping range to [0, 2]; in TRL that is ``epsilon=1.0``.

    >>> import torch
    >>> words = {"advantages": torch.tensor([[1.0, -1.0]]), "logprob": torch.tensor([[0.0, -3.0]])}
    >>> here = torch.ones(1, 2, dtype=torch.bool)
    >>> clip_cov(torch.ones(1, 2), **words, mask=here, share=1.0)
    tensor([[0., 0.]])
    """
    covariance = _covariance(advantages, logprob, mask)
    candidates = mask & (covariance > low) & (covariance < high)
    count = min(int(candidates.sum()), max(1, int(share * int(mask.sum()))))
    if count == 0:
        return token_weights.clone()
    lot = _lots(advantages[candidates], logprob[candidates])
    drawn = torch.zeros_like(mask)
    drawn[candidates] = (lot <= lot.kthvalue(count).values).to(mask.device)
    return token_weights.masked_fill(drawn, 0)


def _covariance(
    advantages: Float[Tensor, "b t"], logprob: Float[Tensor, "b t"], mask: Bool[Tensor, "b t"]
) -> Float[Tensor, "b t"]:
    """Return each valid token's part of the covariance of advantage and log-probability."""
    tokens = mask.sum().clamp(min=1)
    centred = [x - x.masked_fill(~mask, 0).sum() / tokens for x in (advantages, logprob.detach())]
    return (centred[0] * centred[1]).masked_fill(~mask, 0)


def _lots(advantages: Float[Tensor, "n"], logprob: Float[Tensor, "n"]) -> Float[Tensor, "n"]:
    """Return a number in [0, 1) for each token that looks random and is not.

    On the CPU, for not every device has doubles, whose rounding cannot reorder the numbers.
    """
    mixed = advantages.cpu().double() * 12.9898 + logprob.detach().cpu().double() * 78.233
    return (mixed.sin() * 43758.5453).frac().abs()
