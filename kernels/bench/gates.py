"""What has to be right before anything is timed: fresh inputs, against float64.

On small inputs outputs and all gradients; on the inputs that are timed some rows of them. Every
provider is judged; only ours has to pass.
"""

from collections.abc import Sequence

import torch
from divreg_kernels import TokenStats, token_stats_reference
from losses import grpo
from providers import Provider
from steps import ENTROPY, Batch, backward, step
from torch import Tensor

LOGITS, HIDDEN = 5e-6, 1e-4  # largest absolute error of log-prob and entropy, nats
GRADIENT = {torch.float32: 1e-5, torch.float16: 4e-4, torch.bfloat16: 3e-3}  # relative Frobenius
ROWS = 16  # of the inputs that are timed


def failures(provider: Provider, tensors: tuple[Tensor, ...]) -> list[str]:
    """Return what is wrong on ``(logits, targets)`` or ``(hidden, weight, targets)``."""
    *inputs, targets = tensors
    leaves = [x.detach().clone().requires_grad_() for x in inputs]
    exact = [x.detach().double().requires_grad_() for x in inputs]
    truth = _truth(*exact, targets=targets)
    logp, entropy = provider.call(*leaves, targets)
    if provider.entropy and entropy is None:
        return ["no entropy"]
    found = _values(truth, LOGITS if len(exact) == 1 else HIDDEN, logp, entropy)
    weights = torch.rand_like(logp, dtype=torch.float32)
    grads = weights, ENTROPY * weights
    backward([logp] if entropy is None else [logp, entropy], grads)
    backward(_both(truth) if provider.entropy else _both(truth)[:1], grads)
    return found + _gradients(leaves, [x.grad for x in exact])


def loss_failures(provider: Provider, tensors: tuple[Tensor, ...]) -> list[str]:
    """Return what a policy loss gets wrong; half of the tokens have no weight."""
    *inputs, targets = tensors
    leaves = [x.detach().clone().requires_grad_() for x in inputs]
    exact = [x.detach().double().requires_grad_() for x in inputs]
    advantages = torch.randn(len(targets), device=targets.device)
    weights = (torch.arange(len(targets), device=targets.device) % 2).float()
    value = provider.call(*leaves, targets, advantages, weights)

    def true(*given: Tensor) -> tuple[Tensor, Tensor | None]:
        logp, entropy = _both(_truth(*given[:-1], targets=given[-1]))
        return logp, entropy if provider.entropy else None

    truth = grpo(true)(*exact, targets, advantages.double(), weights.double())
    error = abs(float(value.detach()) - float(truth.detach()))
    found = [] if error <= HIDDEN else [f"loss off by {error:.1e}"]
    value.backward()
    truth.backward()
    return found + _gradients(leaves, [x.grad for x in exact])


class Sample:
    """Some rows of the inputs that are timed, and the truth about them."""

    def __init__(self, batch: Batch) -> None:
        self.batch = batch
        n = len(batch.targets)
        at = torch.linspace(0, n - 1, min(n, ROWS), device=batch.targets.device).long()
        rows = batch.leaves[0].detach()[at].double().requires_grad_()
        rest = [x.detach() for x in batch.leaves[1:]]
        truth = _truth(rows, *rest, targets=batch.targets[at])
        self.at, self.truth = at, truth.detach()
        weights, advantages = batch.weights[at].double(), batch.advantages[at].double()

        def gradient(entropy: bool, of_loss: bool) -> Tensor:
            logp, of_it = _both(truth)
            outputs = [logp, of_it] if entropy else [logp]
            grads = [weights, ENTROPY * weights][: len(outputs)]
            if of_loss:
                loss = grpo(lambda: (logp, of_it if entropy else None))(advantages, weights)
                outputs, grads = [loss], [torch.full_like(loss, len(at) / n)]  # a mean over fewer
            return torch.autograd.grad(outputs, rows, grads, retain_graph=True)[0]

        yes_no = (False, True)
        self.grads = {
            (entropy, loss): gradient(entropy, loss) for entropy in yes_no for loss in yes_no
        }

    def failures(self, provider: Provider, mode: str) -> list[str]:
        """Return what a provider gets wrong in these rows of the whole."""
        outputs, of_loss = step(provider, mode, self.batch), mode == "loss"
        found = []
        if not of_loss:
            bound = HIDDEN if len(self.batch.leaves) == 2 else LOGITS
            found = _values(self.truth, bound, *(x[self.at] for x in outputs))
        true = self.grads[provider.entropy, of_loss]
        found += _gradients(self.batch.leaves, [true], self.at)
        self.batch.forget()
        return [f"{what}, at full size" for what in found]


def _truth(first: Tensor, *head: Tensor, targets: Tensor) -> TokenStats:
    """Return the exact statistics of logits, or of hidden states and a head, a part at a time."""
    if not head:
        return token_stats_reference(first, targets)
    parts = [first @ part.double().T for part in head[0].split(8192)]
    return token_stats_reference(torch.cat(parts, 1), targets)


def _both(truth: TokenStats) -> tuple[Tensor, Tensor]:
    assert truth.logp is not None
    assert truth.entropy is not None
    return truth.logp, truth.entropy


def _values(truth: TokenStats, bound: float, *outputs: Tensor | None) -> list[str]:
    found = []
    for name, ours, true in zip(("log-prob", "entropy"), outputs, _both(truth), strict=False):
        if ours is None:
            continue
        error = float((ours.detach().double() - true.detach()).abs().max())
        if not error <= bound:
            found.append(f"{name} off by {error:.1e} nats")
    return found


def _gradients(
    leaves: Sequence[Tensor], exact: Sequence[Tensor | None], at: Tensor | None = None
) -> list[str]:
    """Judge the gradient of each leaf, or of some rows, as far as there is a truth."""
    found = []
    names = ("logits",) if len(leaves) == 1 else ("hidden", "weight")
    for name, x, true in zip(names, leaves, exact, strict=False):
        if x.grad is None or true is None:
            found.append(f"no gradient of {name}")
            continue
        ours = (x.grad if at is None else x.grad[at]).double()
        error = float((ours - true).norm() / true.norm().clamp(min=1e-30))
        if not error <= GRADIENT[x.dtype]:
            found.append(f"gradient of {name} off by {error:.1e}")
    return found
