import functools

import pytest
import torch

from divreg import methods, testing
from divreg.compose import Stateful, blend, scheduled
from divreg.losses import LOSSES
from divreg.methods import METHODS

ALL = {**METHODS, **LOSSES}
LAWS = [
    pytest.param(f, law, id=f"{name}-{law.__name__}")
    for name, f in ALL.items()
    for law in testing.laws_of(f)
]


@pytest.mark.parametrize(("method", "law"), LAWS)
def test_every_method_obeys(method, law):
    testing.check_law(law, method, examples=30 if method in METHODS.values() else 12)


@pytest.mark.parametrize("method", ALL.values(), ids=ALL)
def test_every_method_cites_its_source(method):
    testing.cites_its_source(method)


@pytest.mark.parametrize(
    "wrapped",
    [
        blend(methods.darling, 0.5),
        blend(methods.outcome_exploration, 0.5),
        functools.partial(methods.progrpo, alpha=0.1, low=1.0),
        functools.partial(methods.outcome_exploration, b0=0.0)(),
        scheduled(methods.steer, w_min=lambda step: 1 / (1 + step)),
        scheduled(methods.outcome_exploration, c=lambda step: 0.1 * step),
        blend(scheduled(methods.rarity, power=lambda step: 0.5), 0.5),
    ],
    ids=[
        "blend",
        "blend memory",
        "partial",
        "partial memory",
        "scheduled",
        "scheduled memory",
        "both",
    ],
)
def test_wrapping_a_method_breaks_no_law(wrapped):
    testing.check_method(wrapped, examples=8)


def shape_by_entropy(advantages, *, entropy, mask, alpha=0.4):
    bonus = (alpha * entropy).minimum(advantages.abs().unsqueeze(-1) / 2)
    return advantages.unsqueeze(-1) + bonus.masked_fill(~mask, 0)


@pytest.mark.parametrize("f", [shape_by_entropy, blend(shape_by_entropy, 0.5)])
def test_advantages_may_gain_a_token_axis(f):
    testing.check_method(f, examples=15)


# Bugs that were made in earnest, or that this literature has released.


def leaks(rewards, *, partition):
    return rewards / (1 + partition.float().mean())  # the mean of all groups


def in_place(rewards, *, scale=2.0):
    rewards *= scale
    return rewards


def by_position(rewards, *, confidence, beta=0.25):
    rank = confidence.argsort(dim=-1).argsort(dim=-1)
    rewards = rewards * torch.arange(1, rewards.shape[-1] + 1)
    return rewards * (1 - beta * rank / rewards.shape[-1])


def breaks_ties_by_position(rewards, *, partition, beta=0.25):
    rank = partition.argsort(dim=-1, stable=True).argsort(dim=-1, stable=True)
    return rewards * (1 - beta * rank / rewards.shape[-1])


def deaf(rewards, *, partition, strength=0.5):
    return rewards * strength**0


def infinite(rewards, *, partition):
    return rewards / partition


def widens(rewards, *, scale=2.0):
    return rewards.double() * scale


def hears_padding(token_weights, *, entropy, scale=1.0):
    return token_weights * (scale * entropy).mean().abs()


def negative(token_weights, *, advantages, mask, scale=2.0):
    return token_weights - (scale * advantages.abs()).masked_fill(~mask, 0)


def rises(loss, *, entropy, mask, strength=0.1):
    nothing = entropy[mask].sum() * 0
    return loss + strength * (nothing.sqrt() + 1)


def lifts_every_logit(loss, *, over_logits, token_share, strength=0.1):
    return loss - strength * (over_logits(lambda z: z.mean(-1)) * token_share).sum()


def tuple_memory() -> Stateful:
    def update(rewards, state):
        return rewards + len(state["seen"]), {"seen": (*state["seen"], 1)}

    return Stateful(lambda: {"seen": ()}, update)


def shared_memory() -> Stateful:
    state = {"n": 0}

    def update(rewards, state):
        state["n"] += 1
        return rewards * state["n"], state

    return Stateful(lambda: state, update)


@pytest.mark.parametrize(
    ("bug", "law"),
    [
        (leaks, "treats_groups_separately"),
        (in_place, "leaves_inputs_untouched"),
        (by_position, "ignores_the_order_of_completions"),
        (breaks_ties_by_position, "ignores_the_order_of_completions"),
        (deaf, "reads_every_hyper_parameter"),
        (infinite, "stays_finite"),
        (widens, "keeps_shape_and_dtype"),
        (hears_padding, "ignores_padding"),
        (negative, "never_goes_below_zero"),
        (rises, "has_a_finite_gradient"),
        (lifts_every_logit, "hears_only_probabilities"),
        (tuple_memory, "keeps_a_plain_memory"),
        (shared_memory, "keeps_a_plain_memory"),
    ],
)
def test_a_planted_bug_is_caught(bug, law):
    with pytest.raises(AssertionError, match=f"breaks the law '{law}'"):
        testing.check_law(getattr(testing, law), bug)


def test_the_message_names_the_method_the_law_and_the_smallest_input():
    with pytest.raises(AssertionError) as caught:
        testing.check_method(breaks_ties_by_position)
    message = str(caught.value)
    law = "ignores_the_order_of_completions"
    assert message.startswith(f"breaks_ties_by_position breaks the law '{law}' on Case(p=1, g=2")
    assert "order [1, 0]: tensor(" in message


def test_a_method_without_a_source_is_caught():
    with pytest.raises(AssertionError, match="needs a section `Source:`"):
        testing.cites_its_source(leaks)


def test_an_unknown_signal_is_named():
    def f(rewards, *, partitoin):
        return rewards

    with pytest.raises(ValueError, match="Did you mean 'partition'"):
        testing.check_method(f)


def test_a_signal_of_ones_own_is_computed_from_others():
    def worth(*, similarity, correct):
        return correct.float() * (1 - similarity.mean(-1))

    def novel(advantages, *, worth, strength=0.1):
        return advantages + strength * worth.to(advantages.dtype)

    testing.check_method(novel, signals={"worth": worth}, examples=8)
