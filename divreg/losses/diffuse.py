"""Diffuse distributions: learn every answer of a known set as whole texts, so that none wins."""

from jaxtyping import Float
from torch import Tensor


def diffuse(
    loss: Float[Tensor, ""],
    *,
    logprob: Float[Tensor, "b t"],
    text_share: Float[Tensor, "b t"],
) -> Float[Tensor, ""]:
    r"""Put in place of the cross-entropy of tokens that of whole texts.

    .. math:: L = -\sum_i w_i \ln p(y_i \mid x), \qquad \ln p(y_i \mid x) = \sum_t \ln p_t

    The data holds the answers :math:`y_i` of a prompt, each as often as its weight :math:`w_i`
    says. With all of them in one optimizer step the least that the loss can be is the entropy of
    the weights, :math:`\ln n` for n answers alike, and what is above it is the divergence of the
    model from them. The paper stops at 1.2 times the entropy. A mean over tokens has no such floor.

    Args:
        loss: Replaced; its dtype is kept.
        logprob: Log-probability of each token, nats, with gradient.
        text_share: What the text of each token counts in the loss, 0 where there is no token.

    Returns:
        Loss, nats a text.

    Source:
        Zhang et al., Forcing Diffuse Distributions out of Language Models, arXiv:2404.10859;
        released code, commit 7170ab0, ``src/train.py``.

    Differs from the released code:
        Weights are how often an answer stands in the data; the rule to stop is the user's.

    >>> import torch
    >>> nll = torch.tensor([[0.5, 0.0], [0.25, 0.75], [2.0, 0.0], [1.0, 3.0]])
    >>> share = torch.full((4, 2), 0.25)
    >>> diffuse(torch.tensor(0.0), logprob=-nll, text_share=share)
    tensor(1.8750)
    """
    return -(logprob * text_share).sum().to(loss.dtype)
