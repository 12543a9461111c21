"""States that join: any split of the columns, over any number of ranks, is the whole."""

import pytest
import torch
from divreg_kernels import entropy_change, merge_states, token_stats, token_stats_reference
from divreg_kernels.state import empty, finish
from divreg_kernels.torch_backend import fold
from divreg_kernels.transform import Transform

EVERY = ("logp", "entropy", "lse", "p_max", "varentropy", "log_sum_p2", "sum_p2_logp")


def state_of(logits, targets, columns, transform):
    before = empty(len(logits), transform.scale, moments=True, rank=False, device="cpu")
    return fold(logits[:, columns], targets, columns.start, before, transform)


@pytest.mark.parametrize("parts", [1, 2, 4, 7])
@pytest.mark.parametrize("temperature", [0.7, "per row"])
def test_shards_of_the_vocabulary_join_to_the_whole(seed, parts, temperature):
    logits, targets = 3 * torch.randn(9, 5003), torch.randint(5003, (9,))
    logits[0, :2000] = -torch.inf  # a shard that has seen nothing
    targets[0] = 4000
    if temperature == "per row":
        temperature = torch.rand(9) + 0.5
    transform, width = Transform(temperature), -(-5003 // parts)
    states = [
        state_of(logits, targets, slice(at, min(at + width, 5003)), transform)
        for at in range(0, 5003, width)
    ]
    found = finish(merge_states(states))
    truth = token_stats_reference(logits, targets, temperature=temperature)
    for name in EVERY:
        bound = 5e-5 if name == "varentropy" else 5e-6
        assert (found[name].double() - getattr(truth, name)).abs().max() < bound, name


def test_the_order_of_the_shards_does_not_matter(seed):
    logits, targets = torch.randn(3, 300), torch.randint(300, (3,))
    thirds = [state_of(logits, targets, slice(at, at + 100), Transform()) for at in (0, 100, 200)]
    there, back = finish(merge_states(thirds)), finish(merge_states(thirds[::-1]))
    for name in EVERY:
        torch.testing.assert_close(there[name], back[name], rtol=1e-5, atol=1e-6)


def test_a_poisoned_shard_poisons_the_row():
    logits = torch.zeros(2, 8)
    logits[0, 1] = torch.nan
    targets = torch.tensor([6, 6])
    for order in ((0, 4), (4, 0)):
        states = [state_of(logits, targets, slice(at, at + 4), Transform()) for at in order]
        found = finish(merge_states(states))
        for name in EVERY:
            assert found[name].isnan().tolist() == [True, False], name


def test_ties_of_the_largest_logit_are_counted_once_each():
    """Three tokens at 2 and one at 0: S = 3 + e^-2, by hand."""
    logits, targets = torch.tensor([[2.0, 2.0, 0.0, 2.0]]), torch.tensor([0])
    halves = [state_of(logits, targets, slice(at, at + 2), Transform()) for at in (0, 2)]
    joined = merge_states(halves)
    assert float(joined.tail) == pytest.approx(2 + torch.tensor(-2.0).exp().item())
    assert float(joined.t) == pytest.approx(-2 * torch.tensor(-2.0).exp().item())


def test_states_that_do_not_belong_together_are_refused():
    full = empty(2, 1.0, moments=True, rank=False, device="cpu")
    bare = empty(2, 1.0, moments=False, rank=False, device="cpu")
    for states in ([], [full, bare]):
        with pytest.raises(ValueError, match="merge_states needs at least one state, all with"):
            merge_states(states)


def test_the_entropy_change_is_the_one_that_a_small_step_makes(seed):
    """Against the finite difference of a step on each token's own logits, in float64."""
    logits, targets = 2 * torch.randn(16, 200).double(), torch.randint(200, (16,))
    advantages, old = torch.randn(16).double(), -5 + torch.randn(16).double()
    names = ("logp", "entropy", "log_sum_p2", "sum_p2_logp")
    stats = token_stats(logits.float(), targets, stats=names)
    found = entropy_change(stats, advantages, old)

    leaf = logits.clone().requires_grad_()
    logp = leaf.log_softmax(-1).gather(1, targets[:, None]).squeeze(1)
    (slope,) = torch.autograd.grad(((logp - old).exp() * advantages).sum(), leaf)
    step = 1e-5

    def entropy(x):
        return -(x.log_softmax(-1).exp() * x.log_softmax(-1)).sum(-1)

    expected = (entropy(logits + step * slope) - entropy(logits - step * slope)) / (2 * step)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-6)


def test_the_entropy_change_needs_its_sums():
    stats = token_stats(torch.zeros(1, 3), torch.tensor([0]))
    with pytest.raises(ValueError, match="needs logp, entropy, log_sum_p2 and sum_p2_logp; got"):
        entropy_change(stats, torch.ones(1))
