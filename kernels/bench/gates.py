"""What has to be right before anything is timed: fresh inputs, against float64."""

import torch
from divreg_kernels import token_stats_reference
from providers import Provider
from torch import Tensor

LOGITS, HIDDEN = 5e-6, 1e-4  # largest absolute error of log-prob and entropy, nats
GRADIENT = {torch.float32: 1e-5, torch.float16: 4e-4, torch.bfloat16: 3e-3}  # relative Frobenius


def failures(provider: Provider, tensors: tuple[Tensor, ...]) -> list[str]:
    """Return what a provider gets wrong on ``(logits, targets)`` or ``(hidden, weight, targets)``.

    Every provider is judged; only ours has to pass.
    """
    *inputs, targets = tensors
    leaves = [x.detach().clone().requires_grad_() for x in inputs]
    exact = [x.detach().double().requires_grad_() for x in inputs]
    logits = exact[0] if len(exact) == 1 else exact[0] @ exact[1].T
    truth = token_stats_reference(logits, targets)
    logp, entropy = provider.call(*leaves, targets)
    bound = LOGITS if len(exact) == 1 else HIDDEN
    found = []
    pairs = (("log-prob", logp, truth.logp), ("entropy", entropy, truth.entropy))
    for name, ours, true in pairs:
        assert true is not None
        error = float((ours.detach().double() - true.detach()).abs().max())
        if not error <= bound:
            found.append(f"{name} off by {error:.1e} nats")
    (logp.sum() + 0.1 * entropy.sum()).backward()
    assert truth.logp is not None
    assert truth.entropy is not None
    (truth.logp.sum() + 0.1 * truth.entropy.sum()).backward()
    for x, y in zip(leaves, exact, strict=True):
        assert x.grad is not None
        assert y.grad is not None
        error = float((x.grad.double() - y.grad).norm() / y.grad.norm())
        if not error <= GRADIENT[x.dtype]:
            found.append(f"gradient off by {error:.1e}")
    return found
