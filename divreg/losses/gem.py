"""GEM: stop pushing a token once it beats a sharpened copy of the model."""

from collections.abc import Callable

import torch
from jaxtyping import Float, Int
from torch import Tensor


def gem(
    loss: Float[Tensor, ""],
    *,
    tempered: Callable[[float], tuple[Tensor, Tensor]],
    token_share: Float[Tensor, "b t"],
    beta: float = 0.7,
) -> Float[Tensor, ""]:
    r"""Put in place of the cross-entropy what the target loses against a sharpened model.

    .. math:: L = -\sum_j q_j (\log p_y - \log p_j) = \beta \bigl(-\log q_y - H(q)\bigr),
        \qquad q = \operatorname{softmax}(z / \beta)

    without gradient through the weights :math:`q` of the sum. Its gradient is :math:`q - 1_y`: a
    token is left alone once :math:`q_y` is near 1, at a lower :math:`p_y` than cross-entropy asks
    for, and the others keep their probability. ``beta=1`` has the gradient of the cross-entropy;
    towards 0, only targets that are not the most likely token are pushed. The value is no
    likelihood: it is 0 where :math:`q` is uniform, and may be below.

    Args:
        loss: Replaced; its dtype is kept.
        tempered: Log-probability and entropy at a temperature, nats, with gradient.
        token_share: What each token counts in the loss, 0 where there is none.
        beta: Temperature of the sharpened model, > 0; 1 is the cross-entropy's gradient.

    Returns:
        Loss, nats.

    Raises:
        ValueError: If ``beta`` is not above 0.

    Source:
        Li et al., Preserving Diversity in Supervised Fine-tuning, arXiv:2408.16673; released code,
        commit e5b1430, ``utils/gem_triton_loss.py``, ``gem_h="linear"``.

    >>> logits = torch.tensor([[2.0, 1.0, 0.0, -1.0]])
    >>> def tempered(t):
    ...     l = (logits / t).log_softmax(-1)
    ...     return l[:, 1:2], -(l.exp() * l).sum(-1, keepdim=True)
    >>> gem(torch.tensor(0.0), tempered=tempered, token_share=torch.ones(1, 1))
    tensor(0.6981)
    """
    _check("gem", beta)
    logprob, entropy = tempered(beta)
    value = -beta * (logprob + entropy.detach())
    return (value * token_share).sum().to(loss.dtype)


def gem_logsigmoid(
    loss: Float[Tensor, ""],
    *,
    over_logits: Callable[..., Tensor],
    tokens: Int[Tensor, "b t"],
    token_share: Float[Tensor, "b t"],
    beta: float = 0.7,
    slope: float = 0.01,
) -> Float[Tensor, ""]:
    r"""Put in place of the cross-entropy GEM's loss through a log-sigmoid.

    .. math:: L = -\sum_j q_j w_j (\log p_y - \log p_j), \qquad
        q = \operatorname{softmax}(z / \beta), \quad w_j = \sigma\bigl(s (z_j - z_y)\bigr)

    without gradient through :math:`q` and :math:`w`. At ``slope=0.01`` every weight is near a half:
    the loss is half of :func:`gem`, and so is the step of a plain optimizer. It needs every logit,
    a few rows at a time: a second product of hidden states and head.

    Args:
        loss: Replaced; its dtype is kept.
        over_logits: Applies a function to the logits of every token, with gradient.
        tokens: The token that each column predicts.
        token_share: What each token counts in the loss, 0 where there is none.
        beta: Temperature of the sharpened model, > 0.
        slope: Of the sigmoid, per unit of logit; 0 is half of :func:`gem`.

    Returns:
        Loss, nats.

    Raises:
        ValueError: If ``beta`` is not above 0.

    Source:
        Li et al., Preserving Diversity in Supervised Fine-tuning, arXiv:2408.16673; released code,
        commit e5b1430, ``gem_h="logsigmoid"``.

    >>> logits = torch.tensor([[2.0, 1.0, 0.0, -1.0]])
    >>> words = {"tokens": torch.tensor([[1]]), "token_share": torch.ones(1, 1)}
    >>> def over_logits(f, tokens):
    ...     return f(logits, tokens[0])[None]
    >>> gem_logsigmoid(torch.tensor(0.0), over_logits=over_logits, **words)
    tensor(0.3511)
    """
    _check("gem_logsigmoid", beta)

    def value(logits: Tensor, target: Tensor) -> Tensor:
        gap = logits - logits.gather(-1, target.unsqueeze(-1))
        weights = (logits / beta).softmax(-1) * torch.sigmoid(slope * gap)
        return torch.where(weights > 0, weights.detach() * gap, 0).sum(-1)

    return (over_logits(value, tokens) * token_share).sum().to(loss.dtype)


def _check(name: str, beta: float) -> None:
    if not beta > 0:
        raise ValueError(f"{name} needs beta > 0, a temperature; got {beta}. Use beta=0.7.")
