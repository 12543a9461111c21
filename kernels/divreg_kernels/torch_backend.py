"""The algorithm in torch, a few rows at a time: for CPUs, MPS, and machines without Triton."""

import torch
from torch import Tensor

from divreg_kernels.state import FLOOR, State, merge_states
from divreg_kernels.transform import Transform

_BLOCK = 1 << 18  # elements that are worked on at a time: their temporaries stay in the cache


def fold(tile: Tensor, targets: Tensor, start: int, state: State, transform: Transform) -> State:
    """Add the columns of a tile to a state.

    Args:
        tile: Logits ``(n, v)``, any floating dtype: the columns ``start`` to ``start + v``.
        targets: ``(n,)``, columns of the whole row.
        start: The column that the tile begins with.
        state: What was seen before. If it counts what is above the target, the target's logit has
            to be in it, or in this tile.
        transform: What logits go through.
    """
    local = targets - start
    parts = [_fold(tile[at], local[at], state.rows(at), transform) for at in _blocks(tile)]
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
) -> Tensor:
    """Write the gradient of a tile's logits into ``out``, which may be the tile itself.

    Args:
        tile: Logits ``(n, v)``.
        targets: ``(n,)``, columns of the whole row.
        start: The column that the tile begins with.
        largest: ``(n,)``, the largest capped logit of each whole row.
        log_sum: ``(n,)``, log of the sum of e^d of the whole row.
        coefficients: ``(n, 6)``, see :func:`divreg_kernels.gradient.coefficients`. A row of zeros
            has a gradient of exactly 0, whatever its logits are.
        terms: See :func:`divreg_kernels.gradient.terms`.
        transform: What logits go through.
        out: ``(n, v)``, any floating dtype.
    """
    local = targets - start
    for at in _blocks(tile):
        out[at] = _grad(
            tile[at], local[at], largest[at], log_sum[at], coefficients[at], terms,
            transform.rows(at),
        )  # fmt: skip
    return out


def _blocks(tile: Tensor) -> list[slice]:
    n, v = tile.shape
    rows = max(1, _BLOCK // max(v, 1))
    return [slice(at, min(at + rows, n)) for at in range(0, n, rows)]


def _fold(tile: Tensor, local: Tensor, before: State, transform: Transform) -> State:
    x = transform.capped(tile)
    largest, where = x.max(dim=-1)
    largest = largest.masked_fill(largest == torch.inf, torch.nan)  # as in torch
    inside = (local >= 0) & (local < x.shape[1])
    found = x.gather(1, local.clamp(0, x.shape[1] - 1).unsqueeze(1)).squeeze(1)
    target = torch.where(inside, found, -torch.inf)
    above = None
    if before.above is not None:
        above = (x > torch.maximum(before.target, target).unsqueeze(1)).sum(1).float()
    some = largest != -torch.inf
    d = torch.sub(x, torch.where(some, largest, 0).unsqueeze(1))
    d = _times(d, before.scale).clamp_(min=FLOOR)
    e = d.exp()
    e.scatter_(1, where.unsqueeze(1), 0)  # the largest term is the 1 that `tail` leaves out
    tail = torch.where(some, e.sum(1), -1)
    ed = e * d
    t = ed.sum(1)
    if not before.moments:
        return State(largest, tail, t, target, before.scale, above)
    u, q, w = (ed * d).sum(1), some + (e * e).sum(1), (ed * e).sum(1)
    return State(largest, tail, t, target, before.scale, above, u, q, w)


def _grad(
    tile: Tensor,
    local: Tensor,
    largest: Tensor,
    log_sum: Tensor,
    coefficients: Tensor,
    terms: int,
    transform: Transform,
) -> Tensor:
    x = transform.capped(tile)
    l = _times(x - largest.unsqueeze(1), transform.scale)
    l = l.sub_(log_sum.unsqueeze(1)).clamp_(min=FLOOR)
    p = l.exp()
    of_target, a, b, c, e, f = coefficients.unsqueeze(2).unbind(1)
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


def _times(x: Tensor, scale: Tensor | float) -> Tensor:
    """Multiply rows in place."""
    if isinstance(scale, Tensor):
        return x.mul_(scale.unsqueeze(1))
    return x if scale == 1.0 else x.mul_(scale)
