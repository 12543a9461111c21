"""What Triton kernels share that join states of one row: lanes, parts, tiles."""

import triton
import triton.language as tl

from divreg_kernels import state

FIELDS = 11  # planes of a result: max, tail, t, target, above, u, q, w, ref_max, ref_tail, cross

_FLOOR = tl.constexpr(state.FLOOR)
_NOTHING = tl.constexpr(float("-inf"))


@triton.jit
def merge_kernel(
    parts_ptr, out_ptr, parts, scale_value, scale_ptr,
    PARTS: tl.constexpr, PER_ROW: tl.constexpr, MOMENTS: tl.constexpr, RANK: tl.constexpr,
    PAIR: tl.constexpr,
):  # fmt: skip
    """Join the parts of one row: ``(FIELDS, n, parts)`` to ``(FIELDS, n)``; ``PARTS >= parts``."""
    row = tl.program_id(0).to(tl.int64)
    if PER_ROW:
        scale = tl.load(scale_ptr + row).to(tl.float32)
    else:
        scale = tl.cast(scale_value, tl.float32)
    k = tl.arange(0, PARTS)
    some = k < parts
    of = parts_ptr + row * parts + k
    n = tl.num_programs(0).to(tl.int64)
    plane = n * parts
    m = tl.load(of, mask=some, other=_NOTHING)
    tail = tl.load(of + plane, mask=some, other=-1.0)
    t = tl.load(of + 2 * plane, mask=some, other=0.0)
    u, q, w = t, t, t
    if MOMENTS:
        u = tl.load(of + 5 * plane, mask=some, other=0.0)
        q = tl.load(of + 6 * plane, mask=some, other=0.0)
        w = tl.load(of + 7 * plane, mask=some, other=0.0)
    largest, leader = tl.max(  # pyright: ignore[reportGeneralTypeIssues]
        m, axis=0, return_indices=True
    )
    at = out_ptr + row
    if PAIR:
        ref_m = tl.load(of + 8 * plane, mask=some, other=_NOTHING)
        ref_s = 1.0 + tl.load(of + 9 * plane, mask=some, other=-1.0)
        cross = tl.load(of + 10 * plane, mask=some, other=0.0)
        ref_largest = tl.max(ref_m, axis=0)
        ref_s, cross = crossed(  # pyright: ignore[reportGeneralTypeIssues]
            m, 1.0 + tail, largest, cross, ref_m, ref_s, ref_largest, scale
        )
        tl.store(at + 8 * n, ref_largest)
        tl.store(at + 9 * n, tl.sum(ref_s, axis=0) - 1.0)
        tl.store(at + 10 * n, tl.sum(cross, axis=0))
    others, own, t, u, q, w = joined(  # pyright: ignore[reportGeneralTypeIssues]
        m, tail, t, u, q, w, k == leader, largest, scale, MOMENTS
    )
    tl.store(at, largest)
    tl.store(at + n, others + own)
    tl.store(at + 2 * n, t)
    tl.store(at + 3 * n, tl.load(parts_ptr + row * parts + 3 * plane))  # every part has it
    if RANK:
        tl.store(at + 4 * n, tl.sum(tl.load(of + 4 * plane, mask=some, other=0.0), axis=0))
    if MOMENTS:
        tl.store(at + 5 * n, u)
        tl.store(at + 6 * n, q)
        tl.store(at + 7 * n, w)


@triton.jit
def joined(m, tail, t, u, q, w, leads, largest, scale, MOMENTS: tl.constexpr):
    """Return S of all states but the leading one, the S - 1 of that one, and the sums of all."""
    s, t, u, q, w = moved(  # pyright: ignore[reportGeneralTypeIssues]
        m, tail, t, u, q, w, largest, scale, MOMENTS
    )
    others = tl.sum(tl.where(leads, 0.0, s), axis=0)
    own = tl.sum(tl.where(leads, tail, 0.0), axis=0)
    t = tl.sum(t, axis=0)
    if MOMENTS:
        u, q, w = tl.sum(u, axis=0), tl.sum(q, axis=0), tl.sum(w, axis=0)
    else:
        u, q, w = t, t, t
    return others, own, t, u, q, w


@triton.jit
def moved(m, tail, t, u, q, w, larger, scale, MOMENTS: tl.constexpr):
    """Return S, t, u, q, w of states with ``larger`` in the place of their own maximum."""
    by = tl.maximum((m - tl.where(larger == _NOTHING, 0.0, larger)) * scale, _FLOOR)
    r = tl.exp(by)  # 0 where nothing was seen: m is -inf there, and exp(-200) is 0
    s = 1.0 + tail
    if MOMENTS:
        u = r * (u + by * (2.0 * t + by * s))
        w = r * r * (w + by * q)
        q = r * r * q
    t = r * (t + by * s)
    return r * s, t, u, q, w


@triton.jit
def crossed(m, s, larger, cross, ref_m, ref_s, ref_larger, scale):
    """Return the reference's S and the sum of both with larger maxima in the place of their own.

    A state that has seen no column of the reference but -inf has an infinite sum, unless it has
    seen none of the policy either.
    """
    by = (m - tl.where(larger == _NOTHING, 0.0, larger)) * scale
    ref_by = (ref_m - tl.where(ref_larger == _NOTHING, 0.0, ref_larger)) * scale
    r = tl.exp(tl.maximum(by, _FLOOR))
    cross = tl.where(r > 0.0, r * (cross + (by - ref_by) * s), 0.0)
    return tl.exp(tl.maximum(ref_by, _FLOOR)) * ref_s, cross
