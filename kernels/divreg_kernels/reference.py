"""The judge: every statistic in float64, from the whole softmax, with 0 log 0 = 0."""

import torch
from torch import Tensor

from divreg_kernels.stats import TokenStats


def token_stats_reference(
    logits: Tensor,
    targets: Tensor,
    *,
    temperature: float | Tensor = 1.0,
    softcap: float | None = None,
    logit_scale: float = 1.0,
    mask: Tensor | None = None,
    topk: int | None = None,
    ref_logits: Tensor | None = None,
) -> TokenStats:
    """Compute what :func:`divreg_kernels.token_stats` computes, slowly, in float64.

    Args:
        logits: ``(..., v)``, any floating dtype; gradients flow through autograd.
        targets: ``(...)``, indices of columns.
        temperature: Divides the logits; a number or ``(...)``.
        softcap: ``c tanh(x / c)`` of the logits after ``logit_scale``.
        logit_scale: Multiplies the logits first.
        mask: ``(...)``, True where there is a token; everything is 0 elsewhere.
        topk: For ``topk_mass`` and ``topk_entropy``.
        ref_logits: ``(..., v)`` of a reference model, for ``ref_kl`` = KL(p, reference).
    """
    z = _transform(logits, temperature, softcap, logit_scale)
    log_z = torch.logsumexp(z, -1, keepdim=True)
    l = z - log_z
    p = l.exp()
    safe = torch.where(p > 0, l, 0)
    at = targets.clamp(min=0).unsqueeze(-1)
    entropy = -(p * safe).sum(-1)
    found = {
        "logp": l.gather(-1, at).squeeze(-1),
        "entropy": entropy,
        "lse": log_z.squeeze(-1),
        "varentropy": (p * (safe + entropy.unsqueeze(-1)).square()).sum(-1),
        "log_sum_p2": p.square().sum(-1).log(),
        "sum_p2_logp": (p * p * safe).sum(-1),
        "p_max": p.amax(-1),
        "rank": (z > z.gather(-1, at)).sum(-1).double(),
    }
    if topk is not None:
        top, indices = p.topk(min(topk, p.shape[-1]))
        mass = top.sum(-1)
        among = safe.gather(-1, indices)
        found["topk_mass"] = mass
        found["topk_entropy"] = mass.log() - (top * among).sum(-1) / mass
    if ref_logits is not None:
        other = _transform(ref_logits, temperature, softcap, logit_scale).log_softmax(-1)
        found["ref_kl"] = (p * torch.where(p > 0, l - other, 0)).sum(-1)
    if mask is not None:
        found = {name: torch.where(mask, x, 0) for name, x in found.items()}
    return TokenStats(**found)


def _transform(
    x: Tensor, temperature: float | Tensor, softcap: float | None, logit_scale: float
) -> Tensor:
    z = x.double() * logit_scale
    if softcap is not None:
        z = softcap * torch.tanh(z / softcap)
    if isinstance(temperature, Tensor):
        temperature = temperature.double().unsqueeze(-1)
    return z / temperature
