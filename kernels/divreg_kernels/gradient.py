r"""The gradient of every statistic of a softmax, in seven numbers a row.

With l = log p, and l' that of a reference, all of them have the form

.. math::
    \frac{\partial L}{\partial z_j} = g\,1[j = y]
        + p_j (a + b\,l_j + c\,l_j^2 + r\,l'_j) + p_j^2 (e + f\,l_j)
"""

from collections.abc import Iterable, Mapping, Sequence

import torch
from torch import Tensor

NAMES: tuple[str, ...] = ("g", "a", "b", "c", "e", "f", "r")


def coefficients(grads: Mapping[str, Tensor], found: Mapping[str, Tensor]) -> Tensor:
    """Return g, a, b, c, e, f, r of each row, ``(n, 7)`` in fp32; all 0 where all gradients are.

    Args:
        grads: Gradient of the loss with respect to some statistics, ``(n,)`` each.
        found: The statistics themselves; those that the gradients need.
    """
    n = next(iter(found.values()))
    out = dict.fromkeys(NAMES, torch.zeros_like(n, dtype=torch.float32))

    def add(name: str, value: Tensor) -> None:
        out[name] = out[name] + value

    for name, d in grads.items():
        if name == "logp":
            add("g", d)
            add("a", -d)
        elif name == "lse":
            add("a", d)
        elif name == "entropy":
            add("b", -d)
            add("a", -d * found["entropy"])
        elif name == "varentropy":
            h = found["entropy"]
            add("c", d)
            add("b", d * (2 * h + 2))
            add("a", d * (h * h - found["varentropy"] + 2 * h))
        elif name == "log_sum_p2":
            add("e", 2 * d * torch.exp(-found["log_sum_p2"]))
            add("a", -2 * d)
        elif name == "sum_p2_logp":
            add("f", 2 * d)
            add("e", d)
            add("a", -d * (2 * found["sum_p2_logp"] + found["log_sum_p2"].exp()))
        elif name == "ref_kl":
            add("b", d)
            add("r", -d)
            add("a", -d * found["ref_kl"])
        else:
            raise ValueError(f"{name} has no gradient; it has {', '.join(SMOOTH)}. Detach it.")
    dead = torch.stack(list(grads.values())).eq(0).all(0)  # also where a statistic is NaN
    return torch.stack([out[name].float().masked_fill(dead, 0) for name in NAMES], dim=1)


def given(names: Sequence[str], grads: Sequence[Tensor | None]) -> dict[str, Tensor]:
    """Return the gradients that arrived, by the name of their statistic, if it has one."""
    pairs = zip(names, grads, strict=False)
    return {name: d for name, d in pairs if d is not None and name in SMOOTH}


def terms(names: Iterable[str]) -> int:
    """Return how much of the form the gradients of some statistics need.

    0: only g and a; 1: b as well; 2: all but r, which is there where there is a reference.
    """
    order = {"logp": 0, "lse": 0, "entropy": 1, "ref_kl": 1}
    return max((order.get(name, 2) for name in names), default=0)


SMOOTH = ("logp", "entropy", "lse", "varentropy", "log_sum_p2", "sum_p2_logp", "ref_kl")
"""Statistics with a gradient."""
