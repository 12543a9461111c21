"""The Triton kernels against float64, in a process of their own with Triton's interpreter.

The interpreter needs no GPU, but has to be chosen before Triton is imported, for all of a process.
To look at one test: ``TRITON_INTERPRET=1 pytest tests/kernels/test_triton.py -k a_name``. Those of
`test_triton_beside` run in the same process.
"""

import importlib.util
import itertools
import math
import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from divreg_kernels import gradient, last_backend, token_stats, token_stats_reference, torch_backend
from divreg_kernels.state import empty, finish
from divreg_kernels.transform import Transform

INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
FILES = [__file__, __file__.replace(".py", "_beside.py")]
MOMENTS = ("varentropy", "log_sum_p2", "sum_p2_logp")
SMOOTH = ("logp", "entropy", "lse", *MOMENTS)
EVERY = (*SMOOTH, "p_max", "rank")
VARENTROPY = {"varentropy": 5e-5}
SIZES = [(1, 1), (2, 1), (1, 2), (2, 17), (131, 17), (1, 1023), (2, 1025), (2, 4099)]
# Relative Frobenius. The interpreter cuts off what a GPU rounds to bf16, which doubles the error.
GRADIENT = {torch.float32: 1e-5, torch.float16: 8e-4, torch.bfloat16: 6e-3}
TRANSFORMS = {
    "plain": {},
    "temperature": {"temperature": 0.7},
    "a temperature a row": {"temperature": torch.tensor([0.5, 1.0, 2.0, 0.8])},
    "logit scale": {"logit_scale": 1.7, "temperature": 1.3},
    "softcap": {"softcap": 15.0, "logit_scale": 1.5},
    "softcap, a temperature a row": {
        "softcap": 3.0,
        "temperature": torch.tensor([0.9, 1.0, 1.1, 1.2]),
    },
}

if not INTERPRETED:

    @pytest.mark.skipif(
        importlib.util.find_spec("triton") is None,
        reason="triton is not installed: pip install triton",
    )
    @pytest.mark.parametrize(
        "which", ["not slow", pytest.param("slow", marks=pytest.mark.slow)], ids=["fast", "slow"]
    )
    def test_the_kernels_under_the_interpreter(which, repo):
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-m", which, *FILES],
            env={**os.environ, "TRITON_INTERPRET": "1"},
            cwd=repo,
            capture_output=True,
            text=True,
            timeout=900,
        )
        assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]
        assert " passed" in done.stdout


@pytest.fixture(autouse=INTERPRETED)
def _poisoned():
    """Let torch fill memory that nobody has written with NaN."""
    torch.use_deterministic_algorithms(True)
    assert torch.empty(3).isnan().all()
    yield
    torch.use_deterministic_algorithms(False)


@pytest.fixture(params=["split", "whole"])
def rows(request, monkeypatch):
    """Whether rows longer than 8192 columns are split, as few are and many are not."""
    from divreg_kernels import triton_backend

    monkeypatch.setattr(triton_backend, "ROWS_PER_PROCESSOR", 1000 * (request.param == "split"))
    return request.param


def both(logits, targets, stats=EVERY, **settings):
    """Ours, the truth, and the logits of each."""
    ours, exact = logits.detach().requires_grad_(), logits.detach().double().requires_grad_()
    found = token_stats(ours, targets, stats=stats, backend="triton", **settings)
    return found, token_stats_reference(exact, targets, **settings), ours, exact


def peaked(n, v, dtype=torch.float32):
    """Logits within 50 of 0 whose entropies spread over nine orders of magnitude."""
    logits = torch.randn(n, v) * torch.tensor([0.5, 3.0, 8.0])[torch.arange(n) % 3, None]
    logits[torch.arange(n), torch.randint(v, (n,))] += torch.linspace(0, 30, n)
    return logits.clamp(-50, 50).to(dtype)


def relative(found, expected):
    return ((found.double() - expected).norm() / expected.norm()).item()


class TestStatistics:
    __test__ = INTERPRETED

    @pytest.mark.parametrize("dtype", GRADIENT)
    @pytest.mark.parametrize("v", [5003, 16_000])
    def test_every_one_of_them(self, seed, close, rows, dtype, v):
        logits, targets = peaked(3, v, dtype), torch.randint(v, (3,))
        stats, truth, *_ = both(logits, targets)
        close(stats, truth, **VARENTROPY)
        for name in ("p_max", "sum_p2_logp"):
            exact = getattr(truth, name)
            error = (getattr(stats, name) - exact).abs() / exact.abs().clamp(min=1e-6)
            assert error.max() < 5e-6, name
        assert last_backend() == "triton (interpreter)"

    @pytest.mark.parametrize("which", TRANSFORMS)
    def test_after_a_transform(self, seed, close, which):
        logits, targets = 3 * torch.randn(4, 5003).bfloat16(), torch.randint(5003, (4,))
        stats, truth, *_ = both(logits, targets, **TRANSFORMS[which])
        close(stats, truth, **VARENTROPY)

    @pytest.mark.parametrize(("n", "v"), SIZES)
    def test_odd_sizes(self, seed, close, gradients, n, v):
        logits, targets = 3 * torch.randn(n, v), torch.randint(v, (n,))
        stats, truth, ours, exact = both(logits, targets)
        close(stats, truth, **VARENTROPY)
        (found,), (expected,) = gradients(stats, [ours]), gradients(truth, [exact])
        assert (found - expected).norm() <= 1e-5 * expected.norm() + 1e-6

    @pytest.mark.parametrize("v", [32_003, pytest.param(151_936, marks=pytest.mark.slow)])
    def test_a_whole_vocabulary(self, seed, close, rows, v):
        logits, targets = 3 * torch.randn(1, v).bfloat16(), torch.randint(v, (1,))
        stats, truth, *_ = both(logits, targets)
        close(stats, truth, **VARENTROPY)

    @pytest.mark.parametrize("dtype", GRADIENT)
    @pytest.mark.parametrize("shift", [1, 8])
    def test_rows_apart_and_a_base_between_vectors(self, seed, close, rows, dtype, shift):
        buffer, targets = torch.randn(2, 2, 9011).to(dtype), torch.randint(9000, (2,))
        stats, truth, *_ = both(buffer[:, 1, shift : shift + 9000], targets)
        close(stats, truth, **VARENTROPY)

    def test_nothing_but_the_columns_is_read(self, seed, close):
        buffer = torch.full((3, 6100), math.nan)
        buffer[:, 50:5053] = torch.randn(3, 5003)
        stats, truth, *_ = both(buffer[:, 50:5053], torch.tensor([0, 5002, 7]))
        close(stats, truth, **VARENTROPY)

    def test_rows_beyond_two_to_the_31_elements(self, seed, close):
        stride, v = 2**30, 5000  # in both, all rows begin at a vector
        far = torch.from_numpy(np.zeros(2 * stride + v, np.int16)).view(torch.bfloat16)
        far[:v], far[2 * stride :] = torch.randn(v), torch.randn(v)
        logits = far.as_strided((3, v), (stride, 1)).requires_grad_()
        targets = torch.tensor([3, 0, v - 1])
        stats = token_stats(logits, targets, inplace_backward=True, backend="triton")
        near = logits.detach().clone().requires_grad_()
        same = token_stats(near, targets, backend="triton")
        for name, value in stats.items():
            assert torch.equal(value, getattr(same, name)), name
        (expected,) = torch.autograd.grad(same.logp.sum(), near)
        (found,) = torch.autograd.grad(stats.logp.sum(), logits)
        assert torch.equal(found, expected)
        assert torch.equal(far[2 * stride :], expected[2])

    def test_an_offset_of_all_logits_costs_nothing(self, seed, close):
        logits, targets = 3 * torch.randn(4, 5003) + 1e4, torch.randint(5003, (4,))
        stats, truth, *_ = both(logits, targets)
        close(stats, truth, logp=1e-5, entropy=1e-5, lse=1e-2, others=5e-5)

    def test_strongly_negative_rows(self, seed, close):
        logits, targets = torch.randn(4, 5003) - 200, torch.randint(5003, (4,))
        stats, truth, *_ = both(logits, targets)
        close(stats, truth, lse=2e-5, **VARENTROPY)

    @pytest.mark.parametrize("start", [0, 1])
    def test_close_to_a_collapse_the_entropy_is_right_to_its_last_digits(self, seed, rows, start):
        buffer = torch.randn(4, 12_003)
        logits = buffer[:, start:]
        logits[:, 9000] = torch.tensor([16.0, 20.0, 24.0, 30.0])  # entropies of 1e-2 to 1e-7 nats
        stats, truth, *_ = both(logits, torch.full((4,), 9000), ("logp", "entropy"))
        assert truth.entropy.min() < 1e-6
        assert truth.entropy.max() > 5e-3
        assert (stats.entropy >= 0).all()
        assert ((stats.entropy - truth.entropy) / truth.entropy).abs().max() < 1e-5
        assert ((stats.logp - truth.logp) / truth.logp).abs().max() < 1e-5

    def test_close_to_a_collapse_under_a_softcap(self, seed):
        logits = torch.randn(4, 5003)
        logits[:, 9] = torch.tensor([15.0, 20.0, 30.0, 60.0])
        stats, truth, *_ = both(logits, torch.full((4,), 9), softcap=30.0)
        assert (stats.entropy >= 0).all()
        assert ((stats.entropy - truth.entropy) / truth.entropy).abs().max() < 2e-5

    @pytest.mark.parametrize("ties", [(7, 8), (7, 7 + 1024), (7, 3000, 5002)])
    def test_several_largest_logits(self, seed, close, rows, ties):
        logits = torch.randn(2, 20_000)
        logits[:, list(ties)] = 40.0
        stats, truth, *_ = both(logits, torch.tensor([7, 9]))
        close(stats, truth, **VARENTROPY)
        assert stats.rank[0] == 0
        assert stats.rank[1] >= len(ties)

    @pytest.mark.parametrize(
        "masked",
        [slice(7, 8), slice(0, 4096), slice(0, 9000), slice(500, None), slice(1, None)],
        ids=["one", "first step", "first part", "nearly all", "all but one"],
    )
    @pytest.mark.parametrize("target", ["live", "masked"])
    def test_tokens_of_probability_zero(self, seed, close, gradients, masked, target):
        logits = 3 * torch.randn(2, 10_003)
        logits[:, masked] = -math.inf
        live = (logits[0] > -math.inf).nonzero().squeeze(1)
        of_dead = (logits[0] == -math.inf).nonzero().squeeze(1)
        targets = (live if target == "live" else of_dead)[[0, -1]]
        stats, truth, ours, _ = both(logits, targets)
        close(stats, truth, **VARENTROPY)
        names = ("entropy", "lse", *MOMENTS) + ("logp",) * (target == "live")
        (found,) = gradients(stats, [ours], names)
        assert (found[:, masked] == 0).all()
        if target == "live" and len(live) > 1:
            part = logits[:, live].double().requires_grad_()
            (expected,) = gradients(
                token_stats_reference(part, torch.tensor([0, len(live) - 1])), [part], names
            )
            assert relative(found[:, live], expected) < 1e-5

    def test_a_target_of_probability_zero(self, seed):
        logits, targets = torch.randn(2, 99), torch.tensor([3, 4])
        logits[0, 3] = -math.inf
        stats, *_ = both(logits, targets)
        assert stats.logp[0] == -math.inf
        assert stats.rank[0] == 98
        assert torch.isfinite(stats.entropy).all()

    @pytest.mark.filterwarnings("ignore:All-NaN slice", "ignore:invalid value")
    @pytest.mark.parametrize("poison", [math.nan, math.inf])
    @pytest.mark.parametrize("at", [5, 9000, slice(None)])
    def test_a_poisoned_row_poisons_no_other(self, seed, gradients, rows, poison, at):
        logits, targets = torch.randn(3, 10_003), torch.tensor([1, 2, 3])
        logits[1, at] = poison
        stats, _, ours, _ = both(logits, targets)
        for name, value in stats.items():
            assert name == "rank" or value[1].isnan(), name
            assert torch.isfinite(value[[0, 2]]).all(), name
        (found,) = gradients(stats, [ours])
        assert torch.isfinite(found[[0, 2]]).all()
        assert found[1].isnan().all()

    def test_a_row_without_any_token_is_nan_as_in_torch(self):
        stats, *_ = both(torch.full((1, 9), -math.inf), torch.tensor([0]))
        assert stats.logp.isnan().all()
        assert stats.entropy.isnan().all()

    def test_twice_is_bit_for_bit_the_same(self, seed, rows):
        logits, targets = torch.randn(3, 10_003), torch.randint(10_003, (3,))
        one, *_ = both(logits, targets)
        two, *_ = both(logits, targets)
        for name, value in one.items():
            assert torch.equal(value, getattr(two, name)), name

    def test_a_row_is_bit_for_bit_the_same_among_others(self, seed, rows):
        from divreg_kernels import triton_backend

        def fold(logits, targets):
            n = len(logits)
            before = empty(n, 1.0, moments=True, rank=True, device="cpu")
            return triton_backend.fold(logits, targets, 0, before, Transform())

        logits, targets = torch.randn(4, 10_000), torch.randint(10_000, (4,))
        many, one = fold(logits, targets), fold(logits[3:4].clone(), targets[3:4])
        for field in ("max", "tail", "t", "target", "above", "u", "q", "w"):
            assert torch.equal(getattr(one, field), getattr(many, field)[3:4]), field

    def test_the_torch_backend_finds_the_same(self, seed):
        logits, targets = peaked(4, 9011), torch.randint(9011, (4,))
        ours, *_ = both(logits, targets)
        theirs = token_stats(logits, targets, stats=EVERY, backend="torch")
        for name, value in ours.items():
            torch.testing.assert_close(value, getattr(theirs, name), atol=5e-6, rtol=1e-5)

    def test_as_exact_as_torch_in_the_same_dtype(self, seed, rows):
        """Three ways: our error against float64 is no larger than torch's own, and little slack."""
        logits, targets = 5 * torch.randn(4, 12_011), torch.randint(12_011, (4,))
        stats, truth, *_ = both(logits, targets, stats=("logp", "entropy", "lse"))
        theirs = logits.log_softmax(-1)
        entropy = -(theirs.exp() * theirs).sum(-1)
        logp = theirs.gather(1, targets[:, None]).squeeze(1)
        for ours, torchs, exact in (
            (stats.logp, logp, truth.logp),
            (stats.entropy, entropy, truth.entropy),
            (stats.lse, logits.logsumexp(-1), truth.lse),
        ):
            error = (ours - exact).abs().max()
            assert error <= (torchs - exact).abs().max() + 1e-6


class TestGradient:
    __test__ = INTERPRETED

    @pytest.mark.parametrize("dtype", GRADIENT)
    @pytest.mark.parametrize(
        "names", [("logp",), ("logp", "entropy"), SMOOTH], ids=["logp", "entropy", "smooth"]
    )
    def test_of_each_form(self, seed, gradients, dtype, names):
        logits, targets = 3 * torch.randn(4, 5000).to(dtype), torch.randint(5000, (4,))
        stats, truth, ours, exact = both(logits, targets, names)
        (found,), (expected,) = gradients(stats, [ours], names), gradients(truth, [exact], names)
        assert found.dtype == dtype
        assert relative(found, expected) < GRADIENT[dtype]

    @pytest.mark.parametrize("which", TRANSFORMS)
    def test_through_a_transform(self, seed, gradients, which):
        logits, targets = 3 * torch.randn(4, 5003), torch.randint(5003, (4,))
        stats, truth, ours, exact = both(logits, targets, SMOOTH, **TRANSFORMS[which])
        (found,), (expected,) = gradients(stats, [ours]), gradients(truth, [exact])
        assert relative(found, expected) < 1e-5

    def test_sums_to_zero_in_every_row(self, seed, gradients):
        logits, targets = 3 * torch.randn(4, 32_003), torch.randint(32_003, (4,))
        stats, _, ours, _ = both(logits, targets)
        (found,) = gradients(stats, [ours], ("logp", "entropy", *MOMENTS))
        assert (found.sum(1).abs() <= 1e-3 * found.abs().sum(1)).all()

    @pytest.mark.parametrize("dtype", GRADIENT)
    @pytest.mark.parametrize("v", [4096, 5003])
    def test_over_the_logits_it_is_bit_for_bit_the_same(self, seed, gradients, dtype, v):
        logits, targets = torch.randn(3, v).to(dtype), torch.randint(v, (3,))
        stats, _, ours, _ = both(logits, targets)
        (there,) = gradients(stats, [ours])
        leaf = logits.clone().requires_grad_()
        copy = leaf * 1.0
        stats = token_stats(copy, targets, stats=SMOOTH, inplace_backward=True, backend="triton")
        (here,) = gradients(stats, [leaf])
        assert torch.equal(here, there)
        assert torch.equal(copy.detach(), there), "it lies where the logits were"

    @pytest.mark.filterwarnings("ignore:All-NaN slice", "ignore:invalid value")
    def test_rows_of_no_weight_are_zero_whatever_they_hold(self, seed, gradients):
        logits, targets = torch.randn(4, 999), torch.tensor([1, 2, -100, 3])
        logits[1], logits[2] = math.nan, math.nan
        mask = torch.tensor([True, False, True, True])
        temperature = torch.tensor([1.0, math.nan, 1.0, 2.0])
        stats, _, ours, _ = both(logits, targets, mask=mask, temperature=temperature)
        (found,) = gradients(stats, [ours])
        assert (found[1:3] == 0).all()
        assert (found[[0, 3]] != 0).any()

    def test_rows_apart_and_a_base_between_vectors(self, seed, gradients):
        buffer, targets = torch.randn(3, 2, 5011), torch.randint(5000, (3,))
        stats, truth, ours, exact = both(buffer[:, 1, 3:5003], targets)
        (found,), (expected,) = gradients(stats, [ours]), gradients(truth, [exact])
        assert relative(found, expected) < 1e-5


class TestTiles:
    """What callers other than ``token_stats`` need: columns that come in several tiles."""

    __test__ = INTERPRETED

    @pytest.mark.parametrize("which", ["plain", "softcap, a temperature a row"])
    def test_statistics_and_gradient_are_those_of_the_whole(self, seed, close, which):
        from divreg_kernels import triton_backend

        v, cuts = 9011, [0, 4096, 4099, 9011]
        transform = Transform(**TRANSFORMS[which])
        logits, targets = peaked(4, v), torch.tensor([3, 4097, 9010, 5000])
        state = empty(4, transform.scale, moments=True, rank=False, device="cpu")
        for a, b in itertools.pairwise(cuts):
            state = triton_backend.fold(logits[:, a:b], targets, a, state, transform)
        found = finish(state)
        exact = logits.double().requires_grad_()
        truth = token_stats_reference(exact, targets, **TRANSFORMS[which])
        for name, value in found.items():
            bound = VARENTROPY.get(name, 5e-6)
            assert (value - getattr(truth, name)).abs().max() <= bound, name

        grads = {name: torch.randn(4) for name in SMOOTH}
        sum((g * getattr(truth, name)).sum() for name, g in grads.items()).backward()
        out = torch.empty(4, v)
        for a, b in itertools.pairwise(cuts):
            triton_backend.grad(
                logits[:, a:b], targets, a, state.max, state.log_sum,
                gradient.coefficients(grads, found), 2, transform, out[:, a:b],
            )  # fmt: skip
        assert relative(out, exact.grad) < 1e-5

    def test_a_state_of_the_other_backend_goes_on(self, seed):
        from divreg_kernels import triton_backend

        logits, targets = peaked(3, 5003), torch.tensor([1, 2, 3])
        state = empty(3, 1.0, moments=True, rank=True, device="cpu")
        plain = Transform()
        state = torch_backend.fold(logits[:, :2000], targets, 0, state, plain)
        state = triton_backend.fold(logits[:, 2000:], targets, 2000, state, plain)
        truth = token_stats_reference(logits, targets)
        for name, value in finish(state).items():
            assert (value - getattr(truth, name)).abs().max() <= VARENTROPY.get(name, 5e-6), name

    def test_a_target_in_no_tile_has_no_logit(self, seed):
        from divreg_kernels import triton_backend

        state = empty(2, 1.0, moments=False, rank=False, device="cpu")
        state = triton_backend.fold(
            torch.randn(2, 99), torch.tensor([99, -1]), 0, state, Transform()
        )
        assert (state.target == -math.inf).all()
        assert torch.isfinite(state.log_sum).all()

    def test_columns_that_are_not_contiguous_are_refused(self):
        from divreg_kernels import triton_backend

        state = empty(9, 1.0, moments=False, rank=False, device="cpu")
        with pytest.raises(ValueError, match=r"with contiguous rows; got \(9, 9\) with strides"):
            triton_backend.fold(
                torch.randn(9, 9).T, torch.zeros(9, dtype=torch.long), 0, state, Transform()
            )
