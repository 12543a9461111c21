r"""One state for every statistic of a softmax, and the one rule by which two states become one.

For a row of logits x and a scale c (one over the temperature), z = c x and p = softmax(z). Of the
columns seen so far, with m the largest x among them and d_j = c (x_j - m) <= 0, the state holds

.. math::
    S = \sum e^{d}, \quad t = \sum e^{d} d, \quad u = \sum e^{d} d^2, \quad
    q = \sum e^{2d}, \quad w = \sum e^{2d} d

All five have one sign each, so that adding two states cancels nothing. m stays in the units of x,
so that an offset common to all logits costs no accuracy, and S is kept as S - 1: close to a
collapse, the entropy is what is beside the largest term.

Beside a reference with logits x', largest m' and S', it holds the one sum that needs both,

.. math:: g = \sum e^{d} (d - d'), \qquad KL(p, p') = g / S - \log S + \log S'
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
        top: The k largest logits, ``(n, k)``, before ``scale``, -inf where there are fewer; None
            where not asked for.
        ref_max: Largest logit m' of the reference; with ``ref_tail`` and ``cross``, None where
            there is none.
        ref_tail: S' - 1.
        cross: Sum of e^d (d - d').
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
    top: Tensor | None = None
    ref_max: Tensor | None = None
    ref_tail: Tensor | None = None
    cross: Tensor | None = None

    def rows(self, at: slice | Tensor) -> "State":
        """Return some rows."""
        return State(*(x[at] if isinstance(x, Tensor) else x for x in self._values()))

    @staticmethod
    def stacked(parts: Sequence["State"], scale: Tensor | float) -> "State":
        """Return the state of all rows, whose scale is ``scale``, from that of some each."""
        columns: list[Any] = list(zip(*(part._values() for part in parts), strict=True))
        whole = [torch.cat(x) if isinstance(x[0], Tensor) else x[0] for x in columns]
        return replace(State(*whole), scale=scale)

    def packed(self) -> Tensor:
        """Return all but ``scale`` as one tensor ``(n, width)``: what ranks send each other."""
        held = (x for x in replace(self, scale=0.0)._values() if isinstance(x, Tensor))
        return torch.cat([x if x.dim() == 2 else x.unsqueeze(1) for x in held], 1)

    def unpacked(self, values: Tensor) -> "State":
        """Return the state that :meth:`packed` made ``values`` of; it held what this one holds."""
        found, at = {}, 0
        for field in fields(self):
            like = getattr(self, field.name)
            if field.name != "scale" and isinstance(like, Tensor):
                width = like.shape[1] if like.dim() == 2 else 1
                part = values[:, at : at + width]
                found[field.name] = part if like.dim() == 2 else part.squeeze(1)
                at += width
        return replace(self, **found)

    def _values(self) -> tuple[Any, ...]:
        return tuple(getattr(self, field.name) for field in fields(self))

    @property
    def moments(self) -> bool:
        """Whether it holds ``u``, ``q`` and ``w``."""
        return self.u is not None

    @property
    def topk(self) -> int:
        """How many of the largest logits it holds."""
        return 0 if self.top is None else self.top.shape[1]

    @property
    def log_sum(self) -> Tensor:
        """Log of S, nats."""
        return torch.log1p(self.tail)

    @property
    def reference(self) -> tuple[Tensor, Tensor, Tensor] | None:
        """The reference's largest logit and S - 1, and the sum that needs both; None without."""
        if self.ref_max is None or self.ref_tail is None or self.cross is None:
            return None
        return self.ref_max, self.ref_tail, self.cross


def empty(
    n: int,
    scale: Tensor | float,
    *,
    moments: bool = False,
    rank: bool = False,
    topk: int = 0,
    reference: bool = False,
    device: torch.device | str,
) -> State:
    """Return the state of ``n`` rows of which nothing was seen yet."""
    zeros = torch.zeros(n, device=device)
    nothing, none = zeros - torch.inf, zeros - 1
    above, some = zeros if rank else None, zeros if moments else None
    top = zeros.new_full((n, topk), -torch.inf) if topk else None
    of_reference = (nothing, none, zeros) if reference else (None, None, None)
    return State(nothing, none, zeros, nothing, scale, above, some, some, some, top, *of_reference)


def merge_states(states: Sequence[State]) -> State:
    """Join what was seen of the same rows in several sets of columns: tiles, splits, ranks.

    Args:
        states: At least one; all with the same rows, scale and statistics.

    Raises:
        ValueError: For no state, or if only some hold moments, a reference or the k largest.
    """
    held = {(s.moments, s.reference is not None, s.topk) for s in states}
    if len(held) != 1:
        raise ValueError(
            f"merge_states needs at least one state, all with moments or all without, and so for "
            f"a reference and the k largest; got {sorted(held)}. Compute all with the same stats."
        )
    joined = states[0]
    for state in states[1:]:
        joined = _join(joined, state)
    return joined


def _join(a: State, b: State) -> State:
    scale = a.scale
    larger, tail, by_a, by_b = _larger(a.max, a.tail, b.max, b.tail, scale)
    t, u, q, w = (
        None if x is None or y is None else x + y
        for x, y in zip(_moved(a, by_a), _moved(b, by_b), strict=True)
    )
    assert t is not None
    above = None if a.above is None or b.above is None else a.above + b.above
    top = None
    if a.top is not None and b.top is not None:
        top = torch.cat([a.top, b.top], 1).topk(a.topk).values
    ref_max = ref_tail = cross = None
    if (ref_a := a.reference) and (ref_b := b.reference):
        ref_max, ref_tail, ref_by_a, ref_by_b = _larger(*ref_a[:2], *ref_b[:2], scale)
        cross = _crossed(a, by_a, ref_by_a) + _crossed(b, by_b, ref_by_b)
    target = torch.maximum(a.target, b.target)
    return State(larger, tail, t, target, scale, above, u, q, w, top, ref_max, ref_tail, cross)


def _larger(
    max_a: Tensor, tail_a: Tensor, max_b: Tensor, tail_b: Tensor, scale: Tensor | float
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return the larger maximum, S - 1 beside it, and how far below it each of the two is."""
    larger = torch.maximum(max_a, max_b)

    def below(m: Tensor) -> Tensor:  # where nothing was seen 0; a NaN stays one
        return torch.where(m != -torch.inf, (m - larger) * scale, 0)

    by_a, by_b = below(max_a), below(max_b)
    s_a, s_b = by_a.exp() * (1 + tail_a), by_b.exp() * (1 + tail_b)
    # S - 1: the largest term is a 1 that is left out once, in the state that has it.
    return larger, torch.where(max_a >= max_b, tail_a + s_b, tail_b + s_a), by_a, by_b


def _moved(state: State, by: Tensor) -> tuple[Tensor | None, ...]:
    """Return t and, where it has them, u, q, w with a maximum that is ``-by`` larger."""
    by = by.clamp(min=FLOOR)
    r, s = by.exp(), 1 + state.tail
    t = r * (state.t + by * s)
    if state.u is None or state.q is None or state.w is None:
        return t, None, None, None
    u = r * (state.u + by * (2 * state.t + by * s))
    return t, u, r * r * state.q, r * r * (state.w + by * state.q)


def _crossed(state: State, by: Tensor, ref_by: Tensor) -> Tensor:
    """Return ``cross`` with both maxima moved; infinite only where it weighs anything."""
    assert state.cross is not None
    r = by.exp()
    moved = r * (state.cross + (by - ref_by) * (1 + state.tail))
    return torch.where(r == 0, 0, moved)


def finish(state: State) -> dict[str, Tensor]:
    """Return the statistics that a state holds, each ``(n,)`` in fp32; see `TokenStats`."""
    log_s, s = state.log_sum, 1 + state.tail
    mean = state.t / s
    found = {
        "logp": (state.target - state.max) * state.scale - log_s,
        "entropy": log_s - mean,
        "lse": state.max * state.scale + log_s,
        "p_max": torch.exp(-log_s),
    }
    if state.above is not None:
        found["rank"] = state.above
    if state.u is not None and state.q is not None and state.w is not None:
        found["varentropy"] = state.u / s - mean * mean
        found["log_sum_p2"] = state.q.log() - 2 * log_s
        found["sum_p2_logp"] = (state.w - state.q * log_s) / s / s
    if state.top is not None:
        found["topk_mass"], found["topk_entropy"] = _of_top(state.top, state)
    if ref := state.reference:
        _, ref_tail, cross = ref
        found["ref_kl"] = (cross / s - log_s + torch.log1p(ref_tail)).clamp(min=0)
    return found


def _of_top(top: Tensor, state: State) -> tuple[Tensor, Tensor]:
    """Return mass and renormalised entropy of the largest logits."""
    scale = state.scale.unsqueeze(1) if isinstance(state.scale, Tensor) else state.scale
    d = ((top - state.max.unsqueeze(1)) * scale).clamp(min=FLOOR)
    e = d.exp()
    s = e.sum(1)
    return s / (1 + state.tail), s.log() - (e * d).sum(1) / s
