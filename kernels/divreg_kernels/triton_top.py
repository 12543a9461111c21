"""The three largest logits of every lane, by minima and maxima alone: nothing crosses lanes.

Of the k largest of a row, a lane has more than three hardly ever; where one has, it can be seen.
"""

import triton
import triton.language as tl

KEPT = tl.constexpr(3)  # of each lane


@triton.jit
def kept(a, b, c, x0, x1, x2, x3):
    """Return the three largest of ``a >= b >= c``, a number a lane, and of four vectors a lane."""
    high, low = tl.maximum(x0, x1), tl.minimum(x0, x1)
    higher, lower = tl.maximum(x2, x3), tl.minimum(x2, x3)
    x, one = tl.maximum(high, higher), tl.minimum(high, higher)
    other = tl.maximum(low, lower)
    y, z = tl.maximum(one, other), tl.minimum(one, other)
    columns: tl.constexpr = x.shape[1]
    if columns == 8:
        x, y, z = _halved(x, y, z)  # pyright: ignore[reportGeneralTypeIssues]
    x, y, z = _halved(x, y, z)  # pyright: ignore[reportGeneralTypeIssues]
    x, y, z = _halved(x, y, z)  # pyright: ignore[reportGeneralTypeIssues]
    lanes: tl.constexpr = x.shape[0]
    return _merged(a, b, c, tl.reshape(x, [lanes]), tl.reshape(y, [lanes]), tl.reshape(z, [lanes]))


@triton.jit
def _halved(x, y, z):
    """Merge the lists of neighbouring columns."""
    rows: tl.constexpr = x.shape[0]
    half: tl.constexpr = x.shape[1] // 2
    x0, x1 = tl.split(tl.reshape(x, [rows, half, 2]))
    y0, y1 = tl.split(tl.reshape(y, [rows, half, 2]))
    z0, z1 = tl.split(tl.reshape(z, [rows, half, 2]))
    return _merged(x0, y0, z0, x1, y1, z1)


@triton.jit
def _merged(a, b, c, x, y, z):
    """Return the three largest of two lists, in order: the larger of each with its opposite."""
    a, b, c = tl.maximum(a, z), tl.maximum(b, y), tl.maximum(c, x)
    high, low = tl.maximum(a, b), tl.minimum(a, b)
    middle, least = tl.maximum(low, c), tl.minimum(low, c)
    return tl.maximum(high, middle), tl.minimum(high, middle), least
