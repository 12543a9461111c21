"""``token_stats`` on torch against the whole softmax in float64."""

import math

import pytest
import torch
from divreg_kernels import last_backend, token_stats, token_stats_reference

MOMENTS = ("varentropy", "log_sum_p2", "sum_p2_logp")
SMOOTH = ("logp", "entropy", "lse", *MOMENTS)
EVERY = (*SMOOTH, "p_max", "rank")
VARENTROPY = {"varentropy": 5e-5}
GRADIENT = {torch.float32: 1e-5, torch.float16: 4e-4, torch.bfloat16: 3e-3}  # relative Frobenius


def both(logits, targets, **settings):
    """Ours, the truth, and the logits of each."""
    ours, exact = logits.clone().requires_grad_(), logits.double().requires_grad_()
    topk = settings.pop("topk", None)
    stats = token_stats(ours, targets, stats=EVERY, topk=topk, backend="torch", **settings)
    return stats, token_stats_reference(exact, targets, topk=topk, **settings), ours, exact


def relative(a, b):
    return ((a.double() - b).norm() / b.norm()).item()


@pytest.mark.parametrize("dtype", GRADIENT)
@pytest.mark.parametrize(
    "settings",
    [{}, {"temperature": 0.7}, {"softcap": 20.0, "logit_scale": 1.5, "temperature": 1.3}],
    ids=["plain", "temperature", "softcap"],
)
def test_every_statistic_and_its_gradient(seed, close, gradients, dtype, settings):
    logits, targets = 3 * torch.randn(6, 5003).to(dtype), torch.randint(5003, (6,))
    stats, truth, ours, exact = both(logits, targets, topk=10, **settings)
    close(stats, truth, **VARENTROPY)
    (found,), (expected,) = gradients(stats, [ours]), gradients(truth, [exact])
    assert found.dtype == dtype
    assert relative(found, expected) < GRADIENT[dtype]
    assert last_backend() == "torch"


@pytest.mark.parametrize("v", [1, 2, 17, 1023, 1025, 32003])
@pytest.mark.parametrize("n", [1, 2, 131])
def test_odd_sizes(seed, close, gradients, n, v):
    logits, targets = 3 * torch.randn(n, v), torch.randint(v, (n,))
    stats, truth, ours, exact = both(logits, targets)
    close(stats, truth, **VARENTROPY)
    (found,), (expected,) = gradients(stats, [ours]), gradients(truth, [exact])
    assert (found.double() - expected).norm() <= 1e-5 * expected.norm() + 1e-6


def test_a_whole_vocabulary(seed, close):
    logits, targets = 3 * torch.randn(3, 151_936).bfloat16(), torch.randint(151_936, (3,))
    stats, truth, *_ = both(logits, targets)
    close(stats, truth, **VARENTROPY)


def test_a_temperature_for_each_row_and_more_than_two_dimensions(seed, close, gradients):
    logits, targets = 3 * torch.randn(2, 3, 999), torch.randint(999, (2, 3))
    stats, truth, ours, exact = both(logits, targets, temperature=torch.rand(2, 3) + 0.5)
    assert stats.logp.shape == (2, 3)
    close(stats, truth, **VARENTROPY)
    (found,), (expected,) = gradients(stats, [ours]), gradients(truth, [exact])
    assert relative(found, expected) < 1e-5


def test_strided_rows_and_a_shifted_base(seed, close):
    buffer, targets = torch.randn(7, 2, 1001), torch.randint(1000, (7,))
    stats, truth, *_ = both(buffer[:, 1, 1:], targets)
    close(stats, truth, **VARENTROPY)


def test_an_offset_of_all_logits_costs_nothing(seed, close):
    logits, targets = 3 * torch.randn(4, 5003) + 1e4, torch.randint(5003, (4,))
    stats, truth, *_ = both(logits, targets)
    close(stats, truth, logp=1e-5, entropy=1e-5, lse=1e-2, others=5e-5)


def test_strongly_negative_rows(seed, close):
    logits, targets = torch.randn(4, 5003) - 200, torch.randint(5003, (4,))
    stats, truth, *_ = both(logits, targets)
    close(stats, truth, lse=2e-5, **VARENTROPY)


def test_close_to_a_collapse_the_entropy_is_right_to_its_last_digits(seed):
    logits = torch.randn(8, 32_003)
    logits[:, 5] = torch.linspace(18.0, 30.0, 8)  # entropies of 1e-2 to 1e-7 nats
    stats, truth, *_ = both(logits, torch.full((8,), 5))
    assert truth.entropy.min() < 1e-5
    assert truth.entropy.max() > 1e-3
    assert (stats.entropy >= 0).all()
    assert ((stats.entropy.double() - truth.entropy) / truth.entropy).abs().max() < 1e-5
    assert ((stats.logp.double() - truth.logp) / truth.logp).abs().max() < 1e-5


MASKS = {
    "one": lambda x: x[:, 7:8],
    "the first block": lambda x: x[:, :4096],
    "nine of ten": lambda x: x[:, 500:],
    "all but one": lambda x: x[:, 1:],
}


@pytest.mark.parametrize("kind", MASKS)
def test_tokens_of_probability_zero(seed, close, gradients, kind):
    logits, targets = 3 * torch.randn(4, 5003), torch.zeros(4, dtype=torch.long)
    if kind == "the first block":
        targets += 5000
    MASKS[kind](logits).fill_(-math.inf)
    stats, truth, ours, exact = both(logits, targets)
    close(stats, truth, **VARENTROPY)
    names = ("logp", "entropy", "varentropy")
    (found,) = gradients(stats, [ours], names)
    assert torch.isfinite(found).all()
    assert (found[logits == -math.inf] == 0).all()
    if kind != "all but one":
        expected = exact.detach()[:, :].clone()
        live = logits[0] > -math.inf
        part = expected[:, live].requires_grad_()
        at = torch.nonzero(live).squeeze(1).tolist().index(int(targets[0]))
        whole = token_stats_reference(part, torch.full_like(targets, at))
        (expected,) = gradients(whole, [part], names)
        assert relative(found[:, live], expected) < 1e-5


def test_a_target_of_probability_zero_has_log_prob_minus_infinity(seed):
    logits, targets = torch.randn(2, 99), torch.tensor([3, 4])
    logits[0, 3] = -math.inf
    stats, truth, *_ = both(logits, targets)
    assert stats.logp[0] == truth.logp[0] == -math.inf
    assert stats.rank[0] == 98
    assert torch.isfinite(stats.entropy).all()


@pytest.mark.parametrize("poison", [math.nan, math.inf])
def test_a_poisoned_row_poisons_no_other(seed, close, gradients, poison):
    logits, targets = torch.randn(3, 999), torch.randint(999, (3,))
    logits[1, 5] = poison
    stats, _, ours, _ = both(logits, targets)
    for name, value in stats.items():
        if name not in ("rank", "p_max"):
            assert value[1].isnan(), name
        assert torch.isfinite(value[[0, 2]]).all()
    (found,) = gradients(stats, [ours])
    assert torch.isfinite(found[[0, 2]]).all()
    assert found[1].isnan().any()


def test_a_row_without_any_token_is_nan_as_in_torch(seed):
    logits = torch.full((1, 9), -math.inf)
    stats = token_stats(logits, torch.tensor([0]), stats=("logp", "entropy"))
    assert stats.logp.isnan().all()
    assert stats.entropy.isnan().all()


def test_masked_rows_are_zero_and_get_no_gradient_even_where_they_are_nan(seed, gradients):
    logits, targets = torch.randn(4, 99), torch.tensor([1, 2, -100, 3])
    logits[1], logits[2] = math.nan, math.nan
    mask = torch.tensor([True, False, True, True])
    stats, _, ours, _ = both(logits, targets, mask=mask)
    for _, value in stats.items():
        assert (value[1:3] == 0).all()
    (found,) = gradients(stats, [ours])
    assert (found[1:3] == 0).all()
    assert (found[[0, 3]] != 0).any()


def test_the_gradient_over_the_logits_is_the_same(seed, gradients):
    logits, targets = torch.randn(5, 4099), torch.randint(4099, (5,))
    leaf = logits.clone().requires_grad_()
    there = gradients(token_stats(leaf, targets), [leaf], ("logp", "entropy"))[0]
    other = logits.clone().requires_grad_()
    copy = other * 1.0
    stats = token_stats(copy, targets, inplace_backward=True)
    here = gradients(stats, [other], ("logp", "entropy"))[0]
    assert torch.equal(here, there)
    assert torch.equal(copy.detach(), there), "it lies where the logits were"


def test_what_has_no_gradient_asks_for_none(seed):
    logits = torch.randn(2, 99, requires_grad=True)
    stats = token_stats(logits, torch.tensor([1, 2]), stats=EVERY, topk=5)
    learning = {name for name, value in stats.items() if value.requires_grad}
    assert learning == set(SMOOTH)


def test_twice_is_bit_for_bit_the_same(seed):
    logits, targets = torch.randn(64, 4099), torch.randint(4099, (64,))
    one, two = token_stats(logits, targets, stats=EVERY), token_stats(logits, targets, stats=EVERY)
    for name, value in one.items():
        assert torch.equal(value, getattr(two, name))


@pytest.mark.parametrize("threads", [1, 2])
def test_a_row_alone_is_bit_for_bit_the_row_among_others(seed, threads):
    logits, targets = torch.randn(64, 32_003), torch.randint(32_003, (64,))
    before = torch.get_num_threads()
    torch.set_num_threads(threads)  # with several, torch adds up a row that is alone in parts
    try:
        found = [
            token_stats(x, y, stats=EVERY, topk=5, batch_invariant=True)
            for x, y in ((logits, targets), (logits[7:8], targets[7:8]))
        ]
    finally:
        torch.set_num_threads(before)
    for name, value in found[1].items():
        assert torch.equal(value, getattr(found[0], name)[7:8]), name


def test_as_exact_as_torch_in_the_same_dtype(seed):
    """Three ways: our error against float64 is no larger than torch's own, and little slack."""
    logits, targets = 5 * torch.randn(32, 32_003), torch.randint(32_003, (32,))
    stats, truth, *_ = both(logits, targets)
    theirs = logits.log_softmax(-1)
    entropy = -(theirs.exp() * theirs).sum(-1)
    logp = theirs.gather(1, targets[:, None]).squeeze(1)
    for ours, torchs, exact in (
        (stats.logp, logp, truth.logp),
        (stats.entropy, entropy, truth.entropy),
    ):
        error = (ours.double() - exact).abs().max()
        assert error <= (torchs.double() - exact).abs().max() + 1e-6


@pytest.mark.parametrize("stats", [("logp", "entropy"), EVERY])
def test_compiled_in_one_graph(seed, stats):
    def loss(logits, targets):
        found = token_stats(logits, targets, stats=stats, temperature=0.9)
        return sum(value.sum() for _, value in found.items())

    logits, targets = torch.randn(4, 999, requires_grad=True), torch.randint(999, (4,))
    expected = torch.autograd.grad(loss(logits, targets), logits)[0]
    compiled = torch.compile(loss, fullgraph=True, backend="aot_eager")
    found = torch.autograd.grad(compiled(logits, targets), logits)[0]
    torch.testing.assert_close(found, expected)


def test_a_second_derivative_is_refused(seed):
    logits = torch.randn(2, 99, requires_grad=True)
    stats = token_stats(logits, torch.tensor([1, 2]))
    (first,) = torch.autograd.grad(stats.entropy.sum(), logits, create_graph=True)
    with pytest.raises(RuntimeError, match="token_stats_grad"):
        first.sum().backward()


REFUSED = {
    "shapes": (lambda x, y: token_stats(x, y[:1]), r"needs logits \(\.\.\., v\) and targets"),
    "statistic": (lambda x, y: token_stats(x, y, stats=["renyi"]), r"got 'renyi' in stats"),
    "its argument": (
        lambda x, y: token_stats(x, y, stats=["topk_mass"]),
        "got 'topk_mass' in stats. Use topk=10",
    ),
    "temperature": (lambda x, y: token_stats(x, y, temperature=0.0), "temperature needs to be pos"),
    "topk": (lambda x, y: token_stats(x, y, topk=0), "topk needs at least 1; got 0"),
    "backend": (lambda x, y: token_stats(x, y, backend="cuda"), "has the backends 'triton' and"),
    "triton on a CPU": (
        lambda x, y: token_stats(x, y, backend="triton"),
        r"backend='triton': .*(pip install triton|use backend='torch')",
    ),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_cannot_be_is_refused(kind, monkeypatch):
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    call, message = REFUSED[kind]
    with pytest.raises(ValueError, match=message):
        call(torch.randn(2, 9), torch.tensor([1, 2]))
