"""The algorithm compiled by Triton: each logit is read once, and once more for its gradient."""

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
import triton
from torch import Tensor

from divreg_kernels import triton_fold, triton_grad
from divreg_kernels.state import State
from divreg_kernels.transform import Transform

WIDTH = 8192  # columns of a part, where rows are too few to fill a device and are split
ROWS_PER_PROCESSOR = 8  # from here on they are not; with 0, none is, whatever their number
PROCESSORS = 1  # of a device that does not say how many it has
_VECTOR = 16  # bytes


def fold(tile: Tensor, targets: Tensor, start: int, state: State, transform: Transform) -> State:
    """Add the columns of a tile to a state; see :func:`divreg_kernels.torch_backend.fold`.

    For a target that is in no tile nothing is read, and the state's ``target`` stays -inf.

    Raises:
        ValueError: If the tile's rows are not contiguous.
    """
    _check(tile)
    n, v = tile.shape
    vector = _VECTOR // tile.element_size()
    parts = _parts(n, v, tile.device)
    out = torch.empty(triton_fold.FIELDS, n, parts, device=tile.device, dtype=torch.float32)
    held = state.max, state.tail, state.t, state.target, state.above, state.u, state.q, state.w
    number, per_row = _scale(state.scale, unused=out)
    flags = {
        "PER_ROW": isinstance(state.scale, Tensor),
        "MOMENTS": state.moments,
        "RANK": state.above is not None,
    }
    read: Any = triton_fold.fold_kernel[n, parts]
    merge: Any = triton_fold.merge_kernel[n,]
    with _on(tile.device):
        read(
            tile, tile.stride(0), tile.data_ptr() // tile.element_size() % vector,
            targets.contiguous(), start, v, v if parts == 1 else WIDTH,
            *(out if x is None else x.contiguous() for x in held), out,
            number, per_row, *_cap(transform), SOFTCAP=transform.softcap is not None,
            VEC=vector, ALIGNED=_aligned(tile), **flags,
            num_warps=triton_fold.WARPS, num_stages=1, enable_fp_fusion=True,
        )  # fmt: skip
        if parts > 1:
            whole = out.new_empty(triton_fold.FIELDS, n, 1)
            merge(
                out, whole, parts, number, per_row, PARTS=triton.next_power_of_2(parts), **flags,
                num_warps=1,
            )  # fmt: skip
            out = whole
    largest, tail, t, target, above, *moments = out.squeeze(2).unbind()
    return State(
        largest, tail, t, target, state.scale,
        above if flags["RANK"] else None, *(moments if flags["MOMENTS"] else (None,) * 3),
    )  # fmt: skip


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

    See :func:`divreg_kernels.torch_backend.grad`.

    Raises:
        ValueError: If the rows of the tile or of ``out`` are not contiguous.
    """
    _check(tile)
    _check(out)
    n, v = tile.shape
    number, per_row = _scale(transform.scale, unused=largest)
    write: Any = triton_grad.grad_kernel[n, triton.cdiv(v, triton_grad.BLOCK)]
    with _on(tile.device):
        write(
            tile, tile.stride(0), out, out.stride(0), targets.contiguous(), start, v,
            largest.contiguous(), log_sum.contiguous(), coefficients.contiguous(),
            number, per_row, transform.logit_scale, *_cap(transform),
            SOFTCAP=transform.softcap is not None, TERMS=terms,
            VEC=_VECTOR // min(tile.element_size(), out.element_size()),
            ALIGNED=_aligned(tile) and _aligned(out),
            PER_ROW=isinstance(transform.temperature, Tensor),
            BLOCK=triton_grad.BLOCK, num_warps=triton_grad.WARPS, enable_fp_fusion=True,
        )  # fmt: skip
    return out


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
