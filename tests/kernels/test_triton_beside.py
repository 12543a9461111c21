"""The Triton kernels: the most likely tokens, a reference, a row among many; see `test_triton`."""

import itertools
import os

import pytest
import torch
from divreg_kernels import (
    gradient,
    last_backend,
    linear_policy_loss,
    linear_token_stats,
    token_stats,
    token_stats_reference,
)
from divreg_kernels.state import empty, finish
from divreg_kernels.transform import Transform

INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
TRANSFORMS = {
    "plain": {},
    "a temperature a row": {"temperature": torch.tensor([0.5, 1.0, 2.0, 0.8])},
    "softcap": {"softcap": 15.0, "logit_scale": 1.5, "temperature": 0.9},
}
# An infinite difference is computed beside every one that counts, and thrown away.
pytestmark = pytest.mark.filterwarnings("ignore:invalid value", "ignore:All-NaN slice")


@pytest.fixture(autouse=INTERPRETED)
def _poisoned():
    torch.use_deterministic_algorithms(True)
    yield
    torch.use_deterministic_algorithms(False)


def relative(found, expected):
    return ((found.double() - expected).norm() / expected.norm()).item()


class TestMostLikely:
    __test__ = INTERPRETED

    @pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
    @pytest.mark.parametrize("v", [9, 5003, 16_000])
    @pytest.mark.parametrize("k", [1, 10, 40])
    def test_mass_and_entropy(self, seed, close, dtype, v, k):
        logits, targets = (3 * torch.randn(3, v)).to(dtype), torch.randint(v, (3,))
        stats = token_stats(logits, targets, topk=k, backend="triton")
        close(stats, token_stats_reference(logits, targets, topk=k))

    @pytest.mark.parametrize("which", TRANSFORMS)
    def test_through_a_transform(self, seed, close, which):
        logits, targets = 3 * torch.randn(4, 5003), torch.randint(5003, (4,))
        stats = token_stats(logits, targets, topk=5, backend="triton", **TRANSFORMS[which])
        truth = token_stats_reference(logits, targets, topk=5, **TRANSFORMS[which])
        close(stats, truth, logp=8e-6)

    def test_more_in_one_lane_than_its_list_holds(self, seed, close, monkeypatch):
        """Twenty neighbours lie in two or five lanes, of which each lists three."""
        from divreg_kernels import triton_backend

        logits, targets = torch.randn(3, 5003), torch.randint(5003, (3,))
        logits[1, 640:660] += 20
        logits[::2, 0:480:40] += 20  # twelve lanes with one each: no reason to look again
        again = []
        whole = torch.Tensor.topk

        def counted(x, k):
            again.append(len(x)) if x.shape[1] == 5003 else None
            return whole(x, k)

        monkeypatch.setattr(torch.Tensor, "topk", counted)
        stats = token_stats(logits, targets, topk=12, backend="triton")
        assert again == [1], "one row was sorted as a whole"
        assert triton_backend.LISTED >= 12
        close(stats, token_stats_reference(logits, targets, topk=12))

    def test_masked_tokens_and_ties(self, close):
        logits, targets = torch.zeros(3, 99), torch.tensor([0, 1, 2])
        logits[1, 4:] = -torch.inf
        logits[2, :50] = 3.0
        stats = token_stats(logits, targets, topk=10, backend="triton")
        close(stats, token_stats_reference(logits, targets, topk=10))

    @pytest.mark.parametrize("k", [None, 10])
    def test_a_row_is_bit_for_bit_the_same_among_others(self, seed, k):
        logits, targets = torch.randn(5, 12_011), torch.randint(12_011, (5,))
        many, one = (
            token_stats(x, y, topk=k, batch_invariant=True, backend="triton")
            for x, y in ((logits, targets), (logits[3:4], targets[3:4]))
        )
        for name, value in one.items():
            assert torch.equal(value, getattr(many, name)[3:4]), name


class TestReference:
    __test__ = INTERPRETED

    @pytest.mark.parametrize("which", TRANSFORMS)
    @pytest.mark.parametrize("workspace", [64.0, 0.3])
    def test_divergence_and_gradients(self, seed, close, gradients, which, workspace):
        h, w, b = torch.randn(4, 16), torch.randn(9001, 16), torch.randn(9001)
        ref = torch.randn(4, 8), torch.randn(9001, 8)
        targets = torch.randint(9001, (4,))
        ours = [x.clone().requires_grad_() for x in (h, w, b)]
        exact = [x.double().requires_grad_() for x in (h, w, b)]
        stats = linear_token_stats(
            *ours[:2], targets, bias=ours[2], stats=("logp", "rank", "log_sum_p2"), ref=ref,
            workspace_mb=workspace, backend="triton", **TRANSFORMS[which],
        )  # fmt: skip
        assert last_backend() == "triton (interpreter)"
        truth = token_stats_reference(
            exact[0] @ exact[1].T + exact[2], targets,
            ref_logits=ref[0].double() @ ref[1].double().T, **TRANSFORMS[which],
        )  # fmt: skip
        close(stats, truth, rank=1, others=5e-5)
        names = ("logp", "log_sum_p2", "ref_kl")
        for found, expected in zip(
            gradients(stats, ours, names), gradients(truth, exact, names), strict=True
        ):
            assert relative(found, expected) < 1e-5

    @pytest.mark.parametrize("split", [1000, 0], ids=["split", "whole"])
    @pytest.mark.parametrize("start", [0, 1], ids=["aligned", "between vectors"])
    def test_tiles_of_logits_join_to_the_whole(self, seed, monkeypatch, split, start):
        """Policy and reference exclude some tokens: both, in a whole tile, or the policy alone."""
        from divreg_kernels import triton_backend

        monkeypatch.setattr(triton_backend, "ROWS_PER_PROCESSOR", split)
        cuts = [0, 4096, 12_400, 17_008]
        buffers = [3 * torch.randn(4, 17_009) for _ in range(2)]
        logits, ref = (x[:, start : start + 17_008] for x in buffers)
        logits[0, 4000:13_000] = ref[0, 4000:13_000] = -torch.inf
        logits[1, 100:400] = -torch.inf
        ref[2, 5] = -torch.inf
        ref[3] = logits[3]
        targets, plain = torch.tensor([3, 4097, 9010, 5000]), Transform()
        state = empty(4, 1.0, moments=True, reference=True, topk=3, device="cpu")
        for a, b in itertools.pairwise(cuts):
            state = triton_backend.fold(logits[:, a:b], targets, a, state, plain, ref=ref[:, a:b])
        found = finish(state)
        exact = logits.double().requires_grad_()
        truth = token_stats_reference(exact, targets, ref_logits=ref.double(), topk=3)
        assert found["ref_kl"][2] == torch.inf
        assert found["ref_kl"][3] < 1e-6
        for name, value in found.items():
            expected = getattr(truth, name)
            finite = expected.isfinite()
            assert torch.equal(finite, value.isfinite()), name
            assert (value - expected)[finite].abs().max() <= 5e-5, name

        grads = {"ref_kl": torch.tensor([1.0, -2.0, 0.0, 0.5]), "entropy": torch.ones(4)}
        some = torch.tensor([0, 1, 3])
        total = sum((g * getattr(truth, name))[some].sum() for name, g in grads.items())
        (expected,) = torch.autograd.grad(total, exact)
        rows = gradient.coefficients(grads, found)
        rows[2] = 0  # an infinite divergence has no gradient
        out, (largest, tail, _) = torch.empty(4, 17_008), state.reference
        for a, b in itertools.pairwise(cuts):
            triton_backend.grad(
                logits[:, a:b], targets, a, state.max, state.log_sum, rows, 1, plain,
                out[:, a:b], ref=(ref[:, a:b], largest, torch.log1p(tail)),
            )  # fmt: skip
        expected = expected.nan_to_num(0)  # autograd's own 0 times infinity
        assert (out[2] == 0).all()
        assert relative(out, expected) < 1e-5


class TestPolicyLoss:
    __test__ = INTERPRETED

    def test_is_that_of_the_torch_backend(self, seed):
        found = []
        h, w, targets = torch.randn(5, 16), torch.randn(999, 16), torch.randint(999, (5,))
        advantages, old = torch.randn(5), torch.full((5,), -6.0)
        for backend in ("triton", "torch"):
            leaves = [x.clone().requires_grad_() for x in (h, w)]
            loss, stats = linear_policy_loss(
                *leaves, targets, advantages, old, entropy_coef=0.1, backend=backend
            )
            loss.backward()
            found.append((loss.detach(), stats.logp, *(x.grad for x in leaves)))
        for ours, theirs in zip(*found, strict=True):
            torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)
