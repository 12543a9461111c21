"""Matrix products of the head: in tiles of a bounded size, from 16 bits into 32."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

_MIB = 1 << 20
_LEAST = (8, 128)  # rows and columns of the smallest tile that is worth starting
_WORTH = 0.25  # of the rows have to be kept for tiles to become smaller
_TILES = {"cuda": (4096, 16384), "xpu": (4096, 16384)}  # rows and columns of the largest
_TILE = (512, 4096)  # on a CPU, where tiles are read again while they are in the cache


@dataclass(frozen=True)
class Tiling:
    """How the logits ``(n, v)`` are cut.

    Attributes:
        n: Rows.
        v: Columns.
        rows: Rows of a tile.
        columns: Columns of a tile.
        kept: Rows, from the first on, whose logits are kept for the backward; a multiple of
            ``rows``, or all.
    """

    n: int
    v: int
    rows: int
    columns: int
    kept: int

    def row_blocks(self) -> Iterator[slice]:
        """Yield the rows of each tile."""
        for at in range(0, self.n, self.rows):
            yield slice(at, min(at + self.rows, self.n))

    def column_blocks(self) -> Iterator[slice]:
        """Yield the columns of each tile."""
        for at in range(0, self.v, self.columns):
            yield slice(at, min(at + self.columns, self.v))


def tiling(
    n: int,
    h: int,
    v: int,
    dtype: torch.dtype,
    device: torch.device,
    workspace_mb: float,
    keep: str,
    *,
    logits: torch.dtype = torch.float32,
    ref_h: int = 0,
) -> Tiling:
    """Cut ``n`` rows of ``v`` logits so that tiles and kept logits stay within the workspace.

    Args:
        n: Rows.
        h: Width of a hidden state.
        v: Columns.
        dtype: Of hidden states and head.
        device: Where they are.
        workspace_mb: What tiles and kept logits may take, MiB, beside the gradients.
        keep: As ``keep_logits``, in words.
        logits: What logits are stored in.
        ref_h: Width of the reference's hidden states, 0 without one.

    Raises:
        ValueError: If it does not hold the smallest tile.
    """
    budget = int(workspace_mb * _MIB)

    def bytes_of(rows: int, columns: int) -> int:
        return tile_bytes(rows, columns, h, dtype, device, logits=logits, ref_h=ref_h)

    def largest(limit: int) -> tuple[int, int]:
        rows, columns = _TILES.get(device.type, _TILE)
        rows, columns = min(rows, n), min(columns, v)
        least = min(_LEAST[0], n), min(_LEAST[1], v)
        while bytes_of(rows, columns) > limit and (rows, columns) != least:
            if columns > least[1] and (columns >= rows or rows == least[0]):
                columns = max(least[1], columns // 2)
            else:
                rows = max(least[0], rows // 2)
        return rows, columns

    def fits(rows: int, columns: int) -> int:
        whole = (budget - bytes_of(rows, columns)) // (logits.itemsize * v)
        return n if whole >= n else max(0, whole // rows * rows)

    rows, columns = largest(budget)
    if (needs := bytes_of(rows, columns)) > budget:
        raise ValueError(
            f"workspace_mb={workspace_mb:g} holds no tile of {rows} x {columns} logits; it needs "
            f"{needs / _MIB:.3g}. Use workspace_mb=512."
        )
    if keep != "auto":
        return Tiling(n, v, rows, columns, n if keep == "True" else 0)
    smaller = largest(budget // 2)
    if fits(*smaller) >= n * _WORTH:  # small tiles only where there is something to gain
        rows, columns = smaller
    return Tiling(n, v, rows, columns, fits(rows, columns))


def tile_bytes(
    rows: int,
    columns: int,
    h: int,
    dtype: torch.dtype,
    device: torch.device,
    *,
    logits: torch.dtype = torch.float32,
    ref_h: int = 0,
) -> int:
    """Return what working on a tile takes, forward and backward, beside the gradients.

    Its logits and their gradient, the fp32 sum of the head's gradient, rows that are picked and
    the product of theirs, and casts where the device needs them.
    """
    alone = native(dtype, device)
    each = logits.itemsize * (2 if ref_h else 1) + (dtype.itemsize if alone else 4)
    if logits != torch.float32 and not (logits == dtype and device.type in _TILES):
        each += 4  # what is rounded to them
    taken = rows * columns * each + 4 * columns * h
    taken += rows * (4 * h + dtype.itemsize * (h + ref_h))
    return taken if alone else taken + 4 * (rows + columns) * max(h, ref_h)


def native(dtype: torch.dtype, device: torch.device) -> bool:
    """Whether the device multiplies this dtype into fp32 by itself."""
    return dtype == torch.float32 or device.type in _TILES


def autocast(
    hidden: Tensor, weight: Tensor, bias: Tensor | None
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Cast a head and its input as autocast would, where it is on."""
    if not torch.is_autocast_enabled(hidden.device.type):
        return hidden, weight, bias
    dtype = torch.get_autocast_dtype(hidden.device.type)
    return hidden.to(dtype), weight.to(dtype), None if bias is None else bias.to(dtype)


def multiply(a: Tensor, b: Tensor, out: Tensor) -> Tensor:
    """Write ``a @ b`` into ``out`` and round it once, to the dtype of ``out``."""
    one = a.dtype == b.dtype == out.dtype
    if one and (out.dtype == torch.float32 or out.device.type in _TILES):
        return torch.mm(a, b, out=out)
    if out.dtype != torch.float32:
        return out.copy_(multiply(a, b, torch.empty_like(out, dtype=torch.float32)))
    if a.dtype == b.dtype and native(a.dtype, a.device):
        return torch.mm(a, b, out_dtype=torch.float32, out=out)
    return torch.mm(a.float(), b.float(), out=out)


def accumulate(sum_: Tensor, a: Tensor, b: Tensor) -> None:
    """Add ``a @ b`` to ``sum_``, fp32, without rounding to the dtype of ``a`` and ``b``."""
    if a.dtype == b.dtype == torch.float32:
        sum_.addmm_(a, b)
    elif a.dtype == b.dtype and native(a.dtype, a.device):
        torch.addmm(sum_, a, b, out_dtype=torch.float32, out=sum_)
    else:
        sum_.addmm_(a.float(), b.float())
