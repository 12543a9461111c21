"""Label smoothing: train on the target and, a little, on every other token."""

from jaxtyping import Float
from torch import Tensor


def label_smoothing(
    loss: Float[Tensor, ""],
    *,
    mean_logprob: Float[Tensor, "b t"],
    token_share: Float[Tensor, "b t"],
    strength: float = 0.1,
) -> Float[Tensor, ""]:
    r"""Mix the loss with the cross-entropy of a uniform target over the vocabulary.

    .. math:: L' = (1 - \epsilon)\,L - \frac{\epsilon}{|V|} \sum_j \ln p_j

    The sum is over all tokens, the target included. At 1 nothing of the data is left.

    Args:
        loss: The cross-entropy, or what stands in its place.
        mean_logprob: Mean log-probability of all tokens, nats, with gradient.
        token_share: What each token counts in the loss, 0 where there is none.
        strength: Share of the uniform target; 0 is off.

    Returns:
        Loss, in the unit of ``loss``.

    Source:
        Szegedy et al., Rethinking the Inception Architecture, arXiv:1512.00567, section 7.

    >>> import torch
    >>> words = {"mean_logprob": torch.tensor([[-3.0]]), "token_share": torch.ones(1, 1)}
    >>> label_smoothing(torch.tensor(1.0), **words, strength=0.5)
    tensor(2.)
    """
    uniform = -(mean_logprob * token_share).sum().to(loss.dtype)
    return (1 - strength) * loss + strength * uniform
