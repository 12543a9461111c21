"""``linear_token_stats`` and ``linear_policy_loss`` on torch against float64 of the same inputs."""

import pytest
import torch
from divreg_kernels import (
    linear_policy_loss,
    linear_token_stats,
    matmul,
    token_stats,
    token_stats_reference,
)

SMOOTH = ("logp", "entropy", "lse", "varentropy", "log_sum_p2", "sum_p2_logp")
GRADIENT = {torch.float32: 1e-5, torch.bfloat16: 3e-3}
WORKSPACES = {  # 40 rows of 5003 logits are 0.8 MB
    "everything is kept": {"workspace_mb": 64.0},
    "some rows are kept": {"workspace_mb": 0.6},
    "nothing is kept": {"workspace_mb": 0.3, "keep_logits": False},
    "nothing is skipped": {"workspace_mb": 0.6, "skip_zero_rows": False},
}


@pytest.fixture(params=GRADIENT, ids=str)
def head(request, seed):
    """Hidden states, weight, bias, targets and a mask."""
    hidden, weight = torch.randn(4, 10, 64), 0.4 * torch.randn(5003, 64)
    parts = (hidden, weight, torch.randn(5003))
    targets = torch.randint(5003, (4, 10))
    targets[1, 3] = -100
    return [x.to(request.param) for x in parts], targets, torch.rand(4, 10) > 0.4


def leaves(parts):
    ours = [x.clone().requires_grad_() for x in parts]
    return ours, [x.double().requires_grad_() for x in parts]


def relative(a, b):
    return ((a.double() - b).norm() / b.norm()).item()


@pytest.mark.parametrize("space", WORKSPACES)
def test_statistics_and_gradients_whatever_is_kept(head, close, gradients, space):
    parts, targets, mask = head
    (h, w, b), (dh, dw, db) = leaves(parts)
    settings = {"temperature": 0.8, "softcap": 30.0, "mask": mask}
    stats = linear_token_stats(h, w, targets, bias=b, stats=SMOOTH, **settings, **WORKSPACES[space])
    settings["mask"] = mask & (targets != -100)
    truth = token_stats_reference(dh @ dw.T + db, targets, **settings)
    close(stats, truth, logp=1e-4, entropy=1e-4, others=1e-4)
    rms = (stats.logp.double() - truth.logp).square().mean().sqrt()
    assert rms < 1e-5
    for ours, exact in zip(
        gradients(stats, [h, w, b]), gradients(truth, [dh, dw, db]), strict=True
    ):
        assert relative(ours, exact) < GRADIENT[ours.dtype]


@pytest.mark.parametrize("space", WORKSPACES)
def test_a_reference_in_the_same_pass(head, close, gradients, space):
    """Its hidden states are of another width; in two rows it is the policy itself."""
    parts, targets, mask = head
    (h, w, b), (dh, dw, db) = leaves(parts)
    others = [torch.randn(4, 10, 32), 0.4 * torch.randn(5003, 32), torch.randn(5003)]
    others = [x.to(h.dtype) for x in others]
    settings = {"temperature": 0.8, "softcap": 30.0, "mask": mask & (targets != -100)}
    stats = linear_token_stats(
        h, w, targets, bias=b, ref=tuple(others), **settings, **WORKSPACES[space]
    )
    rh, rw, rb = (x.double() for x in others)
    truth = token_stats_reference(dh @ dw.T + db, targets, ref_logits=rh @ rw.T + rb, **settings)
    close(stats, truth, others=1e-4)
    names = ("logp", "entropy", "ref_kl")
    for ours, exact in zip(
        gradients(stats, [h, w, b], names), gradients(truth, [dh, dw, db], names), strict=True
    ):
        assert relative(ours, exact) < GRADIENT[ours.dtype]


def test_the_policy_itself_as_reference_is_at_distance_zero(seed):
    h, w, targets = torch.randn(6, 8, requires_grad=True), torch.randn(99, 8), torch.arange(6)
    stats = linear_token_stats(h, w, targets, ref=(h, w))
    (slope,) = torch.autograd.grad(stats.ref_kl.sum(), h)
    assert stats.ref_kl.abs().max() < 1e-6
    assert slope.abs().max() < 1e-6


def test_a_reference_that_excludes_tokens():
    """-inf where the policy has nothing either costs nothing; elsewhere the divergence is inf."""
    h, w, targets = torch.zeros(2, 1), torch.zeros(3, 1), torch.tensor([0, 1])
    without = torch.tensor([0.0, 0.0, -torch.inf])
    ref = (h, w, without)
    both = linear_token_stats(h, w, targets, bias=without, ref=ref).ref_kl
    one = linear_token_stats(h, w, targets, ref=ref).ref_kl
    assert both.abs().max() < 1e-6
    assert (one == torch.inf).all()


def test_ranks_and_the_most_likely_tokens(head, close):
    parts, targets, mask = head
    (h, w, b), (dh, dw, db) = leaves(parts)
    settings = {"topk": 10, "mask": mask & (targets != -100), "softcap": 30.0}
    stats = linear_token_stats(h, w, targets, bias=b, stats=["rank"], workspace_mb=0.4, **settings)
    truth = token_stats_reference(dh @ dw.T + db, targets, **settings)
    close(stats, truth, rank=1, others=1e-4)  # two logits may be closer than a rounding
    assert (stats.rank == truth.rank).float().mean() > 0.9
    everything = linear_token_stats(h, w, targets, topk=6000).topk_mass
    torch.testing.assert_close(everything, (targets != -100).float())


@pytest.mark.parametrize("stored", ["fp32", "bf16", "fp16"])
def test_asking_for_ranks_changes_nothing_else(head, stored):
    (h, w, _), _, mask = head
    likely = (h.float() @ w.float().T).argmax(-1)  # where rounding up would make logp positive
    settings = {"mask": mask, "logits_dtype": stored, "workspace_mb": 0.4}
    plain = linear_token_stats(h, w, likely, **settings)
    ranked = linear_token_stats(h, w, likely, stats=["logp", "rank"], **settings)
    assert torch.equal(ranked.logp, plain.logp)
    assert (plain.logp <= 1e-6).all()
    assert (ranked.rank <= 3).all()


@pytest.mark.parametrize("stored", ["bf16", "fp16"])
def test_logits_of_16_bits_are_rounded_and_nothing_else(head, close, stored):
    parts, targets, _ = head
    (h, w, b), (dh, dw, _) = leaves(parts)
    dtype = {"bf16": torch.bfloat16, "fp16": torch.float16}[stored]
    stats = linear_token_stats(h, w, targets, logits_dtype=stored, mask=targets != -100)
    rounded = (dh @ dw.T).to(dtype)
    truth = token_stats_reference(rounded, targets, mask=targets != -100)
    # A product on the edge between two numbers of 16 bits may fall to either.
    close(stats, truth, logp=0.04 if stored == "bf16" else 5e-3, others=2e-3)
    error = (stats.logp.double() - truth.logp).abs()
    assert error.median() < 2e-4
    names = torch.autograd.grad(stats.entropy.sum(), [h, w])
    exact = dh @ dw.T
    plain = token_stats_reference(exact, targets, mask=targets != -100)
    for ours, true in zip(names, torch.autograd.grad(plain.entropy.sum(), [dh, dw]), strict=True):
        assert relative(ours, true) < 0.02
    assert b is not None


def test_skipping_rows_changes_no_bit(head, gradients):
    parts, targets, mask = head
    found = []
    for skip in (True, False):
        (h, w, b), _ = leaves(parts)
        stats = linear_token_stats(
            h, w, targets, bias=b, mask=mask, keep_logits=False, skip_zero_rows=skip
        )
        found.append(gradients(stats, [h, w, b], ("logp", "entropy")))
    for ours, whole in zip(*found, strict=True):
        torch.testing.assert_close(ours, whole, rtol=1e-2 if ours.dtype != torch.float32 else 1e-5,
                                   atol=1e-4)  # fmt: skip
    hidden = found[0][0]
    assert (hidden[~(mask & (targets != -100))] == 0).all()


@pytest.mark.parametrize("n", [1, 40, 700])
@pytest.mark.parametrize("v", [5, 5003, 150_000])
@pytest.mark.parametrize("workspace", [2.0, 64.0, 512.0])
@pytest.mark.parametrize("keep", ["auto", "False"])
def test_tiles_and_kept_logits_stay_within_the_workspace(n, v, workspace, keep):
    for device, dtype in (
        ("cpu", torch.float32),
        ("cpu", torch.bfloat16),
        ("cuda", torch.bfloat16),
    ):
        for more in ({}, {"logits": torch.bfloat16}, {"ref_h": 32}):
            at = torch.device(device)
            cut = matmul.tiling(n, 64, v, dtype, at, workspace, keep, **more)
            tile = matmul.tile_bytes(cut.rows, cut.columns, 64, dtype, at, **more)
            each = more.get("logits", torch.float32).itemsize
            assert tile + each * cut.kept * v <= workspace * 2**20
            assert cut.kept == n or cut.kept % cut.rows == 0
            if keep == "False":
                assert cut.kept == 0


def test_the_shape_of_a_large_model_fits_its_workspace():
    """8192 tokens of a vocabulary of 151,936: 4.6 GiB of logits, of which 512 MiB exist."""
    cut = matmul.tiling(8192, 4096, 151_936, torch.bfloat16, torch.device("cuda"), 512, "auto")
    tile = matmul.tile_bytes(cut.rows, cut.columns, 4096, torch.bfloat16, torch.device("cuda"))
    assert tile + 4 * cut.kept * cut.v <= 512 * 2**20
    everything = matmul.tiling(
        8192, 4096, 151_936, torch.bfloat16, torch.device("cuda"), 6000, "auto"
    )
    assert everything.kept == 8192


def test_autocast_multiplies_in_its_dtype(seed, close):
    h, w, targets = torch.randn(6, 64), torch.randn(999, 64), torch.randint(999, (6,))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        stats = linear_token_stats(h, w, targets)
    truth = token_stats_reference(h.bfloat16().double() @ w.bfloat16().double().T, targets)
    close(stats, truth, others=1e-4)


def test_compiled_in_one_graph(seed):
    def loss(h, w, targets):
        stats = linear_token_stats(h, w, targets)
        return stats.logp.sum() + stats.entropy.sum()

    h, w = torch.randn(6, 64, requires_grad=True), torch.randn(999, 64, requires_grad=True)
    targets = torch.randint(999, (6,))
    expected = torch.autograd.grad(loss(h, w, targets), [h, w])
    compiled = torch.compile(loss, fullgraph=True, backend="aot_eager")
    found = torch.autograd.grad(compiled(h, w, targets), [h, w])
    torch.testing.assert_close(found, expected)


def test_compiled_in_one_graph_with_everything(seed):
    ref, targets = (torch.randn(6, 8), torch.randn(999, 8)), torch.randint(999, (6,))
    names = (*SMOOTH, "p_max", "rank")

    def loss(h, w):
        stats = linear_token_stats(h, w, targets, stats=names, topk=5, ref=ref, workspace_mb=0.2)
        return sum(value.sum() for _, value in stats.items())

    h, w = torch.randn(6, 64, requires_grad=True), torch.randn(999, 64, requires_grad=True)
    expected = torch.autograd.grad(loss(h, w), [h, w])
    compiled = torch.compile(loss, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(torch.autograd.grad(compiled(h, w), [h, w]), expected)


def test_no_rows_give_nothing_that_can_be_differentiated():
    h, w = torch.randn(0, 8, requires_grad=True), torch.randn(99, 8, requires_grad=True)
    none = torch.zeros(0, dtype=torch.long)
    for total in (
        linear_token_stats(h, w, none).logp.sum(),
        linear_policy_loss(h, w, none, none.float())[0],
    ):
        (grad,) = torch.autograd.grad(total, [w])
        assert float(total.detach()) == float(grad.abs().sum()) == 0
    assert token_stats(torch.randn(0, 9), none).entropy.shape == (0,)


POLICIES = {
    "grpo": {},
    "a function": {"loss": lambda logp, old, advantages: -(logp - old).exp() * advantages},
    "with all terms": {"beta": 0.1, "entropy_coef": 0.02, "normalizer": 7.0},
    "few rows at a time": {"workspace_mb": 0.2},
    "no row is skipped": {"skip_zero_rows": False},
}


@pytest.mark.parametrize("kind", POLICIES)
def test_the_policy_loss_is_the_one_that_autograd_takes_through_the_logits(head, kind):
    parts, targets, mask = head
    (h, w, b), (dh, dw, db) = leaves(parts)
    keep = mask & (targets != -100)
    truth = token_stats_reference(dh @ dw.T + db, targets, temperature=0.9, mask=keep)
    old = (truth.logp + 0.3 * torch.randn(4, 10)).detach()
    reference = (truth.logp + 0.3 * torch.randn(4, 10)).detach()
    advantages, weights = torch.randn(4, 10), torch.rand(4, 10)
    advantages[0] = 0.0
    chosen = POLICIES[kind]
    loss, stats = linear_policy_loss(
        h, w, targets, advantages, old, bias=b, ref_logp=reference, weights=weights, mask=mask,
        temperature=0.9, **chosen,
    )  # fmt: skip

    ratio, gap = (truth.logp - old).exp(), reference - truth.logp
    value = -torch.minimum(ratio * advantages, ratio.clamp(0.8, 1.2) * advantages)
    if "loss" in chosen:
        value = -ratio * advantages
    value = value + chosen.get("beta", 0) * (gap.exp() - gap - 1)
    value = value - chosen.get("entropy_coef", 0) * truth.entropy
    expected = (value * keep * weights).sum() / chosen.get("normalizer", keep.sum())

    assert abs(float(loss.detach().double() - expected.detach())) < 1e-5
    assert not stats.logp.requires_grad
    (2 * loss).backward()  # a power of two: one rounding of the gradient, not two, is judged
    (2 * expected).backward()
    for ours, exact in ((h, dh), (w, dw), (b, db)):
        assert relative(ours.grad, exact.grad) < GRADIENT[ours.dtype]


def test_a_masked_row_of_nan_changes_no_gradient(seed):
    h, w, targets = torch.randn(6, 8), torch.randn(99, 8), torch.randint(99, (6,))
    mask = torch.tensor([True] * 5 + [False])
    found = []
    for value in (0.0, torch.nan):
        hidden = h.clone()
        hidden[5] = value
        old = torch.full((6,), -4.0)
        old[5] = value
        leaf, weight = hidden.requires_grad_(), w.clone().requires_grad_()
        loss, _ = linear_policy_loss(leaf, weight, targets, torch.ones(6), old, mask=mask)
        stats = linear_token_stats(leaf, weight, targets, mask=mask)
        (loss + stats.entropy.sum()).backward()
        found.append((leaf.grad, weight.grad))
    for zero, nan in zip(*found, strict=True):
        assert torch.equal(zero, nan)


def test_a_batch_without_any_token_costs_nothing(seed):
    h, w, targets = torch.randn(3, 8, requires_grad=True), torch.randn(99, 8), torch.arange(3)
    nobody = torch.zeros(3, dtype=torch.bool)
    loss, _ = linear_policy_loss(h, w, targets, torch.ones(3), mask=nobody)
    loss.backward()
    assert float(loss.detach()) == float(h.grad.abs().sum()) == 0


def test_a_reference_whose_bias_is_none(seed):
    h, w, targets = torch.randn(3, 8), torch.randn(99, 8), torch.arange(3)
    assert linear_token_stats(h, w, targets, ref=(h, w, None)).ref_kl.max() < 1e-6


def test_without_a_gradient_none_is_computed(seed):
    h, w, targets = torch.randn(6, 8), torch.randn(99, 8), torch.randint(99, (6,))
    with torch.no_grad():
        loss, _ = linear_policy_loss(h, w, targets, torch.ones(6))
    assert not loss.requires_grad


REFUSED = {
    "shapes": (lambda h, w, y: linear_token_stats(h, w.T, y), r"needs hidden \(\.\.\., h\)"),
    "dtypes": (lambda h, w, y: linear_token_stats(h.half(), w, y), "needs one dtype; hidden has"),
    "statistic": (
        lambda h, w, y: linear_token_stats(h, w, y, stats=["ref_kl"]),
        r"got 'ref_kl' in stats. Use ref=\(hidden, head\) of linear_token_stats",
    ),
    "topk": (lambda h, w, y: linear_token_stats(h, w, y, topk=0), "topk needs at least 1; got 0"),
    "logits": (
        lambda h, w, y: linear_token_stats(h, w, y, logits_dtype="fp8"),
        "logits_dtype needs fp32, bf16, fp16; got 'fp8'",
    ),
    "reference": (
        lambda h, w, y: linear_token_stats(h, w, y, ref=(h, w[:9])),
        r"ref needs hidden states \(6, 'h'\) and a head \(99, h\); got",
    ),
    "keep": (lambda h, w, y: linear_token_stats(h, w, y, keep_logits="yes"), "'auto', True or F"),
    "workspace": (
        lambda h, w, y: linear_token_stats(h, w, y, workspace_mb=0.001),
        r"workspace_mb=0.001 holds no tile .* Use workspace_mb=512",
    ),
    "no row": (
        lambda h, w, y: linear_policy_loss(h, w, y, y.float(), workspace_mb=0.0001),
        "workspace_mb=0.0001 holds no row",
    ),
    "loss": (lambda h, w, y: linear_policy_loss(h, w, y, y.float(), loss="ppo"), "got 'ppo'"),
    "beta": (lambda h, w, y: linear_policy_loss(h, w, y, y.float(), beta=0.1), "needs ref_logp"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_cannot_be_is_refused(kind):
    call, message = REFUSED[kind]
    with pytest.raises(ValueError, match=message):
        call(torch.randn(6, 8), torch.randn(99, 8), torch.randint(99, (6,)))
