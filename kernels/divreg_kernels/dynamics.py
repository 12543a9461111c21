"""How a policy-gradient step moves the entropy at a token, to first order, without another pass."""

from torch import Tensor

from divreg_kernels.stats import TokenStats


def entropy_change(stats: TokenStats, advantages: Tensor, old_logp: Tensor | None = None) -> Tensor:
    r"""Return the change of entropy that each token's own gradient step makes, nats per unit step.

    .. math::
        \Delta H = -A\,\frac{\pi}{\pi_{old}}\,
            \bigl[p_y (\ln p_y + H) - (\textstyle\sum p^2 \ln p + H \sum p^2)\bigr]

    exact to first order in the token's own logits; that tokens share weights is left out, as in
    every estimate of this kind.

    Args:
        stats: With ``logp``, ``entropy``, ``log_sum_p2`` and ``sum_p2_logp``, ``(...)`` each.
        advantages: ``(...)``, or what broadcasts to it; dimensionless.
        old_logp: ``(...)``, under the policy that sampled, nats; None means the current one.

    Raises:
        ValueError: If a statistic is missing.

    Source:
        STEER, arXiv:2510.10150, and Cui et al., arXiv:2505.22617, estimate it without the sums.
    """
    logp, entropy = stats.logp, stats.entropy
    collision, sum_p2_logp = stats.log_sum_p2, stats.sum_p2_logp
    if logp is None or entropy is None or collision is None or sum_p2_logp is None:
        raise ValueError(
            f"entropy_change needs logp, entropy, log_sum_p2 and sum_p2_logp; got "
            f"{', '.join(name for name, _ in stats.items())}. Add them to stats."
        )
    ratio = 1.0 if old_logp is None else (logp - old_logp).exp()
    own = logp.exp() * (logp + entropy)
    return -advantages * ratio * (own - (sum_p2_logp + entropy * collision.exp()))
