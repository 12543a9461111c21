"""The signals of the loss from logits at hand: what a trainer's head says, for laws and rehearsals.

Each function here defines a signal of `divreg.signals.BASE` on logits ``(*b, t, v)``.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor


def of_logits(logits: Tensor, tokens: Tensor) -> dict[str, Tensor]:
    """Return the signals that are tensors, ``(*b, t)`` each, with gradient."""
    l = logits.log_softmax(-1)
    p, entropy = l.exp(), _entropy(l)
    return {
        "logprob": _chosen(l, tokens),
        "entropy": entropy,
        "varentropy": (p * (l + entropy.unsqueeze(-1)).square()).sum(-1),
        "log_sum_p2": p.square().sum(-1).log(),
        "sum_p2_logp": (p.square() * l).sum(-1),
    }


def tempered(*, logits: Tensor, tokens: Tensor) -> Callable[[float], tuple[Tensor, Tensor]]:
    """Return the function ``T -> logprob, entropy`` of softmax(logits / T)."""

    def at(temperature: float) -> tuple[Tensor, Tensor]:
        l = (logits / temperature).log_softmax(-1)
        return _chosen(l, tokens), _entropy(l)

    return at


def top(*, logits: Tensor) -> Callable[[int], tuple[Tensor, Tensor]]:
    """Return the function ``k -> mass, entropy`` of the k likeliest tokens, without gradient."""

    def of(k: int) -> tuple[Tensor, Tensor]:
        l = logits.detach().log_softmax(-1)
        among = l.topk(min(k, l.shape[-1])).values
        return among.exp().sum(-1), _entropy(among.log_softmax(-1))

    return of


def over_logits(*, logits: Tensor, mask: Tensor) -> Callable[..., Tensor]:
    """Return what applies a function to the logits of every token, as a head does in parts."""

    def apply(f: Callable[..., Any], *columns: Tensor) -> Tensor:
        values = of_rows(f, logits[mask], [column[mask] for column in columns])
        return torch.zeros_like(logits[..., 0]).masked_scatter(mask, values)

    return apply


def of_rows(f: Callable[..., Any], logits: Tensor, columns: Sequence[Tensor]) -> Tensor:
    """Return ``f(logits, *columns)``, one number for each row of logits ``(n, v)``.

    Raises:
        ValueError: If it is something else.
    """
    values = f(logits, *columns)
    if values.shape != logits.shape[:1]:
        raise ValueError(
            f"over_logits needs a function from logits (n, v) to (n,); got {tuple(values.shape)} "
            f"for logits {tuple(logits.shape)}. Reduce the last dimension: .sum(-1)."
        )
    return values


SOURCES = {f.__name__: f for f in (tempered, top, over_logits)}


def _chosen(l: Tensor, tokens: Tensor) -> Tensor:
    return l.gather(-1, tokens.unsqueeze(-1)).squeeze(-1)


def _entropy(l: Tensor) -> Tensor:
    return -(l.exp() * l).sum(-1)
