"""The algorithm compiled by Triton: each logit is read once, and once more for its gradient."""

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
import triton
from torch import Tensor

from divreg_kernels import triton_fold, triton_grad, triton_merge, triton_top
from divreg_kernels.state import State, finish
from divreg_kernels.transform import Transform

__all__ = ["finish", "fold", "grad"]

WIDTH = 8192  # columns of a part, where rows are too few to fill a device and are split
ROWS_PER_PROCESSOR = 8  # from here on they are not; with 0, none is, whatever their number
PROCESSORS = 1  # of a device that does not say how many it has
LISTED = 32  # most tokens that are looked for in the lists of the lanes
_VECTOR = 16  # bytes


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
    """Add the columns of a tile to a state; see :func:`divreg_kernels.torch_backend.fold`.

    For a target that is in no tile nothing is read, and the state's ``target`` stays -inf.

    Raises:
        ValueError: If the tile's rows are not contiguous.
    """
    _check(tile)
    if ref is not None:
        _check(ref)
    n, v = tile.shape
    vector = _VECTOR // tile.element_size()
    parts = 1 if batch_invariant else _parts(n, v, tile.device)
    out = torch.empty(triton_merge.FIELDS, n, parts, device=tile.device, dtype=torch.float32)
    lists = out
    listed = 0 < state.topk <= min(LISTED, v)
    if listed:
        lists = out.new_empty(n, parts, triton_top.KEPT.value, triton_fold.LANES.value)
    held = (
        state.max, state.tail, state.t, state.target, state.above, state.u, state.q, state.w,
        state.ref_max, state.ref_tail, state.cross,
    )  # fmt: skip
    number, per_row = _scale(state.scale, unused=out)
    flags = {
        "PER_ROW": isinstance(state.scale, Tensor),
        "MOMENTS": state.moments,
        "RANK": state.above is not None,
        "PAIR": ref is not None,
    }
    read: Any = triton_fold.fold_kernel[n, parts]
    merge: Any = triton_merge.merge_kernel[n,]
    with _on(tile.device):
        read(
            tile, tile.stride(0), tile.data_ptr() // tile.element_size() % vector,
            targets.contiguous(), start, v, v if parts == 1 else WIDTH,
            *(out if x is None else x.contiguous() for x in held), out,
            tile if ref is None else ref, 0 if ref is None else ref.stride(0), lists,
            number, per_row, *_cap(transform), SOFTCAP=transform.softcap is not None,
            VEC=vector, ALIGNED=_aligned(tile) and (ref is None or _aligned(ref)),
            TOPK=listed, **flags,
            num_warps=triton_fold.WARPS, num_stages=1, enable_fp_fusion=True,
        )  # fmt: skip
        if parts > 1:
            whole = out.new_empty(triton_merge.FIELDS, n, 1)
            merge(
                out, whole, parts, number, per_row, PARTS=triton.next_power_of_2(parts), **flags,
                num_warps=1,
            )  # fmt: skip
            out = whole
    planes: list[Any] = list(out.squeeze(2).unbind())
    largest, tail, t, target, above, *rest = planes
    moments = rest[:3] if flags["MOMENTS"] else [None] * 3
    of_reference = rest[3:] if flags["PAIR"] else [None] * 3
    top = None
    if state.top is not None:
        top = _top(tile, state.top, lists if listed else None, transform)
    held = [above if flags["RANK"] else None, *moments, top, *of_reference]
    return State(largest, tail, t, target, state.scale, *held)


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
    ref: tuple[Tensor, Tensor, Tensor] | None = None,
) -> Tensor:
    """Write the gradient of a tile's logits into ``out``, which may be the tile itself.

    See :func:`divreg_kernels.torch_backend.grad`.

    Raises:
        ValueError: If the rows of the tile or of ``out`` are not contiguous.
    """
    _check(tile)
    _check(out)
    n, v = tile.shape
    number, per_row = _scale(transform.scale, unused=largest)
    beside, ref_largest, ref_log_sum = ref or (tile, largest, log_sum)
    _check(beside)
    write: Any = triton_grad.grad_kernel[n, triton.cdiv(v, triton_grad.BLOCK)]
    with _on(tile.device):
        write(
            tile, tile.stride(0), out, out.stride(0), targets.contiguous(), start, v,
            largest.contiguous(), log_sum.contiguous(), coefficients.contiguous(),
            beside, beside.stride(0), ref_largest.contiguous(), ref_log_sum.contiguous(),
            number, per_row, transform.logit_scale, *_cap(transform),
            SOFTCAP=transform.softcap is not None, TERMS=terms,
            VEC=_VECTOR // min(tile.element_size(), out.element_size()),
            ALIGNED=all(_aligned(x) for x in (tile, beside, out)),
            PER_ROW=isinstance(transform.temperature, Tensor), PAIR=ref is not None,
            BLOCK=triton_grad.BLOCK, num_warps=triton_grad.WARPS, enable_fp_fusion=True,
        )  # fmt: skip
    return out


def _top(tile: Tensor, before: Tensor, lists: Tensor | None, transform: Transform) -> Tensor:
    """Return the largest logits of a tile and of what was seen before, in order.

    Where a lane's list ends above the last of them, it may have had more: such rows are sorted.
    """
    k = before.shape[1]
    if lists is None:
        top = tile.topk(min(k, tile.shape[1])).values.float()
    else:
        top = lists.flatten(1).topk(k).values
        cut = (lists[:, :, -1] > top[:, -1, None, None]).any(2).any(1).nonzero().squeeze(1)
        if len(cut):
            top[cut] = tile[cut].topk(k).values.float()
    return torch.cat([before, transform.capped(top)], 1).topk(k).values


def _parts(n: int, v: int, device: torch.device) -> int:
    if n >= ROWS_PER_PROCESSOR * _processors(device):
        return 1
    return -(-v // WIDTH)


def _processors(device: torch.device) -> int:
    if device.type == "cpu":
        return PROCESSORS
    properties = torch.get_device_module(device).get_device_properties(device)
    return getattr(properties, "multi_processor_count", PROCESSORS)


def _on(device: torch.device) -> AbstractContextManager:
    """Make a device the current one: Triton launches there, wherever the tensors are."""
    return nullcontext() if device.type == "cpu" else torch.get_device_module(device).device(device)


def _check(x: Tensor) -> None:
    if x.dim() != 2 or (x.stride(1) != 1 and x.shape[1] > 1):
        raise ValueError(
            f"the Triton kernels need (n, v) with contiguous rows; got {tuple(x.shape)} with "
            f"strides {x.stride()}. Use x.contiguous()."
        )


def _aligned(x: Tensor) -> bool:
    """Whether every row begins and ends at a 16-byte boundary."""
    size = x.element_size()
    return all(at % _VECTOR == 0 for at in (x.data_ptr(), x.stride(0) * size, x.shape[1] * size))


def _scale(scale: Tensor | float, unused: Tensor) -> tuple[float, Tensor]:
    return (1.0, scale.contiguous()) if isinstance(scale, Tensor) else (scale, unused)


def _cap(transform: Transform) -> tuple[float, float]:
    """Return what multiplies a logit before the tanh, and the tanh after it."""
    softcap = transform.softcap or 1.0
    return transform.logit_scale / softcap, softcap
