"""Who computes log-probs and entropies of a head."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import others
import torch
from divreg_kernels import linear_token_stats, token_stats
from others import Pair
from torch import Tensor

MOMENTS = ("logp", "entropy", "varentropy", "log_sum_p2", "sum_p2_logp")


@dataclass(frozen=True)
class Provider:
    """One arm of the benchmark.

    Attributes:
        name: In the table.
        call: ``(logits, targets)`` or ``(hidden, weight, targets)`` to log-probs and entropies; or,
            with advantages and weights of the tokens after them, to a policy loss.
        missing: Why it cannot run, None where it can.
        exact: Whether it has to pass the gates before it is timed.
        entropy: Whether there are entropies; if not, it returns None for them.
    """

    name: str
    call: Callable[..., Any]
    missing: str | None = None
    exact: bool = False
    entropy: bool = True


def on_logits(device: str, compiled: bool = False) -> list[Provider]:
    """Return the providers that take logits ``(n, v)``."""
    return [
        Provider("divreg", _ours, exact=True),
        Provider("divreg again", _ours, exact=True),  # the gap to the first is the noise
        Provider("divreg, all moments", _ours_moments, exact=True),
        Provider("torch", torch_logits),
        Provider("torch.compile", _compiled(torch_logits), _no_compiler(device, compiled)),
        Provider(
            "flash-attn",
            others.flash_attn_logits,
            others.absent("flash_attn", device, gpu_only=True),
            entropy=False,
        ),
        Provider("TRL", others.trl_logits, others.absent("trl", device)),
    ]


def on_hidden(device: str, compiled: bool = False) -> list[Provider]:
    """Return the providers that take hidden states ``(n, h)`` and a head ``(v, h)``.

    On a CPU the workspace holds all logits anyway.
    """
    kept = Provider("divreg, all logits kept", _linear(keep_logits=True), exact=True)
    return [
        Provider("divreg", _linear(), exact=True),
        Provider("divreg again", _linear(), exact=True),
        Provider("divreg, all moments", _linear(stats=MOMENTS), exact=True),
        Provider("divreg, no logits kept", _linear(keep_logits=False), exact=True),
        *([kept] if device == "cuda" else []),
        Provider("torch", torch_hidden),
        Provider("torch.compile", _compiled(torch_hidden), _no_compiler(device, compiled)),
        Provider("Liger", others.liger_hidden, others.absent("liger_kernel", device)),
        Provider("verl", others.verl_hidden, others.absent("verl", device, gpu_only=True)),
        Provider(
            "cut-cross-entropy",
            others.cce_hidden,
            others.absent("cut_cross_entropy", device, gpu_only=True),
            entropy=False,
        ),
        Provider("TRL", others.trl_hidden, others.absent("trl", device)),
    ]


def torch_logits(logits: Tensor, targets: Tensor) -> Pair:
    """Compute both as one writes it down."""
    l = logits.float().log_softmax(-1)
    return l.gather(1, targets[:, None]).squeeze(1), -(l.exp() * l).sum(-1)


def torch_hidden(hidden: Tensor, weight: Tensor, targets: Tensor) -> Pair:
    """Compute both from all logits at once."""
    return torch_logits(hidden @ weight.T, targets)


def _ours(logits: Tensor, targets: Tensor) -> Pair:
    stats = token_stats(logits, targets)
    return stats.logp, stats.entropy  # pyright: ignore[reportReturnType]


def _ours_moments(logits: Tensor, targets: Tensor) -> Pair:
    stats = token_stats(logits, targets, stats=MOMENTS)
    return stats.logp, stats.entropy  # pyright: ignore[reportReturnType]


def _linear(**settings: Any) -> Callable[..., Pair]:
    def call(hidden: Tensor, weight: Tensor, targets: Tensor) -> Pair:
        stats = linear_token_stats(hidden, weight, targets, **settings)
        return stats.logp, stats.entropy  # pyright: ignore[reportReturnType]

    return call


def _compiled(function: Callable[..., Pair]) -> Callable[..., Pair]:
    compiled: Any = None

    def call(*tensors: Tensor) -> Pair:
        nonlocal compiled
        compiled = compiled or torch.compile(function, dynamic=False)
        return compiled(*tensors)

    return call


def _no_compiler(device: str, compiled: bool) -> str | None:
    """Say why torch.compile is not compared: on a CPU it needs minutes of a C++ compiler."""
    if device != "cuda":
        return "compiled for a GPU only"
    return None if compiled else "compiled for the first size of its kind only"
