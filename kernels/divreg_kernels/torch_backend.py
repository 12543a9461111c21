"""The algorithm in torch, a few rows at a time: for CPUs, MPS, and machines without Triton."""

import torch
from torch import Tensor

from divreg_kernels.state import FLOOR, State, finish, merge_states
from divreg_kernels.transform import Transform

__all__ = ["finish", "fold", "grad"]

_BLOCK = 1 << 18  # elements that are worked on at a time: their temporaries stay in the cache
_LEAST = -1e30  # for the reference's -inf, which times a probability of 0 would be NaN
Reference = tuple[Tensor, Tensor, Tensor]


def fold(
    tile: Tensor,
    targets: Tensor,
    start: int,
    state: State,
    transform: Transform,
    *,
    ref: Tensor | None = None,
    batch_invariant: bool = False,
) -> State:
    """Add the columns of a tile to a state.

    Args:
        tile: Logits ``(n, v)``, any floating dtype: the columns ``start`` to ``start + v``.
        targets: ``(n,)``, columns of the whole row.
        start: The column that the tile begins with.
        state: What was seen before. If it counts what is above the target, the target's logit has
            to be in it, or in this tile.
        transform: What logits go through.
        ref: ``(n, v)``, the same columns of the reference, where the state has one.
        batch_invariant: Let no bit of a row depend on how many rows there are.
    """
    local = targets - start
    parts = []
    for at in _blocks(tile):
        x, y, before = tile[at], local[at], state.rows(at)
        if batch_invariant and len(x) == 1:  # torch adds a row that is alone in another order
            x, y, before = x.expand(2, -1), y.expand(2), before.rows(torch.zeros_like(y.expand(2)))
        part = _fold(x, y, before, transform, None if ref is None else ref[at].expand_as(x))
        parts.append(part.rows(slice(len(tile[at]))))
    return merge_states([state, State.stacked(parts, state.scale)])


def grad(
    tile: Tensor,
    targets: Tensor,
    start: int,
    largest: Tensor,
    log_sum: Tensor,
    coefficients: Tensor,
    terms: int,
    transform: Transform,
    out: Tensor,
    *,
    ref: Reference | None = None,
) -> Tensor:
    """Write the gradient of a tile's logits into ``out``, which may be the tile itself.

    Args:
        tile: Logits ``(n, v)``.
        targets: ``(n,)``, columns of the whole row.
        start: The column that the tile begins with.
        largest: ``(n,)``, the largest capped logit of each whole row.
        log_sum: ``(n,)``, log of the sum of e^d of the whole row.
        coefficients: ``(n, 7)``, see :func:`divreg_kernels.gradient.coefficients`. A row of zeros
            has a gradient of exactly 0, whatever its logits are.
        terms: See :func:`divreg_kernels.gradient.terms`.
        transform: What logits go through.
        out: ``(n, v)``, any floating dtype.
        ref: The same columns of the reference ``(n, v)``, and its ``largest`` and ``log_sum``.
    """
    local = targets - start
    for at in _blocks(tile):
        out[at] = _grad(
            tile[at], local[at], largest[at], log_sum[at], coefficients[at], terms,
            transform.rows(at), None if ref is None else (ref[0][at], ref[1][at], ref[2][at]),
        )  # fmt: skip
    return out


def _blocks(tile: Tensor) -> list[slice]:
    n, v = tile.shape
    rows = max(1, _BLOCK // max(v, 1))
    return [slice(at, min(at + rows, n)) for at in range(0, n, rows)]


def _fold(
    tile: Tensor, local: Tensor, before: State, transform: Transform, ref: Tensor | None
) -> State:
    x = transform.capped(tile)
    largest, where = x.max(dim=-1)
    largest = largest.masked_fill(largest == torch.inf, torch.nan)  # as in torch
    inside = (local >= 0) & (local < x.shape[1])
    found = x.gather(1, local.clamp(0, x.shape[1] - 1).unsqueeze(1)).squeeze(1)
    target = torch.where(inside, found, -torch.inf)
    above = top = None
    if before.above is not None:
        above = (x > torch.maximum(before.target, target).unsqueeze(1)).sum(1).float()
    if before.top is not None:
        top = torch.full_like(before.top, -torch.inf)
        some = min(before.topk, x.shape[1])
        top[:, :some] = x.topk(some).values
    some = largest != -torch.inf
    d = torch.sub(x, torch.where(some, largest, 0).unsqueeze(1))
    d = _times(d, before.scale).clamp_(min=FLOOR)
    e = d.exp()
    of_reference = (None,) * 3 if ref is None else _beside(e, d, transform.capped(ref), before)
    e.scatter_(1, where.unsqueeze(1), 0)  # the largest term is the 1 that `tail` leaves out
    tail = torch.where(some, e.sum(1), -1)
    ed = e * d
    t = ed.sum(1)
    u = q = w = None
    if before.moments:
        u, q, w = (ed * d).sum(1), some + (e * e).sum(1), (ed * e).sum(1)
    return State(largest, tail, t, target, before.scale, above, u, q, w, top, *of_reference)


def _beside(e: Tensor, d: Tensor, ref: Tensor, before: State) -> tuple[Tensor, Tensor, Tensor]:
    """Return ``ref_max``, ``ref_tail`` and ``cross`` of a block."""
    largest = ref.amax(1)
    largest = largest.masked_fill(largest == torch.inf, torch.nan)
    some = largest != -torch.inf
    below = torch.sub(ref, torch.where(some, largest, 0).unsqueeze(1))
    below = _times(below, before.scale)
    tail = torch.where(some, below.exp().sum(1) - 1, -1)
    cross = torch.where(e == 0, 0, e * (d - below)).sum(1)
    return largest, tail, cross


def _grad(
    tile: Tensor,
    local: Tensor,
    largest: Tensor,
    log_sum: Tensor,
    coefficients: Tensor,
    terms: int,
    transform: Transform,
    ref: Reference | None,
) -> Tensor:
    x = transform.capped(tile)
    l = _log_p(x, largest, log_sum, transform.scale, FLOOR)
    p = l.exp()
    of_target, a, b, c, e, f, r = coefficients.unsqueeze(2).unbind(1)
    if ref is not None:
        other = _log_p(transform.capped(ref[0]), *ref[1:], transform.scale, _LEAST)
        a = torch.addcmul(a, r, other)  # no longer a number a row
    if terms == 0:
        g = p.mul_(a)
    elif terms == 1:
        g = p.mul_(torch.addcmul(a, b, l))
    else:
        g = p * (a + l * (b + l * c) + p * (e + l * f))
    inside = ((local >= 0) & (local < x.shape[1])).unsqueeze(1)
    g.scatter_add_(
        1, local.clamp(0, x.shape[1] - 1).unsqueeze(1), torch.where(inside, of_target, 0)
    )
    g = _times(g, transform.scale)
    if transform.softcap is not None:
        g = g * transform.slope(x)
    return g.masked_fill_((coefficients == 0).all(1, keepdim=True), 0)


def _log_p(
    x: Tensor, largest: Tensor, log_sum: Tensor, scale: Tensor | float, floor: float
) -> Tensor:
    l = _times(x - largest.unsqueeze(1), scale)
    return l.sub_(log_sum.unsqueeze(1)).clamp_(min=floor)


def _times(x: Tensor, scale: Tensor | float) -> Tensor:
    """Multiply rows in place."""
    if isinstance(scale, Tensor):
        return x.mul_(scale.unsqueeze(1))
    return x if scale == 1.0 else x.mul_(scale)
