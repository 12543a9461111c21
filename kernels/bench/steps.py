"""One step of one provider, and the time that it takes."""

import functools
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from cases import Case
from providers import Provider
from torch import Tensor

ENTROPY = 0.1  # gradient of a token's entropy, as a share of that of its log-prob
MODES = {
    "no gradient": "forward, no gradient",
    "forward": "forward",
    "log-prob": "forward and backward of log-prob",
    "both": "forward and backward of both",
    "cold": "the same, cold cache",
    "loss": "loss and backward",
}
"""What a step does, and how the table calls it."""


@dataclass(frozen=True)
class Batch:
    """One set of inputs.

    Attributes:
        leaves: ``(logits,)`` or ``(hidden, weight)``.
        targets: The token of each row.
        weights: Gradient of each row's log-prob; 0 where it has none.
        of_entropy: Gradient of each row's entropy.
        advantages: Of each row, for a policy loss.
    """

    leaves: tuple[Tensor, ...]
    targets: Tensor
    weights: Tensor
    of_entropy: Tensor
    advantages: Tensor

    @classmethod
    def draw(cls, case: Case, device: str) -> "Batch":
        """Draw fresh inputs."""
        *inputs, targets = case.inputs(device)
        weights = (torch.rand(case.n, device=device) >= case.zero).float()
        advantages = torch.randn(case.n, device=device)
        leaves = tuple(x.requires_grad_() for x in inputs)
        return cls(leaves, targets, weights, ENTROPY * weights, advantages)

    def forget(self) -> None:
        """Free the gradients."""
        for x in self.leaves:
            x.grad = None


def modes(provider: Provider, case: Case, device: str) -> tuple[str, ...]:
    """Return what a provider is timed at; the last but ``cold`` is its whole work."""
    cold = ("cold",) if device == "cuda" and case.h is None else ()
    both = ("both",) if provider.entropy else ()
    return ("no gradient", "forward", "log-prob", *both, *cold)


def whole(provider: Provider) -> str:
    """Return the mode that asks a provider for all the gradients it has."""
    return "both" if provider.entropy else "log-prob"


def step(provider: Provider, mode: str, batch: Batch) -> tuple[Tensor, ...]:
    """Run a provider once and return its outputs without gradient."""
    batch.forget()
    tensors = (*batch.leaves, batch.targets)
    if mode == "loss":
        loss = provider.call(*tensors, batch.advantages, batch.weights)
        loss.backward()
        return (loss.detach(),)
    with torch.set_grad_enabled(mode != "no gradient"):
        logp, entropy = provider.call(*tensors)
    outputs = [logp] if entropy is None else [logp, entropy]
    if mode not in ("no gradient", "forward"):
        learns = outputs[:1] if mode == "log-prob" else outputs
        backward(learns, (batch.weights, batch.of_entropy))
    return tuple(x.detach() for x in outputs)


def backward(outputs: Sequence[Tensor], grads: Sequence[Tensor]) -> None:
    """Run the backward of as many outputs as there are."""
    given = tuple(g.to(x.dtype) for x, g in zip(outputs, grads, strict=False))
    torch.autograd.backward(tuple(outputs), given)


def timed(device: str, run: Callable[[], object], cold: bool = False) -> float:
    """Return seconds: of the device, or of the processor on a CPU.

    On a GPU the work is queued behind a pause, as it is behind other work in training: what Python
    takes to launch it counts only after a provider has waited for the device.

    Args:
        device: ``cuda`` or ``cpu``.
        run: What is timed.
        cold: Overwrite the GPU's cache first.
    """
    if device == "cuda":
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        if cold:
            _cache().zero_()
        torch.cuda._sleep(4_000_000)  # cycles: about two milliseconds
        begin.record()
        run()
        end.record()
        torch.cuda.synchronize()
        return begin.elapsed_time(end) / 1000
    started = time.process_time()
    run()
    return time.process_time() - started


@functools.cache
def _cache() -> Tensor:
    return torch.empty(256 << 20, dtype=torch.int8, device="cuda")
