"""A policy loss with an entropy bonus: in one pass, and built on what every provider returns."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from divreg_kernels import linear_policy_loss
from providers import Provider, on_hidden
from torch import Tensor

BONUS = 0.01
LARGE = 4096.0  # MiB
VARIANTS = ("divreg,", "divreg again", "torch.compile")


def on_losses(device: str) -> list[Provider]:
    """Return who turns hidden states, a head, targets, advantages and weights into a loss."""
    ours = [Provider("divreg, one pass", _one_pass(), exact=True)]
    if device == "cuda":
        ours.append(Provider("divreg, one pass, 4 GiB", _one_pass(LARGE), exact=True))
    heads = [p for p in on_hidden(device) if not p.name.startswith(VARIANTS)]
    return [*ours, *(replace(p, call=grpo(p.call)) for p in heads)]


def grpo(call: Callable[..., Any]) -> Callable[..., Tensor]:
    """Build GRPO's loss at the policy that sampled; without its bonus where there is no entropy."""

    def loss(*tensors: Tensor) -> Tensor:
        *inputs, advantages, weights = tensors
        logp, entropy = call(*inputs)
        ratio = (logp - logp.detach()).exp()
        value = -torch.minimum(ratio * advantages, ratio.clamp(0.8, 1.2) * advantages)
        if entropy is not None:
            value = value - BONUS * entropy
        return (value * weights).mean()

    return loss


def _one_pass(workspace_mb: float = 512.0) -> Callable[..., Tensor]:
    def loss(*tensors: Tensor) -> Tensor:
        *inputs, weights = tensors
        settings = {"weights": weights, "entropy_coef": BONUS, "workspace_mb": workspace_mb}
        return linear_policy_loss(*inputs, **settings)[0]  # pyright: ignore[reportArgumentType]

    return loss
