"""Log of the normaliser that makes a group's rewards and reference a distribution."""

from jaxtyping import Bool, Float
from torch import Tensor


def log_z(
    *,
    logprob: Float[Tensor, "*p g t"],
    ref_logprob: Float[Tensor, "*p g t"],
    mask: Bool[Tensor, "*p g t"],
) -> Float[Tensor, "*p g"]:
    r"""Estimate log Z of each prompt from its group, the same number at each of its completions.

    .. math:: \ln Z = \frac1g \sum_i \Bigl(
        \frac{\ln \pi_{ref}(o_i)}{|o_i|} - \frac{\ln \pi(o_i)}{|o_i|}\Bigr)

    in nats a token: what makes the mean residual of a group 0, where its advantages have mean 0.
    See :func:`divreg.methods.flowrl`.

    Args:
        logprob: Log-probability of each token under the sampling policy, nats.
        ref_logprob: The same under the reference model, nats.
        mask: True where there is a token.

    >>> import torch
    >>> here = torch.ones(2, 1, dtype=torch.bool)
    >>> log_z(logprob=-torch.ones(2, 1), ref_logprob=torch.tensor([[-2.0], [-1.0]]), mask=here)
    tensor([-0.5000, -0.5000])
    """
    gap = (ref_logprob - logprob).masked_fill(~mask, 0).sum(-1) / mask.sum(-1).clamp(min=1)
    return gap.mean(dim=-1, keepdim=True).expand_as(gap)
