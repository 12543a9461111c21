r"""One state for every statistic of a softmax, and the one rule by which two states become one.

For a row of logits x and a scale c (one over the temperature), z = c x and p = softmax(z). Of the
columns seen so far, with m the largest x among them and d_j = c (x_j - m) <= 0, the state holds

.. math::
    S = \sum e^{d}, \quad t = \sum e^{d} d, \quad u = \sum e^{d} d^2, \quad
    q = \sum e^{2d}, \quad w = \sum e^{2d} d

All five have one sign each, so that adding two states cancels nothing. m stays in the units of x,
so that an offset common to all logits costs no accuracy, and S is kept as S - 1: close to a
collapse, the entropy is what is beside the largest term.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from torch import Tensor

FLOOR = -200.0  # of d: exp(-200) is 0 in fp32 and 0 * -200 is 0, where 0 * -inf would be NaN


@dataclass(frozen=True)
class State:
    """What is known of ``n`` rows of logits; fp32 tensors ``(n,)``.

    Attributes:
        max: Largest logit m, before ``scale``; -inf where nothing was seen.
        tail: S - 1; -1 where nothing was seen.
        t: Sum of e^d d.
        target: The target's logit, before ``scale``; -inf where it was not among the columns.
        scale: What multiplies logits, a number or ``(n,)``.
        above: Columns whose logit is larger than the target's, None where not asked for.
        u: Sum of e^d d^2; with ``q`` and ``w``, None where moments were not asked for.
        q: Sum of e^2d.
        w: Sum of e^2d d.
    """

    max: Tensor
    tail: Tensor
    t: Tensor
    target: Tensor
    scale: Tensor | float
    above: Tensor | None = None
    u: Tensor | None = None
    q: Tensor | None = None
    w: Tensor | None = None

    def rows(self, at: slice | Tensor) -> "State":
        """Return some rows."""
        return State(*(x[at] if isinstance(x, Tensor) else x for x in self._values()))

    @staticmethod
    def stacked(parts: Sequence["State"], scale: Tensor | float) -> "State":
        """Return the state of all rows, whose scale is ``scale``, from that of some each."""
        columns: list[Any] = list(zip(*(part._values() for part in parts), strict=True))
        whole = [torch.cat(x) if isinstance(x[0], Tensor) else x[0] for x in columns]
        return replace(State(*whole), scale=scale)

    def _values(self) -> tuple[Any, ...]:
        return tuple(getattr(self, field.name) for field in fields(self))

    @property
    def moments(self) -> bool:
        """Whether it holds ``u``, ``q`` and ``w``."""
        return self.u is not None

    @property
    def log_sum(self) -> Tensor:
        """Log of S, nats."""
        return torch.log1p(self.tail)


def empty(
    n: int, scale: Tensor | float, *, moments: bool, rank: bool, device: torch.device | str
) -> State:
    """Return the state of ``n`` rows of which nothing was seen yet."""
    zeros = torch.zeros(n, device=device)
    above, some = zeros if rank else None, zeros if moments else None
    nothing = zeros - torch.inf
    return State(nothing, zeros - 1, zeros, nothing, scale, above, some, some, some)


def merge_states(states: Sequence[State]) -> State:
    """Join what was seen of the same rows in several sets of columns: tiles, splits, ranks.

    Args:
        states: At least one; all with the same rows, scale and statistics.

    Raises:
        ValueError: For no state, or if only some hold moments.
    """
    if not states or len({s.moments for s in states}) > 1:
        raise ValueError(
            f"merge_states needs at least one state, all with moments or all without; got "
            f"{[s.moments for s in states]}. Compute all with the same stats."
        )
    joined = states[0]
    for state in states[1:]:
        joined = _join(joined, state)
    return joined


def _join(a: State, b: State) -> State:
    larger = torch.maximum(a.max, b.max)
    (s_a, t_a, *moments_a), (s_b, t_b, *moments_b) = _moved(a, larger), _moved(b, larger)
    # S - 1: the largest term is a 1 that is left out once, in the state that has it.
    tail = torch.where(a.max >= b.max, a.tail + s_b, b.tail + s_a)
    above = None if a.above is None or b.above is None else a.above + b.above
    target = torch.maximum(a.target, b.target)
    moments = (x + y for x, y in zip(moments_a, moments_b, strict=True))
    return State(larger, tail, t_a + t_b, target, a.scale, above, *moments)


def _moved(state: State, larger: Tensor) -> list[Tensor]:
    """Return S, t and, where it has them, u, q, w with ``larger`` in the place of its maximum."""
    seen = state.max != -torch.inf  # a NaN stays one
    by = torch.where(seen, (state.max - larger) * state.scale, 0).clamp(min=FLOOR)
    r = torch.where(seen, by.exp(), 0)
    whole = 1 + state.tail
    moved = [r * whole, r * (state.t + by * whole)]
    if state.u is not None and state.q is not None and state.w is not None:
        moved.append(r * (state.u + by * (2 * state.t + by * whole)))
        moved += [r * r * state.q, r * r * (state.w + by * state.q)]
    return moved


def finish(state: State) -> dict[str, Tensor]:
    """Return the statistics that a state holds, each ``(n,)`` in fp32; see `TokenStats`."""
    log_s = state.log_sum
    mean = state.t / (1 + state.tail)
    found = {
        "logp": (state.target - state.max) * state.scale - log_s,
        "entropy": log_s - mean,
        "lse": state.max * state.scale + log_s,
        "p_max": torch.exp(-log_s),
    }
    if state.above is not None:
        found["rank"] = state.above
    if state.u is not None and state.q is not None and state.w is not None:
        s = 1 + state.tail
        found["varentropy"] = state.u / s - mean * mean
        found["log_sum_p2"] = state.q.log() - 2 * log_s
        found["sum_p2_logp"] = (state.w - state.q * log_s) / s / s
    return found
