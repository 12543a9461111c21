"""The Triton kernel that writes the gradient of logits, in place where it is asked to."""

import triton
import triton.language as tl

from divreg_kernels import state
from divreg_kernels.triton_cap import LN2, LOG2E, capped, half_gap

BLOCK = 4096
WARPS = 8

_FLOOR = tl.constexpr(state.FLOOR)
_LEAST = tl.constexpr(-1e30)


@triton.jit(do_not_specialize=["start"])
def grad_kernel(
    x_ptr, x_stride, out_ptr, out_stride, targets_ptr, start, n_cols,
    largest_ptr, log_sum_ptr, coefficients_ptr,
    ref_ptr, ref_stride, ref_largest_ptr, ref_log_sum_ptr,
    scale_value, scale_ptr, logit_scale, gain, softcap,
    TERMS: tl.constexpr, VEC: tl.constexpr, ALIGNED: tl.constexpr, PER_ROW: tl.constexpr,
    SOFTCAP: tl.constexpr, PAIR: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Write one block of one row's gradient.

    Args:
        x_ptr: Logits ``(n, n_cols)`` with ``x_stride`` elements from row to row.
        out_ptr: ``(n, n_cols)``, any floating dtype; may be ``x_ptr``.
        targets_ptr: ``(n,)``, columns of the whole row, of which ``start`` is this tile's first.
        largest_ptr: ``(n,)``, largest capped logit of the whole row; fp32, as all that follows.
        log_sum_ptr: ``(n,)``, log of the sum of e^d of the whole row.
        coefficients_ptr: ``(n, 7)``; a row of zeros gets zeros, and its logits are not read.
        ref_ptr: With ``PAIR``, logits of the reference ``(n, n_cols)`` with ``ref_stride``, and as
            the two that follow ``(n,)`` its largest and log of its sum.
        scale_value: What multiplies capped logits, unless ``PER_ROW``: then ``scale_ptr`` has it.
        logit_scale: As ``gain`` and ``softcap`` only with ``SOFTCAP``; multiplies logits first.
        gain: What multiplies a logit before the tanh.
        TERMS: See :func:`divreg_kernels.gradient.terms`.
        VEC: Columns that are known to lie in one 16-byte vector where ``ALIGNED``.
        ALIGNED: Whether all rows of all of them begin and end at 16-byte boundaries.
    """
    row = tl.program_id(0).to(tl.int64)
    of_row = coefficients_ptr + row * 7
    of_target, a, b = tl.load(of_row), tl.load(of_row + 1), tl.load(of_row + 2)
    c, e, f = tl.load(of_row + 3), tl.load(of_row + 4), tl.load(of_row + 5)
    some = (of_target != 0) | (a != 0) | (b != 0) | (c != 0) | (e != 0) | (f != 0)
    if PAIR:
        of_ref = tl.load(of_row + 6)
        some = some | (of_ref != 0)
    # What a row of zeros has beside them may be NaN, and would be NaN times zero.
    largest = tl.load(largest_ptr + row, mask=some, other=0.0)
    log_sum = tl.load(log_sum_ptr + row, mask=some, other=0.0) * LOG2E
    scale = tl.cast(scale_value, tl.float32)
    if PER_ROW:
        scale = tl.load(scale_ptr + row, mask=some, other=1.0).to(tl.float32)
    outer = scale
    if SOFTCAP:
        outer = scale * logit_scale
    scale = scale * LOG2E

    x_row = x_ptr + row * x_stride
    out_row = out_ptr + row * out_stride
    if ALIGNED:
        x_row, out_row = tl.multiple_of(x_row, 16), tl.multiple_of(out_row, 16)
        n_cols = n_cols // VEC * VEC  # the same number, of which the compiler now knows a factor
    column = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    read = column < tl.where(some, n_cols, 0)
    x = tl.load(x_row + column, mask=read, other=float("-inf")).to(tl.float32)
    l = (capped(x, gain, softcap, SOFTCAP) - largest) * scale - log_sum  # log p in base 2
    # Not the plain maximum, which would put the floor in the place of a NaN.
    l = tl.maximum(l, _FLOOR, propagate_nan=tl.PropagateNan.ALL)
    p = tl.exp2(l)
    a, b, c, e, f = outer * a, outer * LN2 * b, outer * (LN2 * LN2) * c, outer * e, outer * LN2 * f
    if PAIR:
        ref_row = ref_ptr + row * ref_stride
        if ALIGNED:
            ref_row = tl.multiple_of(ref_row, 16)
        y = tl.load(ref_row + column, mask=read, other=float("-inf")).to(tl.float32)
        ref_largest = tl.load(ref_largest_ptr + row, mask=some, other=0.0)
        ref_log_sum = tl.load(ref_log_sum_ptr + row, mask=some, other=0.0) * LOG2E
        y = (capped(y, gain, softcap, SOFTCAP) - ref_largest) * scale - ref_log_sum
        # Not -inf, which would be NaN times a probability of 0.
        y = tl.maximum(y, _LEAST, propagate_nan=tl.PropagateNan.ALL)
        a = a + outer * LN2 * of_ref * y
    if TERMS == 0:
        g = p * a
    elif TERMS == 1:
        g = p * (a + b * l)
    else:
        g = p * (a + l * (b + l * c) + p * (e + l * f))
    y = (tl.load(targets_ptr + row) - start).to(tl.int32)
    g = tl.where(column == y, g + outer * of_target, g)
    if SOFTCAP:
        half = half_gap(x, gain)
        g *= 4.0 * half * (1.0 - half)
    tl.store(out_row + column, g.to(out_ptr.dtype.element_ty), mask=column < n_cols)
