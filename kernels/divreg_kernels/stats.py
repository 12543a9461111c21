"""``token_stats``: log-prob, entropy and what else a row of logits says, in one pass."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import Tensor, library

from divreg_kernels import backends, gradient
from divreg_kernels.state import State, empty
from divreg_kernels.transform import Transform

IGNORED = -100  # a target that is no token, as everywhere in torch
PLAIN = ("logp", "entropy", "lse", "p_max")
MOMENTS = ("varentropy", "log_sum_p2", "sum_p2_logp")
TOP = ("topk_mass", "topk_entropy")
NAMES: tuple[str, ...] = (*PLAIN, *MOMENTS, "rank", *TOP, "ref_kl")  # what operators return
ON_REQUEST = (*PLAIN, *MOMENTS, "rank")  # the others come with an argument of their own
_ARGUMENTS = {
    **dict.fromkeys(TOP, "topk=10"),
    "ref_kl": "ref=(hidden, head) of linear_token_stats",
}


# What `_token_stats` returns: NAMES, the largest logit, log S.
Values = tuple[
    Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor,
    Tensor, Tensor,
]  # fmt: skip


@dataclass(frozen=True)
class TokenStats:
    """Statistics of next-token distributions p, ``(...)`` each; fp32, None where not asked for.

    Attributes:
        logp: Log-probability of the target, nats.
        entropy: Entropy H of p, nats.
        lse: Log of the normaliser, nats.
        varentropy: Variance of log p under p, squared nats.
        log_sum_p2: Log of the collision mass, the sum of p^2; its negative is the Renyi-2 entropy.
        sum_p2_logp: Sum of p^2 log p, nats.
        p_max: Probability of the most likely token; no gradient.
        rank: Tokens that are more likely than the target; no gradient.
        topk_mass: Probability of the ``topk`` most likely tokens; no gradient.
        topk_entropy: Entropy among them, renormalised, nats; no gradient.
        ref_kl: KL(p, ``ref``), nats.
    """

    logp: Tensor | None = None
    entropy: Tensor | None = None
    lse: Tensor | None = None
    varentropy: Tensor | None = None
    log_sum_p2: Tensor | None = None
    sum_p2_logp: Tensor | None = None
    p_max: Tensor | None = None
    rank: Tensor | None = None
    topk_mass: Tensor | None = None
    topk_entropy: Tensor | None = None
    ref_kl: Tensor | None = None

    def items(self) -> list[tuple[str, Tensor]]:
        """Return the names and values that were asked for."""
        found = [(field.name, getattr(self, field.name)) for field in fields(self)]
        return [(name, value) for name, value in found if value is not None]

    def detach(self) -> "TokenStats":
        """Return the same without gradient."""
        return TokenStats(**{name: value.detach() for name, value in self.items()})


def token_stats(
    logits: Tensor,
    targets: Tensor,
    *,
    temperature: float | Tensor = 1.0,
    softcap: float | None = None,
    logit_scale: float = 1.0,
    mask: Tensor | None = None,
    stats: Sequence[str] = ("logp", "entropy"),
    topk: int | None = None,
    inplace_backward: bool = False,
    batch_invariant: bool = False,
    backend: backends.Backend = "auto",
) -> TokenStats:
    """Compute statistics of the softmax of logits in one pass over them, with gradients in another.

    Logits may be -inf: such a token has probability 0, and gradient 0 unless it is the target. (A
    ``softcap`` makes it finite first, here as in torch.) NaN and +inf make their row NaN and no
    other; so does a row that is -inf everywhere, as in torch.

    Args:
        logits: ``(..., v)`` in fp32, bf16 or fp16; the arithmetic is fp32.
        targets: ``(...)``, the token of each row; -100 means none, as ``mask`` False does.
        temperature: Divides the logits; a number, or ``(...)``, > 0.
        softcap: ``c tanh(x / c)`` of the logits after ``logit_scale``, before ``temperature``.
        logit_scale: Multiplies the logits first, > 0.
        mask: ``(...)``, True where there is a token: elsewhere all statistics are 0, and the
            gradient is exactly 0.
        stats: Names of :class:`TokenStats` but ``topk_*``, ``ref_kl``; more than ``logp``,
            ``entropy``, ``lse`` and ``p_max`` cost a few instructions an element, not a byte.
        topk: How many most likely tokens ``topk_mass`` and ``topk_entropy`` are about.
        inplace_backward: Write the gradient over the logits, which nobody may need any more.
        batch_invariant: Let no bit of a row's statistics depend on how many rows there are; a few
            rows alone take longer on a GPU then, as they are not split.
        backend: ``auto``, ``triton`` or ``torch``; see :func:`divreg_kernels.last_backend`.

    Raises:
        ValueError: For shapes that do not fit, an unknown statistic, a temperature that is not
            positive, or a backend that cannot run here.

    Source:
        Online softmax: Milakov and Gimelshein, arXiv:1805.02867, extended to five sums.
    """
    if logits.shape[:-1] != targets.shape or logits.dim() < 1:
        raise ValueError(
            f"token_stats needs logits (..., v) and targets (...); got {tuple(logits.shape)} and "
            f"{tuple(targets.shape)}. Shift them before the call."
        )
    transform = checked("token_stats", stats, topk, temperature, softcap, logit_scale, targets)
    stats = [*stats, *(TOP if topk else ())]
    if targets.numel() == 0:
        return nothing(stats, logits.float().sum(-1))
    flat = logits.reshape(-1, logits.shape[-1])
    flat = flat if flat.stride(-1) == 1 else flat.contiguous()
    values = torch.ops.divreg_kernels.token_stats(
        flat, targets.reshape(-1).clamp(min=0), *as_arguments(transform),
        any(name in MOMENTS for name in stats), "rank" in stats, topk or 0, inplace_backward,
        batch_invariant, backend,
    )  # fmt: skip
    return selected(dict(zip(NAMES, values, strict=False)), stats, targets, mask)


def checked(
    function: str,
    stats: Sequence[str],
    topk: int | None,
    temperature: float | Tensor,
    softcap: float | None,
    logit_scale: float,
    targets: Tensor,
) -> Transform:
    """Return the transform of flat rows.

    Raises:
        ValueError: For a statistic that nobody can ask for by name, a k below 1, or a transform
            that cannot be.
    """
    for name in stats:
        if name not in ON_REQUEST:
            cure = f"Use {_ARGUMENTS[name]}." if name in _ARGUMENTS else ""
            raise ValueError(
                f"{function} has {', '.join(ON_REQUEST)}; got {name!r} in stats. {cure}".rstrip()
            )
    if topk is not None and topk < 1:
        raise ValueError(f"topk needs at least 1; got {topk}. Use topk=10.")
    if isinstance(temperature, Tensor):
        temperature = temperature.detach().float().expand(targets.shape).reshape(-1)
    transform = Transform(temperature, softcap, logit_scale)
    transform.check()
    return transform


def selected(
    found: Mapping[str, Tensor], stats: Sequence[str], targets: Tensor, mask: Tensor | None
) -> TokenStats:
    """Return what was asked for in the shape of the targets, 0 where there is no token."""
    keep = is_token(targets, mask)
    smooth = {name: x if name in gradient.SMOOTH else x.detach() for name, x in found.items()}
    return TokenStats(
        **{name: torch.where(keep, smooth[name].view(targets.shape), 0) for name in stats}
    )


def is_token(targets: Tensor, mask: Tensor | None) -> Tensor:
    """Return where there is a token."""
    return targets != IGNORED if mask is None else mask & (targets != IGNORED)


def nothing(stats: Sequence[str], empty_: Tensor) -> TokenStats:
    """Return the statistics of no rows, connected to the tensors that ``empty_`` came from."""
    return TokenStats(**{name: empty_ for name in stats})


def as_arguments(transform: Transform) -> tuple[float, Tensor | None, float | None, float]:
    """Return a transform as operators take it."""
    if isinstance(transform.temperature, Tensor):
        return 1.0, transform.temperature, transform.softcap, transform.logit_scale
    return float(transform.temperature), None, transform.softcap, transform.logit_scale


def as_transform(
    temperature: float, temperatures: Tensor | None, softcap: float | None, logit_scale: float
) -> Transform:
    """Return the transform of an operator's arguments."""
    return Transform(temperature if temperatures is None else temperatures, softcap, logit_scale)


def as_values(found: Mapping[str, Tensor]) -> list[Tensor]:
    """Return the statistics that operators return, empty where they were not asked for."""
    like = found["logp"]
    return [found[name] if name in found else like.new_empty(0) for name in NAMES]


def fake_values(
    like: Tensor, *, moments: bool, rank: bool, topk: int, reference: bool = False
) -> list[Tensor]:
    """Return tensors of the shapes that :func:`as_values` gives rows such as ``like``."""
    asked = {
        **dict.fromkeys(PLAIN, True), **dict.fromkeys(MOMENTS, moments), "rank": rank,
        **dict.fromkeys(TOP, topk > 0), "ref_kl": reference,
    }  # fmt: skip
    return [like.new_empty(len(like) * asked[name], dtype=torch.float32) for name in NAMES]


@library.custom_op("divreg_kernels::token_stats", mutates_args=())
def _token_stats(
    logits: Tensor,
    targets: Tensor,
    temperature: float,
    temperatures: Tensor | None,
    softcap: float | None,
    logit_scale: float,
    moments: bool,
    rank: bool,
    topk: int,
    inplace: bool,  # noqa: ARG001
    batch_invariant: bool,
    backend: str,
) -> Values:
    module = backends.choose(backend, logits.device)
    transform = as_transform(temperature, temperatures, softcap, logit_scale)
    before = empty(
        len(logits), transform.scale, moments=moments, rank=rank, topk=topk, device=logits.device
    )
    state: State = module.fold(
        logits, targets, 0, before, transform, batch_invariant=batch_invariant
    )
    found = module.finish(state)
    return (*as_values(found), state.max.clone(), state.log_sum)  # pyright: ignore[reportReturnType]


@_token_stats.register_fake
def _(logits: Tensor, *rest: Any) -> tuple[Tensor, ...]:
    moments, rank, topk = rest[5:8]
    values = fake_values(logits, moments=moments, rank=rank, topk=topk)
    return (*values, *(logits.new_empty(len(logits), dtype=torch.float32) for _ in range(2)))


@library.custom_op("divreg_kernels::token_stats_grad", mutates_args=())
def _token_stats_grad(
    logits: Tensor,
    targets: Tensor,
    largest: Tensor,
    log_sum: Tensor,
    coefficients: Tensor,
    terms: int,
    temperature: float,
    temperatures: Tensor | None,
    softcap: float | None,
    logit_scale: float,
    backend: str,
) -> Tensor:
    module = backends.choose(backend, logits.device)
    transform = as_transform(temperature, temperatures, softcap, logit_scale)
    return module.grad(
        logits, targets, 0, largest, log_sum, coefficients, terms, transform,
        torch.empty_like(logits),
    )  # fmt: skip


@_token_stats_grad.register_fake
def _(logits: Tensor, *_: Any) -> Tensor:
    return torch.empty_like(logits)


def _setup(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    logits, targets, temperature, temperatures, softcap, logit_scale, *_ = inputs
    inplace, _, backend = inputs[-3:]
    ctx.set_materialize_grads(False)
    ctx.save_for_backward(logits, targets, temperatures, *output)
    ctx.settings = temperature, softcap, logit_scale, inplace, backend


def _backward(ctx: Any, *grads: Tensor | None) -> tuple[Any, ...]:
    logits, targets, temperatures, *values = ctx.saved_tensors
    temperature, softcap, logit_scale, inplace, backend = ctx.settings
    given = gradient.given(NAMES, grads)
    if not given:
        return (None,) * 12
    found = dict(zip(NAMES, values, strict=False))
    row = gradient.coefficients(given, found)
    rest = (values[-2], values[-1], row, gradient.terms(given))
    if inplace:
        transform = as_transform(temperature, temperatures, softcap, logit_scale)
        module = backends.choose(backend, logits.device)
        with torch.no_grad():
            dlogits = module.grad(logits, targets, 0, *rest, transform, logits)
    else:
        dlogits = torch.ops.divreg_kernels.token_stats_grad(
            logits, targets, *rest, temperature, temperatures, softcap, logit_scale, backend
        )
    return dlogits, *(None,) * 11


_token_stats.register_autograd(_backward, setup_context=_setup)
