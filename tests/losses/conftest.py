"""One token, logits (2, 1, 0, -1), target 1: every loss and its gradient, worked out by hand."""

import functools

import pytest
import torch

from divreg.compose import contract
from divreg.signals import SIGNALS, _softmax
from divreg.signals.example import derive

LOGITS = (2.0, 1.0, 0.0, -1.0)


def signals(logits, tokens, mask, share):
    """Every signal of the loss that logits ``(b, t, v)`` have."""
    given = {"logits": logits, "tokens": tokens, "mask": mask, "token_share": share}
    return given | {"document": torch.zeros_like(tokens), **_softmax.of_logits(logits, tokens)}


@pytest.fixture
def oracle():
    """``oracle(loss, **hyper)``: what it makes of the token's cross-entropy, and its gradient."""

    def go(f, logits=LOGITS, target=1, **hyper):
        z = torch.tensor([[logits]], dtype=torch.float64, requires_grad=True)
        one = torch.ones(1, 1, dtype=torch.float64)
        given = signals(z, torch.tensor([[target]]), one > 0, one)
        known = contract(f)
        words = {name: derive(name, given, SIGNALS) for name in known.signals}
        nll = -given["logprob"].sum()
        if known.stage == "token_weights":
            words = {k: v.detach() if isinstance(v, torch.Tensor) else v for k, v in words.items()}
            value = f(one, **words, **hyper).sum() * nll
        else:
            value = f(nll, **words, **hyper)
        (gradient,) = torch.autograd.grad(value, z)
        return value.item(), gradient.flatten().tolist()

    return go


@pytest.fixture
def exactly():
    """Compare with numbers printed to six digits."""
    return functools.partial(pytest.approx, abs=2e-6)


@pytest.fixture
def said():
    """``said(f, rows, **more)``: the loss of the last token of the first row, and its gradient.

    ``rows`` are lists of tokens, all with the same logits. ``more`` are signals or
    hyper-parameters.
    """

    def go(f, rows, **more):
        tokens = torch.tensor(rows)
        z = torch.tensor(LOGITS, dtype=torch.float64).expand(*tokens.shape, 4).clone()
        z.requires_grad_()
        share = torch.zeros(tokens.shape, dtype=torch.float64)
        share[0, -1] = 1
        given = signals(z, tokens, torch.ones_like(tokens) > 0, share)
        given |= {k: more.pop(k) for k in list(more) if k in contract(f).signals}
        words = {name: derive(name, given, SIGNALS) for name in contract(f).signals}
        value = f(-(given["logprob"] * share).sum(), **words, **more)
        (gradient,) = torch.autograd.grad(value, z)
        return value.item(), gradient[0, -1].tolist()

    return go
