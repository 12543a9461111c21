"""``linear_token_stats``: the same statistics from hidden states, without the logits in memory."""

from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor, library

from divreg_kernels import backends, gradient
from divreg_kernels.matmul import Tiling, accumulate, autocast, multiply, native, tiling
from divreg_kernels.state import State, empty, finish
from divreg_kernels.stats import (
    MOMENTS,
    NAMES,
    TokenStats,
    as_arguments,
    as_transform,
    checked,
    nothing,
    selected,
)

KEEP = ("auto", True, False)


def linear_token_stats(
    hidden: Tensor,
    weight: Tensor,
    targets: Tensor,
    *,
    bias: Tensor | None = None,
    temperature: float | Tensor = 1.0,
    softcap: float | None = None,
    logit_scale: float = 1.0,
    mask: Tensor | None = None,
    stats: Sequence[str] = ("logp", "entropy"),
    workspace_mb: float = 512.0,
    keep_logits: Literal["auto"] | bool = "auto",
    skip_zero_rows: bool = True,
    backend: backends.Backend = "auto",
) -> TokenStats:
    """Compute :func:`divreg_kernels.token_stats` of ``hidden @ weight.T + bias``, tile by tile.

    The matrix products are the vendor's, of the inputs as they are, into fp32: logits are never
    rounded to 16 bits. What the backward needs of the logits it keeps as far as the workspace
    reaches and computes again beyond: 6 N H V operations where all are kept, 8 where none are.
    Sums over tiles are fp32, rounded once. Rows whose gradient is exactly 0 (masked, clipped,
    without advantage) cost nothing in the backward.

    Args:
        hidden: ``(..., h)`` in fp32, bf16 or fp16.
        weight: ``(v, h)``, of the same dtype.
        targets: ``(...)``, the token of each row; -100 means none, as ``mask`` False does.
        bias: ``(v,)``.
        temperature: Divides the logits; a number, or ``(...)``, > 0.
        softcap: ``c tanh(x / c)`` of the logits after ``logit_scale``, before ``temperature``.
        logit_scale: Multiplies the logits first, > 0.
        mask: ``(...)``, True where there is a token: elsewhere all statistics are 0.
        stats: Names of :class:`TokenStats`, but ``rank``, ``topk_*`` and ``ref_kl``.
        workspace_mb: What tiles and kept logits may take, MiB, beside the gradients themselves.
        keep_logits: ``auto`` keeps what fits; True all, whatever it takes; False none.
        skip_zero_rows: Leave rows without gradient out of the backward: one look at the gradients,
            which on a GPU waits for it.
        backend: ``auto``, ``triton`` or ``torch``; see :func:`divreg_kernels.last_backend`.

    Raises:
        ValueError: For shapes or dtypes that do not fit, an unknown statistic, a workspace that
            holds no tile, or a backend that cannot run here.
    """
    if (
        hidden.shape[:-1] != targets.shape
        or weight.dim() != 2
        or hidden.shape[-1:] != weight.shape[1:]
    ):
        raise ValueError(
            f"linear_token_stats needs hidden (..., h), weight (v, h) and targets (...); got "
            f"{tuple(hidden.shape)}, {tuple(weight.shape)} and {tuple(targets.shape)}."
        )
    if keep_logits not in KEEP:
        raise ValueError(f"keep_logits needs 'auto', True or False; got {keep_logits!r}.")
    names = tuple(name for name in NAMES if name != "rank")
    transform = checked(
        "linear_token_stats", stats, names, temperature, softcap, logit_scale, targets
    )
    hidden, weight, bias = autocast(hidden, weight, bias)
    if hidden.dtype != weight.dtype:
        raise ValueError(
            f"linear_token_stats needs one dtype; hidden has {hidden.dtype}, weight "
            f"{weight.dtype}. Cast one, or use autocast."
        )
    if targets.numel() == 0:
        return nothing(stats, hidden.float().sum(-1) + 0 * weight.float().sum())
    learns = torch.is_grad_enabled() and (hidden.requires_grad or weight.requires_grad)
    values = torch.ops.divreg_kernels.linear_token_stats(
        hidden.reshape(-1, hidden.shape[-1]).contiguous(), weight, bias,
        targets.reshape(-1).clamp(min=0), *as_arguments(transform),
        any(name in MOMENTS for name in stats), workspace_mb,
        str(keep_logits if learns else False), skip_zero_rows, backend,
    )  # fmt: skip
    return selected(dict(zip(NAMES, values, strict=False)), stats, targets, mask)


@library.custom_op("divreg_kernels::linear_token_stats", mutates_args=())
def _linear_token_stats(
    hidden: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    targets: Tensor,
    temperature: float,
    temperatures: Tensor | None,
    softcap: float | None,
    logit_scale: float,
    moments: bool,
    workspace_mb: float,
    keep_logits: str,
    skip_zero_rows: bool,  # noqa: ARG001
    backend: str,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    module = backends.choose(backend, hidden.device)
    transform = as_transform(temperature, temperatures, softcap, logit_scale)
    cut = _cut(hidden, weight, workspace_mb, keep_logits)
    kept = hidden.new_empty((cut.kept, cut.v), dtype=torch.float32)
    buffer = hidden.new_empty(cut.rows * cut.columns, dtype=torch.float32)
    states = []
    for rows in cut.row_blocks():
        part = transform.rows(rows)
        state = empty(
            rows.stop - rows.start, part.scale, moments=moments, rank=False, device=hidden.device
        )
        for columns in cut.column_blocks():
            if rows.stop <= cut.kept:
                tile = kept[rows, columns]
            else:
                tile = _view(buffer, rows.stop - rows.start, columns)
            _logits(hidden[rows], weight, bias, columns, tile)
            state = module.fold(tile, targets[rows], columns.start, state, part)
        states.append(state)
    state = State.stacked(states, transform.scale)
    found = finish(state)
    values = [found.get(name, hidden.new_empty(0, dtype=torch.float32)) for name in NAMES]
    return (*values, state.max.clone(), state.log_sum, kept)  # pyright: ignore[reportReturnType]


@_linear_token_stats.register_fake
def _(hidden: Tensor, weight: Tensor, *rest: Any) -> tuple[Tensor, ...]:
    moments, workspace_mb, keep_logits = rest[6:9]
    n = len(hidden)
    skipped = ("rank",) if moments else ("rank", *MOMENTS)
    sizes = [0 if name in skipped else n for name in NAMES] + [n, n]
    values = [hidden.new_empty(size, dtype=torch.float32) for size in sizes]
    cut = _cut(hidden, weight, workspace_mb, keep_logits)
    return (*values, hidden.new_empty((cut.kept, cut.v), dtype=torch.float32))


@library.custom_op("divreg_kernels::linear_token_stats_grad", mutates_args=())
def _linear_token_stats_grad(
    hidden: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    targets: Tensor,
    kept: Tensor,
    largest: Tensor,
    log_sum: Tensor,
    coefficients: Tensor,
    terms: int,
    temperature: float,
    temperatures: Tensor | None,
    softcap: float | None,
    logit_scale: float,
    workspace_mb: float,
    keep_logits: str,
    skip_zero_rows: bool,
    backend: str,
) -> tuple[Tensor, Tensor, Tensor]:
    module = backends.choose(backend, hidden.device)
    transform = as_transform(temperature, temperatures, softcap, logit_scale)
    cut = _cut(hidden, weight, workspace_mb, keep_logits)
    dtype = hidden.dtype if native(hidden.dtype, hidden.device) else torch.float32
    logits = hidden.new_empty(cut.rows * cut.columns, dtype=torch.float32)
    slopes = hidden.new_empty(cut.rows * cut.columns, dtype=dtype)
    dhidden = torch.zeros_like(hidden, dtype=torch.float32)
    dweight = torch.empty_like(weight)
    dbias = weight.new_zeros(0 if bias is None else cut.v, dtype=torch.float32)
    blocks = _live_blocks(cut, coefficients, skip_zero_rows)
    for columns in cut.column_blocks():
        sum_ = weight.new_zeros(
            (columns.stop - columns.start, weight.shape[1]), dtype=torch.float32
        )
        for rows, is_kept in blocks:
            x, part = hidden[rows], transform.rows(rows)
            if is_kept:
                tile = kept[rows, columns]
            else:
                tile = _logits(x, weight, bias, columns, _view(logits, len(x), columns))
            slope = module.grad(
                tile, targets[rows], columns.start, largest[rows], log_sum[rows],
                coefficients[rows], terms, part, _view(slopes, len(x), columns),
            )  # fmt: skip
            accumulate(sum_, slope.T, x)
            if isinstance(rows, slice):
                accumulate(dhidden[rows], slope, weight[columns])
            else:
                dhidden[rows] += multiply(
                    slope, weight[columns], torch.empty_like(x, dtype=torch.float32)
                )
            if bias is not None:
                dbias[columns] += slope.sum(0, dtype=torch.float32)
        dweight[columns] = sum_
    return dhidden.to(hidden.dtype), dweight, dbias if bias is None else dbias.to(bias.dtype)


@_linear_token_stats_grad.register_fake
def _(hidden: Tensor, weight: Tensor, bias: Tensor | None, *_: Any) -> tuple[Tensor, ...]:
    dbias = weight.new_empty(0, dtype=torch.float32) if bias is None else torch.empty_like(bias)
    return torch.empty_like(hidden), torch.empty_like(weight), dbias


def _cut(hidden: Tensor, weight: Tensor, workspace_mb: float, keep_logits: str) -> Tiling:
    n, h = hidden.shape
    return tiling(n, h, len(weight), hidden.dtype, hidden.device, workspace_mb, keep_logits)


def _view(buffer: Tensor, rows: int, columns: slice) -> Tensor:
    width = columns.stop - columns.start
    return buffer[: rows * width].view(rows, width)


def _logits(
    hidden: Tensor, weight: Tensor, bias: Tensor | None, columns: slice, out: Tensor
) -> Tensor:
    multiply(hidden, weight[columns].T, out)
    return out if bias is None else out.add_(bias[columns])


def _live_blocks(
    cut: Tiling, coefficients: Tensor, skip: bool
) -> list[tuple[slice | Tensor, bool]]:
    """Return the rows of each tile that has a gradient, and whether their logits were kept."""
    if skip:
        live = (coefficients != 0).any(1).nonzero().squeeze(1)
        if len(live) < cut.n:
            parts = live[live < cut.kept], live[live >= cut.kept]
            return [
                (block, is_kept)
                for part, is_kept in zip(parts, (True, False), strict=True)
                for block in part.split(cut.rows)
                if len(block)
            ]
    return [(rows, rows.stop <= cut.kept) for rows in cut.row_blocks()]


def _setup(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    hidden, weight, bias, targets, temperature, temperatures, softcap, logit_scale, _, *rest = (
        inputs
    )
    ctx.set_materialize_grads(False)
    ctx.save_for_backward(hidden, weight, bias, targets, temperatures, *output)
    ctx.settings = (temperature, softcap, logit_scale), rest


def _backward(ctx: Any, *grads: Tensor | None) -> tuple[Any, ...]:
    hidden, weight, bias, targets, temperatures, *values = ctx.saved_tensors
    (temperature, softcap, logit_scale), rest = ctx.settings
    given = gradient.given(NAMES, grads)
    if not given:
        return (None,) * 13
    largest, log_sum, kept = values[-3:]
    row = gradient.coefficients(given, dict(zip(NAMES, values, strict=False)))
    dhidden, dweight, dbias = torch.ops.divreg_kernels.linear_token_stats_grad(
        hidden, weight, bias, targets, kept, largest, log_sum, row, gradient.terms(given),
        temperature, temperatures, softcap, logit_scale, *rest,
    )  # fmt: skip
    return dhidden, dweight, None if bias is None else dbias, *(None,) * 10


_linear_token_stats.register_autograd(_backward, setup_context=_setup)
