"""Nested lists of texts with any leading prompt axes, one innermost list per group."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from jaxtyping import Shaped
from torch import Tensor


def over_groups(
    f: Callable[[Any], Any], nested: Sequence[Any], dtype: torch.dtype
) -> Shaped[Tensor, "..."]:
    """Stack ``f`` of every innermost list: lists ``(*p, g)`` become a tensor ``(*p, ...)``."""
    if nested and isinstance(nested[0], list):
        return torch.stack([over_groups(f, group, dtype) for group in nested])
    return torch.as_tensor(f(nested), dtype=dtype)


def innermost(nested: Sequence[Any]) -> list[list[Any]]:
    """List every innermost list of ``(*p, g)``, in the order in which `over_groups` meets them."""
    if nested and isinstance(nested[0], list):
        return [group for part in nested for group in innermost(part)]
    return [list(nested)]
