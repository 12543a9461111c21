"""FlowRL: match the distribution that rewards and a reference make, instead of the best reward."""

from jaxtyping import Bool, Float
from torch import Tensor


def flowrl(
    loss: Float[Tensor, ""],
    *,
    advantages: Float[Tensor, "b t"],
    logprob: Float[Tensor, "b t"],
    old_logprob: Float[Tensor, "b t"],
    ref_logprob: Float[Tensor, "b t"],
    log_z: Float[Tensor, "b"],
    mask: Bool[Tensor, "b t"],
    beta: float = 15.0,
    clip: float = 0.2,
) -> Float[Tensor, ""]:
    r"""Put in place of the loss how far completions are from probability in proportion to reward.

    .. math::
        L' = \frac1b \sum_i w_i \Bigl(\ln Z + \frac{\ln \pi(o_i)}{|o_i|} - \beta A_i
            - \frac{\ln \pi_{ref}(o_i)}{|o_i|}\Bigr)^2, \qquad
        w_i = \operatorname{clip}_{1 - \epsilon}^{1 + \epsilon} \frac{\pi(o_i)}{\pi_{old}(o_i)}

    without gradient through :math:`w` and :math:`Z`. At its minimum the policy is the reference
    times :math:`e^{\beta A}`, per token: completions of equal reward stay as likely, to each other,
    as they were. The trainer's own loss is replaced, with its clipping and its KL penalty; the
    trainer's ``beta`` only says that there is a reference model.

    Args:
        loss: Replaced; its dtype is kept.
        advantages: Advantage of each token, dimensionless; a completion has their mean.
        logprob: Log-probability of each token under the current policy, nats, with gradient.
        old_logprob: The same under the policy that sampled it, nats.
        ref_logprob: The same under the reference model, nats.
        log_z: Log of the normaliser of each completion's prompt, nats a token.
        mask: True where there is a token.
        beta: Nats a token that an advantage of 1 is worth, > 0.
        clip: How far the weight of a completion may be from 1, in [0, 1].

    Returns:
        Loss, in squared nats.

    Raises:
        ValueError: If ``clip`` is not in [0, 1]: a weight could become negative.

    Source:
        Zhu et al., FlowRL, arXiv:2509.15207; released code, commit decbc57.

    Differs from the paper:
        log Z is the mean over the group (the signal ``log_z``), as in TBA, arXiv:2503.18929; theirs
        is a network that is trained along.
    Differs from the released code:
        The weight is clipped, as in the paper; the released code clips it and uses it unclipped.

    >>> import torch
    >>> one = torch.ones(1, 1)
    >>> words = {"old_logprob": -one, "ref_logprob": -one, "log_z": one[0], "mask": one.bool()}
    >>> flowrl(torch.tensor(0.0), advantages=one, logprob=-one, **words, beta=3.0)
    tensor(4.)
    """
    if not 0 <= clip <= 1:
        raise ValueError(f"flowrl needs clip in [0, 1]; got {clip}. Use clip=0.2.")
    moved = (logprob.detach() - old_logprob).masked_fill(~mask, 0).sum(dim=-1)
    residual = (
        log_z
        + _mean(logprob, mask)
        - beta * _mean(advantages, mask).to(logprob.dtype)
        - _mean(ref_logprob, mask)
    )
    weight = moved.exp().clamp(1 - clip, 1 + clip)
    return (weight * residual.square()).mean().to(loss.dtype)


def _mean(x: Float[Tensor, "b t"], mask: Bool[Tensor, "b t"]) -> Float[Tensor, "b"]:
    """Mean over the tokens of each row; 0 where there is none."""
    return x.masked_fill(~mask, 0).sum(dim=-1) / mask.sum(dim=-1).clamp(min=1)
