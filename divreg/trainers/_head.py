"""divreg's loss head: what TRL's returns, and more of each token, exact and in one pass.

TRL's own head stays the default. This one is installed over it, reads hidden states and head from
the same model, and is compared with it before it is used for the first time.
"""

import functools
import logging
import types
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from trl.trainer.utils import FusedCausalLMOutput

from divreg.trainers import _seams

logger = logging.getLogger("divreg")
STATS = ("logp", "entropy", "varentropy", "log_sum_p2", "sum_p2_logp")
EXTRAS = frozenset({"varentropy", "log_sum_p2", "sum_p2_logp"})
# Largest mean difference from TRL's head, nats, by the dtype that it rounds logits to.
_AS_TRL = {torch.float32: 1e-3, torch.float16: 0.02, torch.bfloat16: 0.1}


@dataclass
class HeadOutput(FusedCausalLMOutput):
    """TRL's output with two more fields, each like ``entropy``.

    Attributes:
        varentropy: Variance of the log-probability under the distribution, squared nats.
        sum_p2_logp: Sum of p^2 log p, nats.
    """

    varentropy: Tensor | None = None
    sum_p2_logp: Tensor | None = None


def scores(output: Any) -> dict[str, Tensor]:
    """Return what a head says of each token by the name of the signal, ``(b, t)`` each."""
    found = {
        "logprob": output.log_probs,
        "entropy": output.entropy,
        "varentropy": getattr(output, "varentropy", None),
        "log_sum_p2": output.log_sum_sq_probs,
        "sum_p2_logp": getattr(output, "sum_p2_logp", None),
    }
    return {name: value for name, value in found.items() if value is not None}


def install(model: Any, temperature: float, *, in_fp32: bool = False, top1: bool = False) -> None:
    """Let a model answer ``fused_lm_head=True`` with a :class:`HeadOutput`.

    Args:
        model: The trainer's model, unwrapped, with TRL's head; LoRA adapters stay where they are.
        temperature: Divides the logits.
        in_fp32: Whether hidden states are cast to fp32 first (TRL's ``cast_lm_head_to_fp32``).
        top1: Whether to say if the label is the most likely token, as SFT asks.

    Raises:
        ValueError: For a mixture of experts that trains its router in the loss.
    """
    model = model.get_base_model() if hasattr(model, "get_base_model") else model
    config = model.config.get_text_config()
    if getattr(config, "output_router_logits", False):
        raise ValueError(
            "divreg's head has no loss of routers; got output_router_logits=True. Use head: trl."
        )
    trls = model.forward
    head = _Head({"temperature": temperature, **transform(config)}, in_fp32=in_fp32, top1=top1)

    @functools.wraps(type(model).forward)  # `generate` reads the signature
    def forward(self: Any, *args: Any, fused_lm_head: bool = False, **kwargs: Any) -> Any:
        if not fused_lm_head:
            return trls(*args, **kwargs)
        if not head.compared:
            head.compared = True
            _compare(self, head, trls, args, kwargs)
        return head(self, *args, **kwargs)

    model.forward = types.MethodType(forward, model)


class _Head:
    def __init__(self, settings: dict[str, Any], *, in_fp32: bool = False, top1: bool = False):
        self.settings, self.in_fp32 = settings, in_fp32
        self.stats = (*STATS, "rank") if top1 else STATS
        self.compared = False

    def __call__(
        self,
        model: Any,
        *args: Any,
        labels: Tensor | None = None,
        shift_labels: Tensor | None = None,
        num_items_in_batch: Tensor | int | None = None,
        **kwargs: Any,
    ) -> HeadOutput:
        from divreg_kernels import linear_token_stats

        kwargs["use_cache"] = False
        hidden = model.base_model(*args, **kwargs).last_hidden_state
        if shift_labels is None:
            assert labels is not None
            hidden, labels = hidden[:, :-1], labels[:, 1:]
        else:
            labels = shift_labels
        layer = model.get_output_embeddings()
        hidden, labels = hidden.to(layer.weight.device), labels.to(layer.weight.device)
        mask = labels != -100
        chosen = hidden[mask].float() if self.in_fp32 else hidden[mask]
        off = torch.autocast(chosen.device.type, enabled=False) if self.in_fp32 else nullcontext()
        with off, whole(layer) as (weight, bias):
            found = linear_token_stats(
                chosen, weight, labels[mask], bias=bias, stats=self.stats, **self.settings
            )
        # A scatter keeps the output connected to the model where no label is left.
        rows = {
            name: value.new_zeros(mask.shape).masked_scatter(mask, value)
            for name, value in found.items()
        }
        count = mask.sum().clamp(min=1) if num_items_in_batch is None else num_items_in_batch
        return HeadOutput(
            loss=-rows["logp"].sum() / count,
            log_probs=rows["logp"],
            entropy=rows["entropy"],
            log_sum_sq_probs=rows["log_sum_p2"],
            varentropy=rows["varentropy"],
            sum_p2_logp=rows["sum_p2_logp"],
            is_top1=mask & (rows["rank"] == 0) if "rank" in rows else None,
            label_mask=mask,
        )


def transform(config: Any) -> dict[str, Any]:
    """Return what a model does to its logits: ``softcap`` and ``logit_scale``."""
    softcap = getattr(config, "final_logit_softcapping", None)
    return {"softcap": softcap, "logit_scale": _logit_scale(config)}


def _logit_scale(config: Any) -> float:
    """Return what a model multiplies its logits by, which architectures call different names."""
    for name in ("logit_scale", "output_multiplier", "lm_head_multiplier"):
        if (value := getattr(config, name, None)) is not None:
            return float(value)
    if (value := getattr(config, "logits_scaling", None)) is not None:
        return float(value if config.model_type == "hyperclovax" else 1 / value)
    return 1.0


@contextmanager
def whole(layer: nn.Module) -> Iterator[tuple[Tensor, Tensor | None]]:
    """Yield weight and bias of the head, gathered where they are sharded, for the backward too."""
    weight: Any = layer.weight
    bias: Any = getattr(layer, "bias", None)
    if hasattr(weight, "full_tensor"):  # FSDP2
        yield weight.full_tensor(), None if bias is None else bias.full_tensor()
        return
    if not hasattr(weight, "ds_id"):
        yield weight, bias
        return

    def pack(x: Tensor) -> Any:
        return layer if x is weight else x  # ZeRO-3 empties it once the forward is over

    def unpack(x: Any) -> Tensor:
        if x is not layer:
            return x
        with _seams.gathered_head(weight):
            return weight.detach().clone()

    with (
        _seams.gathered_head(weight, bias),
        torch.autograd.graph.saved_tensors_hooks(pack, unpack),
    ):
        yield weight, bias


def _compare(model: Any, head: _Head, trls: Any, args: Any, kwargs: dict[str, Any]) -> None:
    """Score one batch with both heads.

    Raises:
        RuntimeError: If they differ by more than rounding: the model does something to its logits
            that divreg does not know.
    """
    with _seams.evaluating(model), torch.no_grad():  # dropout would draw twice
        ours = head(model, *args, **kwargs)
        theirs = trls(*args, fused_lm_head=True, **kwargs)
    assert ours.label_mask is not None
    dtype = multiplied_in(model.get_output_embeddings().weight)
    for name in ("log_probs", "entropy"):
        values = getattr(ours, name), getattr(theirs, name)
        same(name, *values, ours.label_mask, dtype, "head: trl")


def multiplied_in(weight: Tensor) -> torch.dtype:
    """Return the dtype that TRL's head rounds logits to: autocast's where it is on."""
    kind = weight.device.type
    return torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else weight.dtype


def same(
    name: str, ours: Tensor, theirs: Tensor, mask: Tensor, dtype: torch.dtype, cure: str
) -> None:
    """Compare what two heads say of tokens, ``(b, t)`` each.

    Raises:
        RuntimeError: If they differ by more than the rounding of a head of ``dtype``; ``cure`` is
            what to use instead.
    """
    off = float((ours - theirs).abs().sum() / mask.sum().clamp(min=1))
    if not off <= _AS_TRL.get(dtype, _AS_TRL[torch.bfloat16]):
        raise RuntimeError(
            f"divreg's head needs the {name} of TRL's; they differ by {off:.3g} nats a token "
            f"on the first batch. Use {cure}, and tell us which model this is."
        )
