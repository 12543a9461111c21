"""Confidence penalty: let low entropy cost something, at every token or below a threshold."""

from jaxtyping import Float
from torch import Tensor


def confidence_penalty(
    loss: Float[Tensor, ""],
    *,
    entropy: Float[Tensor, "b t"],
    token_share: Float[Tensor, "b t"],
    strength: float = 0.1,
) -> Float[Tensor, ""]:
    r"""Subtract the entropy of the tokens, so that a peaked distribution costs something.

    .. math:: L' = L - \beta H(p)

    Its gradient lifts every token of the vocabulary a little: too much of it shows in the tail.

    Args:
        loss: The cross-entropy, or what stands in its place.
        entropy: Entropy of the next-token distribution, nats, with gradient.
        token_share: What each token counts in the loss, 0 where there is none.
        strength: Loss per nat of entropy; 0 is off.

    Returns:
        Loss, in the unit of ``loss``.

    Source:
        Pereyra et al., Regularizing Neural Networks by Penalizing Confident Output Distributions,
        arXiv:1701.06548, section 3.

    >>> import torch
    >>> entropy, share = torch.tensor([[1.0, 3.0]]), torch.tensor([[0.5, 0.5]])
    >>> confidence_penalty(torch.tensor(5.0), entropy=entropy, token_share=share, strength=0.5)
    tensor(4.)
    """
    return loss - strength * (entropy * token_share).sum().to(loss.dtype)


def confidence_penalty_hinge(
    loss: Float[Tensor, ""],
    *,
    entropy: Float[Tensor, "b t"],
    token_share: Float[Tensor, "b t"],
    strength: float = 0.1,
    least: float = 1.0,
) -> Float[Tensor, ""]:
    r"""Let tokens whose entropy is below a threshold cost what is missing.

    .. math:: L' = L + \beta \max\bigl(0, \Gamma - H(p)\bigr)

    Tokens that are open enough are left alone, so that nothing pulls the tail up there.

    Args:
        loss: The cross-entropy, or what stands in its place.
        entropy: Entropy of the next-token distribution, nats, with gradient.
        token_share: What each token counts in the loss, 0 where there is none.
        strength: Loss per nat that is missing; 0 is off.
        least: Entropy below which a token costs something, nats; depends on tokenizer and task.

    Returns:
        Loss, in the unit of ``loss``.

    Source:
        Pereyra et al., Regularizing Neural Networks by Penalizing Confident Output Distributions,
        arXiv:1701.06548, section 3.1; the default of ``least`` is ours.

    >>> import torch
    >>> words = {"entropy": torch.tensor([[0.4, 3.0]]), "token_share": torch.tensor([[0.5, 0.5]])}
    >>> confidence_penalty_hinge(torch.tensor(5.0), **words, strength=1.0)
    tensor(5.3000)
    """
    missing = (least - entropy).clamp(min=0)
    return loss + strength * (missing * token_share).sum().to(loss.dtype)
