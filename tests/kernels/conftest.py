"""Fresh random logits every run; a failure prints the seed that repeats it."""

import os
import random

import pytest
import torch

SMOOTH = ("logp", "entropy", "lse", "varentropy", "log_sum_p2", "sum_p2_logp")


@pytest.fixture
def seed():
    """Seeds torch anew; KERNEL_SEED repeats a run."""
    chosen = int(os.environ.get("KERNEL_SEED", random.SystemRandom().randrange(1 << 31)))
    print(f"KERNEL_SEED={chosen}")
    torch.manual_seed(chosen)
    return chosen


@pytest.fixture
def close():
    """``close(ours, truth, **bounds)``: largest absolute error of each statistic within a bound."""

    def check(ours, truth, **bounds):
        for name, value in ours.items():
            error = (value.double() - getattr(truth, name)).abs().nan_to_num(0).max().item()
            assert torch.equal(value.isnan(), getattr(truth, name).isnan()), name
            bound = bounds.get(name, bounds.get("others", 5e-6))
            assert error <= bound, f"{name}: {error:.1e} > {bound:.0e}"

    return check


@pytest.fixture
def gradients():
    """``gradients(stats, tensors)``: of a random sum of the smooth statistics, always the same."""

    def of(stats, tensors, names=SMOOTH):
        generator = torch.Generator().manual_seed(0)
        total = 0.0
        for name in names:
            value = getattr(stats, name)
            weight = torch.randn(value.shape, generator=generator)
            total = total + (weight.to(value.dtype) * value).sum()
        return torch.autograd.grad(total, tensors)

    return of
