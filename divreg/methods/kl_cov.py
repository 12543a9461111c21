"""KL-Cov: the tokens that drive entropy down most are held where they were."""

import math

from jaxtyping import Bool, Float
from torch import Tensor

from divreg.methods.clip_cov import _covariance


def kl_cov(
    loss: Float[Tensor, ""],
    *,
    advantages: Float[Tensor, "b t"],
    logprob: Float[Tensor, "b t"],
    logratio: Float[Tensor, "b t"],
    mask: Bool[Tensor, "b t"],
    share: float = 0.002,
    strength: float = 1.0,
) -> Float[Tensor, ""]:
    r"""Add to the loss how far the tokens of largest covariance have moved since sampling.

    .. math:: L' = L + \frac{\text{strength}}{|M|} \sum_{t \in \text{top}} |\ln \rho_t|

    where top holds the ``share`` of tokens, at least one, whose advantage and log-probability go
    together most (see :func:`clip_cov`). On data that the current policy sampled itself nothing has
    moved, the term and its gradient are 0, and the method is refused: it needs several updates per
    generation. The paper has no clipping beside it; TRL's stays, and a large ``epsilon`` lifts it.

    Args:
        loss: Loss of this process's micro-batch, before division by gradient accumulation.
        advantages: Advantage of each token, dimensionless.
        logprob: Log-probability of each token under the current policy, nats.
        logratio: Log of the importance ratio of each token, nats, with gradient.
        mask: True where there is a token.
        share: Share of the valid tokens to hold, rounded down, but one token at least. The paper's
            0.002 is for a model of 7 B, 0.0002 for 32 B.
        strength: Loss per nat that a token has moved; 0 is off.

    Returns:
        Loss, in the unit of ``loss``.

    Source:
        Cui et al., The Entropy Mechanism, arXiv:2505.22617; released code, commit 8850579.

    Differs from the paper:
        TRL's clipped loss takes the place of the unclipped one; tokens of equal covariance at the
        edge are all held.

    >>> import torch
    >>> words = {"advantages": torch.tensor([[1.0, -1.0]]), "logprob": torch.tensor([[0.0, -1.0]])}
    >>> here = torch.ones(1, 2, dtype=torch.bool)
    >>> moved = torch.tensor([[0.5, -0.5]])
    >>> kl_cov(torch.tensor(1.0), **words, logratio=moved, mask=here, share=1.0)
    tensor(1.5000)
    """
    tokens = int(mask.sum())
    if tokens == 0:
        return loss.clone()
    covariance = _covariance(advantages, logprob, mask).masked_fill(~mask, -math.inf)
    count = min(tokens, max(1, int(share * tokens)))
    least = covariance.flatten().topk(count).values[-1]
    held = logratio.abs().masked_fill(covariance < least, 0).masked_fill(~mask, 0)
    return loss + strength * (held.sum() / tokens).to(loss.dtype)
