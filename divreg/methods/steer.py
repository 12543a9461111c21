"""STEER: damp the tokens that would change the policy's entropy most."""

import math

import torch
from jaxtyping import Bool, Float
from torch import Tensor

# Below this largest change of entropy the exponential form stays gentle (released code).
_LEAST_SCALE = 0.02


def steer(
    token_weights: Float[Tensor, "b t"],
    *,
    advantages: Float[Tensor, "b t"],
    logprob: Float[Tensor, "b t"],
    old_logprob: Float[Tensor, "b t"],
    entropy: Float[Tensor, "b t"],
    mask: Bool[Tensor, "b t"],
    w_min: float = 0.8,
    w_max: float = 1.2,
) -> Float[Tensor, "b t"]:
    r"""Weigh tokens from ``w_max`` down to ``w_min`` as their step would move the entropy more.

    .. math::
        \Omega = A\,\frac{\pi}{\pi_{old}}\,(1 - \pi)(\ln \pi + H), \qquad
        w = w_{max} - (w_{max} - w_{min})\,
            \frac{|\Omega| - \min |\Omega|}{\max |\Omega| - \min |\Omega|}

    :math:`-\Omega` is, to first order, the change of entropy at that token; changes of either sign
    are damped. Where all are equal, as in a batch without advantages, every weight is halfway. One
    outlier sets the maximum and leaves all other tokens near ``w_max``: mean weights above 1 act
    like a higher learning rate. Minimum and maximum are over all valid tokens of the rows handed
    over: the micro-batches of all processes.

    Args:
        token_weights: Weight of each token in the policy loss, dimensionless, >= 0.
        advantages: Advantage of each token, dimensionless.
        logprob: Log-probability of each token under the current policy, nats.
        old_logprob: The same under the policy that sampled it, nats.
        entropy: Entropy of the next-token distribution, nats.
        mask: True where there is a token; the others keep their weight.
        w_min: Weight of the token that moves entropy most, >= 0; ``w_min = w_max = 1`` is off.
        w_max: Weight of the token that moves entropy least.

    Returns:
        Weights, dimensionless.

    Raises:
        ValueError: If not ``0 <= w_min <= w_max``: a negative weight would reverse the clipping.

    Source:
        STEER, arXiv:2510.10150; released code, commit b31df71, ``run_linear.sh``.

    Differs from the paper:
        :math:`\Omega` is the released code's; the paper's last version and a port have
        :math:`\pi(1 - \pi)` in place of :math:`1 - \pi`.
    Differs from the released code:
        The entropy is the current policy's; theirs is stored with the old log-probabilities.
        The loss has TRL's clipping; theirs adds a dual clip at 10.

    >>> words = {"advantages": torch.tensor([[1.0, 0.0]]), "entropy": torch.ones(1, 2)}
    >>> same = torch.tensor([[0.2, 0.2]]).log()
    >>> valid = torch.ones(1, 2, dtype=torch.bool)
    >>> steer(torch.ones(1, 2), **words, logprob=same, old_logprob=same, mask=valid)
    tensor([[0.8000, 1.2000]])
    """
    change = _entropy_change(advantages, logprob, old_logprob, entropy)
    return token_weights * _linear("steer", change, mask, w_min, w_max).to(token_weights.dtype)


def steer_exp(
    token_weights: Float[Tensor, "b t"],
    *,
    advantages: Float[Tensor, "b t"],
    logprob: Float[Tensor, "b t"],
    old_logprob: Float[Tensor, "b t"],
    entropy: Float[Tensor, "b t"],
    mask: Bool[Tensor, "b t"],
    w_min: float = 0.8,
) -> Float[Tensor, "b t"]:
    r"""Weigh tokens from 1 down to ``w_min``, exponentially in how their step moves the entropy.

    .. math:: w = \exp\!\Bigl(\ln(w_{min})\,\frac{|\Omega|}{\max(\max |\Omega|, 0.02)}\Bigr)

    with :math:`\Omega` as in :func:`steer`. No weight exceeds 1, so the learning rate stays what it
    was; a batch without advantages is left alone. The maximum is over all valid tokens of the rows
    handed over: the micro-batches of all processes.

    Args:
        token_weights: Weight of each token in the policy loss, dimensionless, >= 0.
        advantages: Advantage of each token, dimensionless.
        logprob: Log-probability of each token under the current policy, nats.
        old_logprob: The same under the policy that sampled it, nats.
        entropy: Entropy of the next-token distribution, nats.
        mask: True where there is a token; the others keep their weight.
        w_min: Weight of the token that moves entropy most, in (0, 1]; 1 is off.

    Returns:
        Weights, dimensionless.

    Raises:
        ValueError: If ``w_min`` is not in (0, 1].

    Source:
        STEER, arXiv:2510.10150; released code, commit b31df71, ``run_exp.sh``.

    Differs from the paper:
        As :func:`steer`.
    Differs from the released code:
        As :func:`steer`.

    >>> words = {"advantages": torch.tensor([[1.0, 0.0]]), "entropy": torch.ones(1, 2)}
    >>> same = torch.tensor([[0.2, 0.2]]).log()
    >>> valid = torch.ones(1, 2, dtype=torch.bool)
    >>> steer_exp(torch.ones(1, 2), **words, logprob=same, old_logprob=same, mask=valid)
    tensor([[0.8000, 1.0000]])
    """
    if not 0 < w_min <= 1:
        raise ValueError(f"steer_exp needs w_min in (0, 1]; got {w_min}. Use w_min=0.8.")
    change = _entropy_change(advantages, logprob, old_logprob, entropy)
    most = change.masked_fill(~mask, 0).amax().clamp(min=_LEAST_SCALE)
    weights = (math.log(w_min) * change / most).exp().clamp(w_min, 1)
    return token_weights * weights.masked_fill(~mask, 1).to(token_weights.dtype)


def steer_exact(
    token_weights: Float[Tensor, "b t"],
    *,
    entropy_change: Float[Tensor, "b t"],
    mask: Bool[Tensor, "b t"],
    w_min: float = 0.8,
    w_max: float = 1.2,
) -> Float[Tensor, "b t"]:
    r"""Weigh tokens as ``steer`` does, by the change of entropy that is exact to first order.

    .. math::
        w = w_{max} - (w_{max} - w_{min})\,
            \frac{|\Delta H| - \min |\Delta H|}{\max |\Delta H| - \min |\Delta H|}, \qquad
        \Delta H = -A\,\frac{\pi}{\pi_{old}}\,
            \Bigl[\pi (\ln \pi + H) - \sum_v p_v^2 (\ln p_v + H)\Bigr]

    STEER's own estimate leaves the sum out, and a factor of the probability; what it takes for the
    tokens that move entropy most are often others. The sum needs every token's probability: set
    ``head: divreg``.

    Args:
        token_weights: Weight of each token in the policy loss, dimensionless, >= 0.
        entropy_change: Change of entropy that each token's own step makes, nats per unit step.
        mask: True where there is a token; the others keep their weight.
        w_min: Weight of the token that moves entropy most, >= 0; ``w_min = w_max = 1`` is off.
        w_max: Weight of the token that moves entropy least.

    Returns:
        Weights, dimensionless.

    Raises:
        ValueError: If not ``0 <= w_min <= w_max``: a negative weight would reverse the clipping.

    Source:
        STEER, arXiv:2510.10150, with the exact change in place of its estimate, which is ours.

    >>> change = torch.tensor([[0.2, -0.1, 0.0]])
    >>> steer_exact(torch.ones(1, 3), entropy_change=change, mask=change < 1)
    tensor([[0.8000, 1.0000, 1.2000]])
    """
    change = entropy_change.abs().nan_to_num(0, 0, 0)
    weights = _linear("steer_exact", change, mask, w_min, w_max)
    return token_weights * weights.to(token_weights.dtype)


def _linear(
    name: str, change: Float[Tensor, "b t"], mask: Bool[Tensor, "b t"], w_min: float, w_max: float
) -> Float[Tensor, "b t"]:
    """Return weights from ``w_max`` for the least change down to ``w_min``; 1 without a token."""
    if not 0 <= w_min <= w_max:
        raise ValueError(
            f"{name} needs 0 <= w_min <= w_max; got w_min={w_min}, w_max={w_max}. "
            f"Use w_min=0.8, w_max=1.2."
        )
    least = change.masked_fill(~mask, math.inf).amin() if mask.any() else change.new_zeros(())
    spread = change.masked_fill(~mask, 0).amax() - least
    position = torch.where(spread > 0, (change - least) / spread, 0.5)
    return (w_max - (w_max - w_min) * position).masked_fill(~mask, 1)


def _entropy_change(
    advantages: Float[Tensor, "b t"],
    logprob: Float[Tensor, "b t"],
    old_logprob: Float[Tensor, "b t"],
    entropy: Float[Tensor, "b t"],
) -> Float[Tensor, "b t"]:
    """First-order size of the change of entropy that a token's step would make, >= 0."""
    # Half precision has too few digits left for 1 - pi.
    at_least = torch.promote_types(logprob.dtype, torch.float32)
    p = logprob.to(at_least).exp().clamp(1e-8, 1 - 1e-8)
    old = old_logprob.to(at_least).exp().clamp(1e-8, 1)
    omega = advantages / old * p * (1 - p) * (p.log() + entropy)
    return omega.abs().nan_to_num(0, 0, 0)
