import itertools

import pytest
import torch

from divreg.methods import mmr, mmr_fixed
from divreg.signals import similarity

FOUR = similarity(embedding=torch.tensor([[1.0, 0.0], [0.8, 0.6], [0.0, 1.0], [0.6, 0.8]]))


def close(a, b):
    torch.testing.assert_close(a, torch.tensor(b), atol=2e-6, rtol=0)


def test_the_next_is_the_best_that_is_unlike_the_chosen():
    """Chosen in the order 0, 3, 1, 2 at lambda = sigmoid(1.299) = 0.785673."""
    earned = mmr(torch.tensor([3.0, 3.0, 0.0, 3.0]), similarity=FOUR)
    close(earned, [3.0, 2.151265, -0.171462, 2.228423])


def test_what_nothing_tells_apart_shares():
    """In the order 0, 2, 1, 3: 3, 1.5, 1.1, 1.02; the ends mirror each other, so do 1 and 3."""
    close(mmr(torch.full((4,), 3.0), similarity=FOUR), [2.25, 1.06, 2.25, 1.06])


def test_a_copy_pays_for_what_it_repeats():
    """Chosen 2, then one copy at 0.7, then the other at 0.7 - 0.3."""
    alike = torch.tensor([[1.0, 1.0, 0.0], [1.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
    close(mmr_fixed(torch.ones(3), similarity=alike), [0.55, 0.55, 1.0])
    close(mmr_fixed(torch.ones(3), similarity=alike, lam=1.0), [1.0, 1.0, 1.0])


def test_copies_of_unequal_worth_are_told_apart():
    """The better copy first at 2, then the other at 0.7 * 1 - 0.3."""
    close(mmr_fixed(torch.tensor([1.0, 2.0]), similarity=torch.ones(2, 2)), [0.4, 2.0])


def test_order_has_no_effect_where_much_is_equal():
    vectors = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.6, 0.8], [0.0, 1.0], [0.0, 1.0]])
    rewards = torch.tensor([1.0, 0.0, 1.0, 1.0, 0.0])
    expected = mmr(rewards, similarity=similarity(embedding=vectors))
    for order in map(list, itertools.permutations(range(5))):
        earned = mmr(rewards[order], similarity=similarity(embedding=vectors[order]))
        torch.testing.assert_close(earned, expected[order])


def test_a_weight_outside_its_range_is_refused():
    with pytest.raises(ValueError, match=r"needs lam in \[0, 1\]; got 1.5"):
        mmr_fixed(torch.ones(4), similarity=FOUR, lam=1.5)
