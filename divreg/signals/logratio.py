"""How far the policy has moved on each token since it sampled it."""

from jaxtyping import Float
from torch import Tensor


def logratio(
    *, logprob: Float[Tensor, "*b t"], old_logprob: Float[Tensor, "*b t"]
) -> Float[Tensor, "*b t"]:
    """Log of the importance ratio: current minus sampling policy's log-probability.

    Any range, nats; 0 everywhere while the data is strictly on-policy.

    Args:
        logprob: Log-probability of each token under the current policy, nats.
        old_logprob: The same under the policy that sampled it, nats.

    >>> import torch
    >>> logratio(logprob=torch.tensor([[-1.0]]), old_logprob=torch.tensor([[-1.5]]))
    tensor([[0.5000]])
    """
    return logprob - old_logprob
