"""The k most likely tokens: how much they hold, and how evenly."""

import torch
from torch import Tensor

from divreg_kernels.transform import Transform


def topk_stats(logits: Tensor, lse: Tensor, k: int, transform: Transform) -> tuple[Tensor, Tensor]:
    """Return mass and renormalised entropy of the k most likely tokens, ``(n,)`` each.

    Args:
        logits: ``(n, v)``; a second pass over them.
        lse: Log of each row's normaliser, nats.
        k: At least 1; all tokens where there are fewer.
        transform: What logits go through; it keeps their order.

    Raises:
        ValueError: If ``k`` is below 1.
    """
    if k < 1:
        raise ValueError(f"topk needs at least 1; got {k}. Use topk=10.")
    top = transform.capped(logits.topk(min(k, logits.shape[1])).values)
    scale = transform.scale
    z = top * (scale.unsqueeze(1) if isinstance(scale, Tensor) else scale)
    largest = z[:, :1]
    d = (z - torch.where(largest == -torch.inf, 0, largest)).clamp(min=-200.0)
    e = d.exp()
    s = e.sum(1)
    mass = (largest.squeeze(1) - lse + s.log()).exp()
    return mass, s.log() - (e * d).sum(1) / s
