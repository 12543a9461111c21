"""``linear_token_stats``: the same statistics from hidden states, without the logits in memory."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal

import torch
import torch.distributed as dist
from torch import Tensor, library

from divreg_kernels import backends, gradient, ranks
from divreg_kernels.matmul import Tiling, accumulate, autocast, multiply, native, tiling
from divreg_kernels.state import State, empty
from divreg_kernels.stats import (
    MOMENTS,
    NAMES,
    TOP,
    TokenStats,
    as_arguments,
    as_transform,
    as_values,
    checked,
    fake_values,
    nothing,
    selected,
)
from divreg_kernels.transform import Transform

KEEP = ("auto", True, False)
LOGITS = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}

# What `_linear_token_stats` returns: NAMES, the largest logit and log S, both of the reference,
# and the logits that were kept.
Values = tuple[
    Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor,
    Tensor, Tensor, Tensor, Tensor, Tensor,
]  # fmt: skip


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
    topk: int | None = None,
    ref: tuple[Tensor, Tensor] | tuple[Tensor, Tensor, Tensor] | None = None,
    logits_dtype: Literal["fp32", "bf16", "fp16"] = "fp32",
    workspace_mb: float = 512.0,
    keep_logits: Literal["auto"] | bool = "auto",
    skip_zero_rows: bool = True,
    tp_group: dist.ProcessGroup | None = None,
    vocab_start: int | None = None,
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
        weight: ``(v, h)``, of the same dtype; with ``tp_group`` the rows that this rank holds.
        targets: ``(...)``, the token of each row; -100 means none, as ``mask`` False does.
        bias: ``(v,)``.
        temperature: Divides the logits; a number, or ``(...)``, > 0.
        softcap: ``c tanh(x / c)`` of the logits after ``logit_scale``, before ``temperature``.
        logit_scale: Multiplies the logits first, > 0.
        mask: ``(...)``, True where there is a token: elsewhere all statistics are 0.
        stats: Names of :class:`TokenStats` but ``topk_*``, ``ref_kl``.
        topk: How many most likely tokens ``topk_mass`` and ``topk_entropy`` are about.
        ref: Hidden states ``(..., h')``, head ``(v, h')`` and, if it has one, bias ``(v,)`` of a
            reference, for ``ref_kl``; they get no gradient. Costs 2 N H' V operations, and as many
            again in the backward where ``ref_kl`` has a gradient.
        logits_dtype: What logits are stored in between product and statistics: 16 bits halve that
            traffic, and round every logit.
        workspace_mb: What tiles and kept logits may take, MiB, beside the gradients themselves
            (that of ``hidden`` in fp32 until it is whole).
        keep_logits: ``auto`` keeps what fits; True all, whatever it takes; False none.
        skip_zero_rows: Leave rows without gradient out of the backward: one look at the gradients,
            which on a GPU waits for it.
        tp_group: Ranks that hold the rows of ``weight`` (and ``bias``) between them. All of them
            call, with the same rows, and get the same statistics; gradients of these have to be the
            same too. One gather of some numbers a row forward, one sum of ``hidden``'s gradient.
        vocab_start: The first token whose row this rank holds; rank times ``len(weight)`` where
            None, which is right where all hold as many.
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
    if logits_dtype not in LOGITS:
        raise ValueError(f"logits_dtype needs {', '.join(LOGITS)}; got {logits_dtype!r}.")
    transform = checked(
        "linear_token_stats", stats, topk, temperature, softcap, logit_scale, targets
    )
    hidden, weight, bias = autocast(hidden, weight, bias)
    if hidden.dtype != weight.dtype:
        raise ValueError(
            f"linear_token_stats needs one dtype; hidden has {hidden.dtype}, weight "
            f"{weight.dtype}. Cast one, or use autocast."
        )
    stats = [*stats, *(TOP if topk else ()), *(("ref_kl",) if ref else ())]
    if targets.numel() == 0:
        return nothing(stats, hidden.float().sum(-1) + 0 * weight.float().sum())
    if vocab_start is None:
        vocab_start = ranks.first_column(tp_group, len(weight))
    learns = torch.is_grad_enabled() and (hidden.requires_grad or weight.requires_grad)
    values = torch.ops.divreg_kernels.linear_token_stats(
        hidden.reshape(-1, hidden.shape[-1]).contiguous(), weight, bias,
        targets.reshape(-1).clamp(min=0) - vocab_start, *_reference(ref, targets, weight),
        *as_arguments(transform), any(name in MOMENTS for name in stats), "rank" in stats,
        topk or 0, logits_dtype, workspace_mb, str(keep_logits if learns else False),
        skip_zero_rows, ranks.name_of(tp_group), backend,
    )  # fmt: skip
    return selected(dict(zip(NAMES, values, strict=False)), stats, targets, mask)


def _reference(
    ref: tuple[Tensor, ...] | None, targets: Tensor, weight: Tensor
) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
    """Return flat hidden states, head and bias of a reference, without gradient."""
    if ref is None:
        return None, None, None
    hidden, head, *bias = ref
    if (
        hidden.shape[:-1] != targets.shape
        or len(head) != len(weight)
        or hidden.shape[-1:] != head.shape[1:]
    ):
        raise ValueError(
            f"ref needs hidden states {(*targets.shape, 'h')} and a head ({len(weight)}, h); got "
            f"{tuple(hidden.shape)} and {tuple(head.shape)}."
        )
    flat = hidden.detach().reshape(-1, hidden.shape[-1]).contiguous()
    offset = bias[0].detach() if bias and bias[0] is not None else None
    flat, head, offset = autocast(flat, head.detach(), offset)
    if flat.dtype != head.dtype:
        raise ValueError(
            f"ref needs one dtype; hidden states have {flat.dtype}, the head {head.dtype}. "
            f"Cast one, or use autocast."
        )
    return flat, head, offset


@library.custom_op("divreg_kernels::linear_token_stats", mutates_args=())
def _linear_token_stats(
    hidden: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    targets: Tensor,
    ref_hidden: Tensor | None,
    ref_weight: Tensor | None,
    ref_bias: Tensor | None,
    temperature: float,
    temperatures: Tensor | None,
    softcap: float | None,
    logit_scale: float,
    moments: bool,
    rank: bool,
    topk: int,
    logits_dtype: str,
    workspace_mb: float,
    keep_logits: str,
    skip_zero_rows: bool,  # noqa: ARG001
    group: str,
    backend: str,
) -> Values:
    module = backends.choose(backend, hidden.device)
    transform = as_transform(temperature, temperatures, softcap, logit_scale)
    cut = _cut(hidden, weight, ref_hidden, logits_dtype, workspace_mb, keep_logits)
    tiles = _Tiles(hidden, weight, bias, cut, LOGITS[logits_dtype])
    kept = hidden.new_empty((cut.kept, cut.v), dtype=tiles.dtype)
    ref_tiles = None
    if ref_hidden is not None and ref_weight is not None:
        ref_tiles = _Tiles(ref_hidden, ref_weight, ref_bias, cut, tiles.dtype)
    threshold = None
    if rank:  # of all rows at once: ranks with other shards cut them in another way
        chosen = _chosen(hidden, weight, bias, targets, transform, tiles.dtype)
        threshold = ranks.largest(chosen, group)
    states = []
    for rows in cut.row_blocks():
        part = transform.rows(rows)
        state = empty(
            rows.stop - rows.start, part.scale, moments=moments, rank=rank, topk=topk,
            reference=ref_tiles is not None, device=hidden.device,
        )  # fmt: skip
        target = state.target
        if threshold is not None:
            state = replace(state, target=threshold[rows])
        for columns in cut.column_blocks():
            out = kept[rows, columns] if rows.stop <= cut.kept else None
            tile = tiles.logits(rows, columns, out)
            if threshold is not None:
                target = torch.maximum(target, _found(tile, targets[rows] - columns.start, part))
            state = module.fold(
                tile, targets[rows], columns.start, state, part,
                ref=None if ref_tiles is None else ref_tiles.logits(rows, columns),
            )  # fmt: skip
        states.append(state if threshold is None else replace(state, target=target))
    state = ranks.joined(State.stacked(states, transform.scale), group)
    of_reference = [state.max.new_empty(0), state.max.new_empty(0)]
    if state.reference is not None:
        of_reference = [state.reference[0].clone(), torch.log1p(state.reference[1])]
    values = (*as_values(module.finish(state)), state.max.clone(), state.log_sum, *of_reference)
    return (*values, kept)  # pyright: ignore[reportReturnType]


@_linear_token_stats.register_fake
def _(
    hidden: Tensor, weight: Tensor, _: Any, __: Any, ref_hidden: Tensor | None, *rest: Any
) -> tuple[Tensor, ...]:
    moments, rank, topk, logits_dtype, workspace_mb, keep_logits = rest[6:12]
    reference = ref_hidden is not None
    n = len(hidden)
    values = fake_values(hidden, moments=moments, rank=rank, topk=topk, reference=reference)
    values += [
        hidden.new_empty(size, dtype=torch.float32) for size in (n, n, n * reference, n * reference)
    ]
    cut = _cut(hidden, weight, ref_hidden, logits_dtype, workspace_mb, keep_logits)
    return (*values, hidden.new_empty((cut.kept, cut.v), dtype=LOGITS[logits_dtype]))


@library.custom_op("divreg_kernels::linear_token_stats_grad", mutates_args=())
def _linear_token_stats_grad(
    hidden: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    targets: Tensor,
    ref_hidden: Tensor | None,
    ref_weight: Tensor | None,
    ref_bias: Tensor | None,
    largest: Tensor,
    log_sum: Tensor,
    ref_largest: Tensor,
    ref_log_sum: Tensor,
    kept: Tensor,
    coefficients: Tensor,
    terms: int,
    beside: bool,
    temperature: float,
    temperatures: Tensor | None,
    softcap: float | None,
    logit_scale: float,
    logits_dtype: str,
    workspace_mb: float,
    keep_logits: str,
    skip_zero_rows: bool,
    group: str,
    backend: str,
) -> tuple[Tensor, Tensor, Tensor]:
    module = backends.choose(backend, hidden.device)
    transform = as_transform(temperature, temperatures, softcap, logit_scale)
    cut = _cut(hidden, weight, ref_hidden, logits_dtype, workspace_mb, keep_logits)
    dtype = hidden.dtype if native(hidden.dtype, hidden.device) else torch.float32
    tiles = _Tiles(hidden, weight, bias, cut, LOGITS[logits_dtype])
    ref_tiles = None
    if beside and ref_hidden is not None and ref_weight is not None:
        ref_tiles = _Tiles(ref_hidden, ref_weight, ref_bias, cut, tiles.dtype)
    slopes = hidden.new_empty(cut.rows * cut.columns, dtype=dtype)
    dhidden = torch.zeros_like(hidden, dtype=torch.float32)
    dweight = torch.empty_like(weight)
    dbias = weight.new_zeros(0 if bias is None else cut.v, dtype=torch.float32)
    sums = weight.new_empty((cut.columns, weight.shape[1]), dtype=torch.float32)
    blocks = _live_blocks(cut, coefficients, skip_zero_rows)
    for columns in cut.column_blocks():
        sum_ = sums[: columns.stop - columns.start].zero_()
        for rows, is_kept in blocks:
            x, part = hidden[rows], transform.rows(rows)
            tile = tiles.picked(kept, rows, columns) if is_kept else tiles.logits(rows, columns)
            ref = None
            if ref_tiles is not None:
                ref = ref_tiles.logits(rows, columns), ref_largest[rows], ref_log_sum[rows]
            slope = module.grad(
                tile, targets[rows], columns.start, largest[rows], log_sum[rows],
                coefficients[rows], terms, part, _view(slopes, len(x), columns), ref=ref,
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
    dhidden = ranks.summed(dhidden, group).to(hidden.dtype)
    return dhidden, dweight, dbias if bias is None else dbias.to(bias.dtype)


@_linear_token_stats_grad.register_fake
def _(hidden: Tensor, weight: Tensor, bias: Tensor | None, *_: Any) -> tuple[Tensor, ...]:
    dbias = weight.new_empty(0, dtype=torch.float32) if bias is None else torch.empty_like(bias)
    return torch.empty_like(hidden), torch.empty_like(weight), dbias


class _Tiles:
    """Logits of one head, a tile at a time, in the same memory."""

    def __init__(
        self, hidden: Tensor, weight: Tensor, bias: Tensor | None, cut: Tiling, dtype: torch.dtype
    ):
        self.hidden, self.weight, self.bias, self.dtype = hidden, weight, bias, dtype
        self.size = cut.rows * cut.columns
        self.buffer: Tensor | None = None

    def logits(self, rows: slice | Tensor, columns: slice, out: Tensor | None = None) -> Tensor:
        """Return the logits of some rows and columns, in ``out`` or where the last ones were."""
        x = self.hidden[rows]
        out = self._room(len(x), columns) if out is None else out
        multiply(x, self.weight[columns].T, out)
        return out if self.bias is None else out.add_(self.bias[columns])

    def picked(self, kept: Tensor, rows: slice | Tensor, columns: slice) -> Tensor:
        """Return logits that were kept; rows that are picked lie where the last tile was."""
        if isinstance(rows, slice):
            return kept[rows, columns]
        room = self._room(len(rows), columns)
        return torch.index_select(kept[:, columns], 0, rows, out=room)

    def _room(self, rows: int, columns: slice) -> Tensor:
        if self.buffer is None:
            self.buffer = self.hidden.new_empty(self.size, dtype=self.dtype)
        return _view(self.buffer, rows, columns)


def _view(buffer: Tensor, rows: int, columns: slice) -> Tensor:
    """Return the beginning of a buffer as ``rows`` rows of some columns."""
    width = columns.stop - columns.start
    return buffer[: rows * width].view(rows, width)


def _found(tile: Tensor, local: Tensor, transform: Transform) -> Tensor:
    """Return the targets' logits as a tile has them, capped, -inf for those that it has not."""
    here = (local >= 0) & (local < tile.shape[1])
    logits = tile.gather(1, local.clamp(0, tile.shape[1] - 1).unsqueeze(1)).squeeze(1)
    return torch.where(here, transform.capped(logits), -torch.inf)


def _chosen(
    hidden: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    targets: Tensor,
    transform: Transform,
    dtype: torch.dtype,
) -> Tensor:
    """Return the targets' logits, capped, -inf for those that are not here: ranks count from it."""
    here = (targets >= 0) & (targets < len(weight))
    at = targets.clamp(0, len(weight) - 1)
    few = zip(hidden.split(256), at.split(256), strict=True)
    logits = torch.cat([(x.float() * weight[y].float()).sum(1) for x, y in few])
    if bias is not None:
        logits = logits + bias[at]
    return torch.where(here, transform.capped(logits.to(dtype)), -torch.inf)


def _cut(
    hidden: Tensor,
    weight: Tensor,
    ref_hidden: Tensor | None,
    logits_dtype: str,
    workspace_mb: float,
    keep_logits: str,
) -> Tiling:
    n, h = hidden.shape
    return tiling(
        n, h, len(weight), hidden.dtype, hidden.device, workspace_mb, keep_logits,
        logits=LOGITS[logits_dtype], ref_h=0 if ref_hidden is None else ref_hidden.shape[1],
    )  # fmt: skip


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
    *tensors, temperature, temperatures, softcap, logit_scale = inputs[:11]
    ctx.set_materialize_grads(False)
    ctx.save_for_backward(*tensors, temperatures, *output)
    ctx.settings = (temperature, softcap, logit_scale), inputs[14:]


def _backward(ctx: Any, *grads: Tensor | None) -> tuple[Any, ...]:
    hidden, weight, bias, targets, *ref, temperatures = ctx.saved_tensors[:8]
    values = ctx.saved_tensors[8:]
    (temperature, softcap, logit_scale), rest = ctx.settings
    given = gradient.given(NAMES, grads)
    if not given:
        return (None,) * 20
    row = gradient.coefficients(given, dict(zip(NAMES, values, strict=False)))
    dhidden, dweight, dbias = torch.ops.divreg_kernels.linear_token_stats_grad(
        hidden, weight, bias, targets, *ref, *values[-5:], row, gradient.terms(given),
        "ref_kl" in given, temperature, temperatures, softcap, logit_scale, *rest,
    )  # fmt: skip
    return dhidden, dweight, None if bias is None else dbias, *(None,) * 17


_linear_token_stats.register_autograd(_backward, setup_context=_setup)
