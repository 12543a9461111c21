"""Triton kernels that read logits once and leave the state of every row.

A program holds one row, or one part of one, and each of its lanes keeps sums of its own, with the
largest logit that this lane has met as reference: nothing crosses lanes until the row is read. Sums
are in base 2 inside a lane, in nats everywhere else.
"""

import triton
import triton.language as tl

from divreg_kernels import state
from divreg_kernels.triton_cap import LN2, LOG2E, capped
from divreg_kernels.triton_merge import crossed, joined, moved
from divreg_kernels.triton_top import KEPT, kept

LANES = tl.constexpr(128)
STACK = tl.constexpr(4)  # vectors of 16 bytes that a lane loads at a time, in `_step`
WARPS = 4

_FLOOR = tl.constexpr(state.FLOOR)
_NOTHING = tl.constexpr(float("-inf"))


@triton.jit(do_not_specialize=["misaligned", "start"])
def fold_kernel(
    x_ptr, x_stride, misaligned, targets_ptr, start, n_cols, width,
    max_ptr, tail_ptr, t_ptr, target_ptr, above_ptr, u_ptr, q_ptr, w_ptr,
    ref_max_ptr, ref_tail_ptr, cross_ptr,
    out_ptr, ref_ptr, ref_stride, top_ptr, scale_value, scale_ptr, gain, softcap,
    VEC: tl.constexpr, ALIGNED: tl.constexpr, PER_ROW: tl.constexpr, SOFTCAP: tl.constexpr,
    MOMENTS: tl.constexpr, RANK: tl.constexpr, TOPK: tl.constexpr, PAIR: tl.constexpr,
):  # fmt: skip
    """Write the state of one row's columns ``[part width, (part + 1) width)`` to ``out``.

    Args:
        x_ptr: Logits ``(n, n_cols)`` with ``x_stride`` elements from row to row.
        misaligned: Elements between the first logit and the 16-byte boundary before it.
        targets_ptr: ``(n,)``, columns of the whole row, of which ``start`` is this tile's first.
        width: Columns of a part, a multiple of a step.
        max_ptr: As the ten that follow ``(n,)`` fp32, what was seen before; part 0 adds it.
        out_ptr: ``(FIELDS, n, parts)`` fp32.
        ref_ptr: With ``PAIR``, logits of the reference ``(n, n_cols)``, ``ref_stride`` elements
            from row to row.
        top_ptr: With ``TOPK``, ``(n, parts, KEPT, LANES)`` fp32, the largest of each lane.
        scale_value: What multiplies capped logits, unless ``PER_ROW``: then ``scale_ptr`` has it.
        gain: What multiplies a logit before the tanh; only with ``SOFTCAP``, as ``softcap``.
        VEC: Elements of 16 bytes.
        ALIGNED: Whether all rows begin and end at 16-byte boundaries.
    """
    row = tl.program_id(0).to(tl.int64)
    part = tl.program_id(1)
    x_row = x_ptr + row * x_stride
    if PER_ROW:
        scale = tl.load(scale_ptr + row).to(tl.float32)
    else:
        scale = tl.cast(scale_value, tl.float32)

    y = tl.load(targets_ptr + row).to(tl.int64) - start
    inside = (y >= 0) & (y < n_cols)
    target = tl.load(x_row + y, mask=inside, other=_NOTHING).to(tl.float32)
    target = tl.where(inside, capped(target, gain, softcap, SOFTCAP), _NOTHING)
    target = tl.maximum(target, tl.load(target_ptr + row), propagate_nan=tl.PropagateNan.ALL)

    shift = 0
    if ALIGNED:  # the same numbers, of which the compiler now knows a factor
        n_cols, width = n_cols // VEC * VEC, width // VEC * VEC
    else:
        shift = ((misaligned + row * x_stride) % VEC).to(tl.int32)
    origin = tl.multiple_of(x_row + (part * width - shift), 16)
    ref_origin = ref_ptr + row * ref_stride + (part * width - shift)
    if ALIGNED:
        ref_origin = tl.multiple_of(ref_origin, 16)
    end = shift + tl.minimum(width, n_cols - part * width)
    largest, tail, t, u, q, w, above, a, b, c, ref_largest, ref_s, cross = _read(
        origin, ref_origin, shift, end, target, scale, gain, softcap,
        VEC, ALIGNED, SOFTCAP, MOMENTS, RANK, TOPK, PAIR,
    )  # fmt: skip
    if TOPK:
        of_lane = top_ptr + (row * tl.num_programs(1) + part) * (KEPT * LANES) + tl.arange(0, LANES)
        tl.store(of_lane, a)
        tl.store(of_lane + LANES, b)
        tl.store(of_lane + 2 * LANES, c)

    first = part == 0
    before = tl.load(max_ptr + row, mask=first, other=_NOTHING)
    before_tail = tl.load(tail_ptr + row, mask=first, other=-1.0)
    before_t = tl.load(t_ptr + row, mask=first, other=0.0)
    before_u, before_q, before_w = before_t, before_t, before_t
    if MOMENTS:
        before_u = tl.load(u_ptr + row, mask=first, other=0.0)
        before_q = tl.load(q_ptr + row, mask=first, other=0.0)
        before_w = tl.load(w_ptr + row, mask=first, other=0.0)
    larger = tl.maximum(before, largest)
    s1, t1, u1, q1, w1 = moved(  # pyright: ignore[reportGeneralTypeIssues]
        before, before_tail, before_t, before_u, before_q, before_w, larger, scale, MOMENTS
    )
    s2, t2, u2, q2, w2 = moved(  # pyright: ignore[reportGeneralTypeIssues]
        largest, tail, t, u, q, w, larger, scale, MOMENTS
    )

    at = out_ptr + row * tl.num_programs(1) + part
    plane = tl.num_programs(0).to(tl.int64) * tl.num_programs(1)
    tl.store(at, larger)
    tl.store(at + plane, tl.where(before >= largest, before_tail + s2, tail + s1))
    tl.store(at + 2 * plane, t1 + t2)
    tl.store(at + 3 * plane, target)
    if RANK:
        tl.store(at + 4 * plane, above + tl.load(above_ptr + row, mask=first, other=0.0))
    if MOMENTS:
        tl.store(at + 5 * plane, u1 + u2)
        tl.store(at + 6 * plane, q1 + q2)
        tl.store(at + 7 * plane, w1 + w2)
    if PAIR:
        ref_before = tl.load(ref_max_ptr + row, mask=first, other=_NOTHING)
        ref_before_s = 1.0 + tl.load(ref_tail_ptr + row, mask=first, other=-1.0)
        before_cross = tl.load(cross_ptr + row, mask=first, other=0.0)
        ref_larger = tl.maximum(ref_before, ref_largest)
        ref_s1, cross1 = crossed(  # pyright: ignore[reportGeneralTypeIssues]
            before, 1.0 + before_tail, larger, before_cross, ref_before, ref_before_s, ref_larger,
            scale,
        )  # fmt: skip
        ref_s2, cross2 = crossed(  # pyright: ignore[reportGeneralTypeIssues]
            largest, 1.0 + tail, larger, cross, ref_largest, ref_s, ref_larger, scale
        )
        tl.store(at + 8 * plane, ref_larger)
        tl.store(at + 9 * plane, ref_s1 + ref_s2 - 1.0)
        tl.store(at + 10 * plane, cross1 + cross2)


@triton.jit
def _read(
    origin, ref_origin, shift, end, target, scale, gain, softcap,
    VEC: tl.constexpr, ALIGNED: tl.constexpr, SOFTCAP: tl.constexpr,
    MOMENTS: tl.constexpr, RANK: tl.constexpr, TOPK: tl.constexpr, PAIR: tl.constexpr,
):  # fmt: skip
    """Return the state of the elements ``[shift, end)`` from ``origin``, an aligned pointer."""
    lane = tl.arange(0, LANES)
    m = tl.full([LANES], _NOTHING, tl.float32)
    s = tl.zeros([LANES], tl.float32)
    t = tl.zeros([LANES], tl.float32)
    u = tl.zeros([LANES], tl.float32)
    q = tl.zeros([LANES], tl.float32)
    w = tl.zeros([LANES], tl.float32)
    above = tl.zeros([LANES], tl.float32)
    a, b, c = m, m, m
    ref_m = tl.full([LANES], _NOTHING, tl.float32)
    ref_s = tl.zeros([LANES], tl.float32)
    cross = tl.zeros([LANES], tl.float32)
    binary = scale * LOG2E

    # Loops count by hand: a range over a number known at run time fails in an interpreter of
    # Triton 3.6 on NumPy 2.4.
    step: tl.constexpr = STACK * LANES * VEC
    at = 0 if ALIGNED else step
    whole = end // step * step
    while at < whole:
        m, s, t, u, q, w, above, a, b, c, ref_m, ref_s, cross = _step(
            origin, ref_origin, at, shift, end, m, s, t, u, q, w, above, a, b, c,
            ref_m, ref_s, cross, target, binary, gain, softcap,
            VEC, False, SOFTCAP, MOMENTS, RANK, TOPK, PAIR,
        )  # fmt: skip
        at += step
    at = whole if ALIGNED else 0  # what is left: the last step, and the first if it is not whole
    while at < end:
        m, s, t, u, q, w, above, a, b, c, ref_m, ref_s, cross = _step(
            origin, ref_origin, at, shift, end, m, s, t, u, q, w, above, a, b, c,
            ref_m, ref_s, cross, target, binary, gain, softcap,
            VEC, True, SOFTCAP, MOMENTS, RANK, TOPK, PAIR,
        )  # fmt: skip
        at += tl.maximum(whole, step)

    t, u, w = t * LN2, u * (LN2 * LN2), w * LN2
    raw, leader = tl.max(m, axis=0, return_indices=True)
    largest = capped(raw, gain, softcap, SOFTCAP)
    m = capped(m, gain, softcap, SOFTCAP)
    ref_largest, ref_total, both = largest, 0.0, 0.0
    if PAIR:
        ref_m = capped(ref_m, gain, softcap, SOFTCAP)
        ref_largest = tl.max(ref_m, axis=0)
        ref_s, cross = crossed(  # pyright: ignore[reportGeneralTypeIssues]
            m, s, largest, cross * LN2, ref_m, ref_s, ref_largest, scale
        )
        ref_total, both = tl.sum(ref_s, axis=0), tl.sum(cross, axis=0)
    others, own, t, u, q, w = joined(  # pyright: ignore[reportGeneralTypeIssues]
        m, s - 1.0, t, u, q, w, lane == leader, largest, scale, MOMENTS
    )
    # Where one element has more than half of S, its lane's S - 1 has lost digits: read it again.
    if (others + own < 1.0) & (raw > _NOTHING):
        own = _tail(origin, shift, end, leader, raw, largest, binary, gain, softcap, VEC, SOFTCAP)
    above = tl.sum(above, axis=0)
    return largest, others + own, t, u, q, w, above, a, b, c, ref_largest, ref_total, both


@triton.jit
def _step(
    origin, ref_origin, at, shift, end, m, s, t, u, q, w, above, a, b, c,
    ref_m, ref_s, cross, target, scale, gain, softcap,
    VEC: tl.constexpr, MASKED: tl.constexpr, SOFTCAP: tl.constexpr,
    MOMENTS: tl.constexpr, RANK: tl.constexpr, TOPK: tl.constexpr, PAIR: tl.constexpr,
):  # fmt: skip
    """Add ``STACK`` vectors to every lane; ``m`` is of raw logits, ``scale`` in base 2.

    One tile a vector, lanes by elements: of a tile with three axes, it is the compiler's choice,
    and another one in every release, which of them a lane holds.
    """
    of = at + tl.arange(0, LANES)[:, None] * VEC + tl.arange(0, VEC)[None, :]
    tile: tl.constexpr = LANES * VEC
    x0, x1, x2, x3 = _loaded(  # pyright: ignore[reportGeneralTypeIssues]
        origin, of, tile, shift, end, MASKED
    )
    if TOPK:
        a, b, c = kept(a, b, c, x0, x1, x2, x3)  # pyright: ignore[reportGeneralTypeIssues]
    larger, reference, old, x0, x1, x2, x3 = _referred(
        m, x0, x1, x2, x3, of, tile, shift, end, gain, softcap, MASKED, SOFTCAP
    )
    if RANK:
        above += _sum(
            _as_number(x0 > target), _as_number(x1 > target),
            _as_number(x2 > target), _as_number(x3 > target),
        )  # fmt: skip
    by = tl.maximum((old - reference) * scale, _FLOOR)
    r = tl.exp2(by)
    reference = reference[:, None]
    d0, d1 = _below(x0, reference, scale), _below(x1, reference, scale)
    d2, d3 = _below(x2, reference, scale), _below(x3, reference, scale)
    e0, e1, e2, e3 = tl.exp2(d0), tl.exp2(d1), tl.exp2(d2), tl.exp2(d3)
    f0, f1, f2, f3 = e0 * d0, e1 * d1, e2 * d2, e3 * d3
    if PAIR:
        y0, y1, y2, y3 = _loaded(  # pyright: ignore[reportGeneralTypeIssues]
            ref_origin, of, tile, shift, end, MASKED
        )
        ref_larger, ref_reference, ref_old, y0, y1, y2, y3 = _referred(
            ref_m, y0, y1, y2, y3, of, tile, shift, end, gain, softcap, MASKED, SOFTCAP
        )
        ref_by = (ref_old - ref_reference) * scale
        ref_reference = ref_reference[:, None]
        y0, y1 = (y0 - ref_reference) * scale, (y1 - ref_reference) * scale
        y2, y3 = (y2 - ref_reference) * scale, (y3 - ref_reference) * scale
        ref_s = tl.exp2(ref_by) * ref_s + _sum(tl.exp2(y0), tl.exp2(y1), tl.exp2(y2), tl.exp2(y3))
        cross = tl.where(r > 0.0, r * (cross + (by - ref_by) * s), 0.0) + _sum(
            _beside(e0, d0, y0), _beside(e1, d1, y1), _beside(e2, d2, y2), _beside(e3, d3, y3)
        )
        ref_m = ref_larger
    if MOMENTS:
        u = r * (u + by * (2.0 * t + by * s)) + _sum(f0 * d0, f1 * d1, f2 * d2, f3 * d3)
        w = r * r * (w + by * q) + _sum(f0 * e0, f1 * e1, f2 * e2, f3 * e3)
        q = r * r * q + _sum(e0 * e0, e1 * e1, e2 * e2, e3 * e3)
    t = r * (t + by * s) + _sum(f0, f1, f2, f3)
    s = r * s + _sum(e0, e1, e2, e3)
    return larger, s, t, u, q, w, above, a, b, c, ref_m, ref_s, cross


@triton.jit
def _loaded(origin, of, tile: tl.constexpr, shift, end, MASKED: tl.constexpr):
    """Return the next four vectors of every lane."""
    return (
        _load(origin, of, shift, end, MASKED),
        _load(origin, of + tile, shift, end, MASKED),
        _load(origin, of + 2 * tile, shift, end, MASKED),
        _load(origin, of + 3 * tile, shift, end, MASKED),
    )


@triton.jit
def _referred(
    m, x0, x1, x2, x3, of, tile: tl.constexpr, shift, end, gain, softcap,
    MASKED: tl.constexpr, SOFTCAP: tl.constexpr,
):  # fmt: skip
    """Return the largest raw logit, the capped one to refer to, the one before, the logits capped.

    Where nothing was seen, 0 is what to refer to: -inf minus -inf would be NaN.
    """
    larger = tl.maximum(tl.maximum(x0, x1), tl.maximum(x2, x3))
    larger = tl.maximum(m, tl.max(larger, axis=1))
    reference, old = larger, m
    if SOFTCAP:
        reference = capped(larger, gain, softcap, SOFTCAP)
        old = capped(m, gain, softcap, SOFTCAP)
        x0 = _capped(x0, of, shift, end, gain, softcap, MASKED)
        x1 = _capped(x1, of + tile, shift, end, gain, softcap, MASKED)
        x2 = _capped(x2, of + 2 * tile, shift, end, gain, softcap, MASKED)
        x3 = _capped(x3, of + 3 * tile, shift, end, gain, softcap, MASKED)
    reference = tl.where(reference == _NOTHING, 0.0, reference)
    return larger, reference, old, x0, x1, x2, x3


@triton.jit
def _load(origin, of, shift, end, MASKED: tl.constexpr):
    if MASKED:
        x = tl.load(origin + of, mask=(of >= shift) & (of < end), other=_NOTHING)
    else:
        x = tl.load(origin + of)
    return x.to(tl.float32)


@triton.jit
def _capped(x, of, shift, end, gain, softcap, MASKED: tl.constexpr):
    x = capped(x, gain, softcap, True)
    if MASKED:
        x = tl.where((of >= shift) & (of < end), x, _NOTHING)
    return x


@triton.jit
def _sum(a, b, c, d):
    """Sum what each lane holds, tile by tile: that turns every product into a multiply-add."""
    return (tl.sum(a, axis=1) + tl.sum(b, axis=1)) + (tl.sum(c, axis=1) + tl.sum(d, axis=1))


@triton.jit
def _beside(e, d, ref_d):
    return tl.where(e > 0.0, e * (d - ref_d), 0.0)  # 0 where the reference has -inf as well


@triton.jit
def _as_number(condition):
    return condition.to(tl.float32)


@triton.jit
def _below(x, reference, scale):
    # Not the plain maximum, which would put the floor in the place of a NaN.
    return tl.maximum((x - reference) * scale, _FLOOR, propagate_nan=tl.PropagateNan.ALL)


@triton.jit
def _tail(
    origin, shift, end, lane, raw, largest, scale, gain, softcap,
    VEC: tl.constexpr, SOFTCAP: tl.constexpr,
):  # fmt: skip
    """Return S - 1 of one lane, whose largest logit is ``raw``, without ever forming S."""
    vector = tl.arange(0, LANES)[:, None]
    element = tl.arange(0, VEC)[None, :]
    below = tl.zeros([LANES], tl.float32)
    ties = tl.zeros([LANES], tl.float32)
    at = 0
    while at < end:
        of = at + (vector * LANES + lane) * VEC + element
        seen = (of >= shift) & (of < end)
        x = tl.load(origin + of, mask=seen, other=_NOTHING).to(tl.float32)
        d = (capped(x, gain, softcap, SOFTCAP) - largest) * scale
        below += tl.sum(tl.where(seen & (x != raw), tl.exp2(d), 0.0), axis=1)
        ties += tl.sum((x == raw).to(tl.float32), axis=1)
        at += LANES * LANES * VEC
    return tl.sum(below, axis=0) + (tl.sum(ties, axis=0) - 1.0)
