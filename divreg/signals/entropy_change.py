"""What the policy-gradient step of each token does to the entropy there."""

from jaxtyping import Float
from torch import Tensor


def entropy_change(
    *,
    advantages: Float[Tensor, "..."],
    logprob: Float[Tensor, "*p t"],
    old_logprob: Float[Tensor, "*p t"],
    entropy: Float[Tensor, "*p t"],
    log_sum_p2: Float[Tensor, "*p t"],
    sum_p2_logp: Float[Tensor, "*p t"],
) -> Float[Tensor, "*p t"]:
    """Change of entropy that a token's own gradient step makes, nats per unit step on its logits.

    Exact to first order; see :func:`divreg_kernels.entropy_change`. Negative: the step narrows.

    Args:
        advantages: Advantage of each token, or of each completion ``(*p)``, dimensionless.
        logprob: Log-probability of each token under the current policy, nats.
        old_logprob: The same under the policy that sampled it, nats.
        entropy: Entropy of the next-token distribution, nats.
        log_sum_p2: Log of the sum of p^2.
        sum_p2_logp: Sum of p^2 log p, nats.

    >>> import torch
    >>> half = torch.full((1, 1), 0.5)  # of two equal tokens one is rewarded: no change yet
    >>> given = {"logprob": half.log(), "old_logprob": half.log(), "entropy": -half.log()}
    >>> sums = {"log_sum_p2": half.log(), "sum_p2_logp": half * half.log()}
    >>> round(entropy_change(advantages=torch.ones(1, 1), **given, **sums).item(), 6) + 0.0
    0.0
    """
    from divreg_kernels import TokenStats
    from divreg_kernels import entropy_change as of

    stats = TokenStats(
        logp=logprob, entropy=entropy, log_sum_p2=log_sum_p2, sum_p2_logp=sum_p2_logp
    )
    per_token = advantages if advantages.dim() == logprob.dim() else advantages.unsqueeze(-1)
    return of(stats, per_token, old_logprob)
