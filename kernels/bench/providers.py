"""Who computes log-probs and entropies of a head, each in the form its users call it."""

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from divreg_kernels import linear_token_stats, token_stats
from torch import Tensor

MOMENTS = ("logp", "entropy", "varentropy", "log_sum_p2", "sum_p2_logp")
Pair = tuple[Tensor, Tensor]


@dataclass(frozen=True)
class Provider:
    """One arm of the benchmark.

    Attributes:
        name: In the table.
        call: ``(logits, targets)`` or ``(hidden, weight, targets)`` to log-probs and entropies.
        missing: Why it cannot run, None where it can.
        exact: Whether it has to pass the gates before it is timed.
    """

    name: str
    call: Callable[..., Pair]
    missing: str | None = None
    exact: bool = False


def on_logits(device: str) -> list[Provider]:
    """Return the providers that take logits ``(n, v)``."""
    found = [
        Provider("divreg", _ours, exact=True),
        Provider("divreg again", _ours, exact=True),  # the gap to the first is the noise
        Provider("divreg, all moments", _ours_moments, exact=True),
        Provider("torch", _torch_logits),
        Provider("torch.compile", _compiled(_torch_logits), _no_compiler(device)),
    ]
    if reason := _absent("trl"):
        return [*found, Provider("TRL", _ours, reason)]
    return [*found, Provider("TRL", _trl_logits)]


def on_hidden(device: str) -> list[Provider]:
    """Return the providers that take hidden states ``(n, h)`` and a head ``(v, h)``."""
    found = [
        Provider("divreg", _linear(), exact=True),
        Provider("divreg again", _linear(), exact=True),
        Provider("divreg, all moments", _linear(stats=MOMENTS), exact=True),
        Provider("divreg, no logits kept", _linear(keep_logits=False), exact=True),
        Provider("torch", _torch_hidden),
        Provider("torch.compile", _compiled(_torch_hidden), _no_compiler(device)),
        Provider("Liger", _liger, _absent("liger_kernel")),
    ]
    if reason := _absent("trl"):
        return [*found, Provider("TRL", _torch_hidden, reason)]
    return [*found, Provider("TRL", _trl_hidden)]


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


def _torch_logits(logits: Tensor, targets: Tensor) -> Pair:
    l = logits.float().log_softmax(-1)
    return l.gather(1, targets[:, None]).squeeze(1), -(l.exp() * l).sum(-1)


def _torch_hidden(hidden: Tensor, weight: Tensor, targets: Tensor) -> Pair:
    return _torch_logits(hidden @ weight.T, targets)


def _trl_logits(logits: Tensor, targets: Tensor) -> Pair:
    from trl.trainer.utils import selective_log_softmax_and_entropy

    return selective_log_softmax_and_entropy(logits, targets)  # pyright: ignore[reportReturnType]


def _trl_hidden(hidden: Tensor, weight: Tensor, targets: Tensor) -> Pair:
    from trl.kernels.chunked_logprob import ChunkedLogProbFunction

    found: Any = ChunkedLogProbFunction.apply(
        hidden, weight, None, targets, 1.0, 32768, None, 1.0, ("log_probs", "entropy")
    )
    return found[0], found[1]


def _liger(hidden: Tensor, weight: Tensor, targets: Tensor) -> Pair:
    from liger_kernel.ops.fused_linear_scaled_cross_entropy import (  # pyright: ignore[reportMissingImports]
        LigerFusedLinearScaledCrossEntropyFunction as Function,
    )

    found: Any = Function.apply(hidden, weight, targets, return_entropy=True)
    return -found[0], found[1]


def _compiled(function: Callable[..., Pair]) -> Callable[..., Pair]:
    compiled: Any = None

    def call(*tensors: Tensor) -> Pair:
        nonlocal compiled
        compiled = compiled or torch.compile(function)
        return compiled(*tensors)

    return call


def _absent(package: str) -> str | None:
    if importlib.util.find_spec(package) is None:
        return f"{package} is not installed"
    return None


def _no_compiler(device: str) -> str | None:
    """Say why torch.compile cannot be compared: on a CPU it needs minutes of a C++ compiler."""
    return None if device == "cuda" else "compiled for a GPU only"
