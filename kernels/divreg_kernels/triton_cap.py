"""The soft cap in Triton, from ``exp2`` alone: libdevice's tanh is not there in the interpreter."""

import triton
import triton.language as tl

LOG2E = tl.constexpr(1.4426950408889634)
LN2 = tl.constexpr(0.6931471805599453)


@triton.jit
def capped(x, gain, softcap, SOFTCAP: tl.constexpr):
    """Return ``softcap tanh(gain x)``, or ``x`` itself without ``SOFTCAP``."""
    if SOFTCAP:
        size = softcap - 2.0 * softcap * half_gap(x, gain)
        x = tl.where(x < 0, -size, size)
    return x


@triton.jit
def half_gap(x, gain):
    """Return half of ``1 - tanh(gain abs(x))``, which is the sigmoid of ``-2 gain abs(x)``."""
    e = tl.exp2(tl.abs(x) * (-2.0 * LOG2E * gain))
    whole = 1.0 + e
    return e * tl.rsqrt(whole * whole)  # a division takes seven instructions
