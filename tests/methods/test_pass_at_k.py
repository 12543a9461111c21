from itertools import combinations
from statistics import fmean, pstdev

import pytest
import torch

from divreg.methods import pass_at_k


def advantages(c, n, k):
    correct = torch.arange(n) < c
    return pass_at_k(torch.zeros(n), correct=correct, k=k)


@pytest.mark.parametrize(
    ("c", "k", "right", "wrong"),
    [
        (1, 4, 0.999998, -0.142857),
        (2, 4, 0.522232, -0.174077),
        (4, 4, 0.120385, -0.120385),
        (1, 1, 2.645743, -0.377963),
        (4, 1, 0.999998, -0.999998),
    ],
)
def test_eight_completions(c, k, right, wrong):
    expected = torch.tensor([right] * c + [wrong] * (8 - c))
    torch.testing.assert_close(advantages(c, 8, k), expected, atol=2e-6, rtol=0)


@pytest.mark.parametrize("c", [0, 5, 6, 7, 8])
def test_nothing_is_left_to_learn_where_no_subset_or_every_subset_succeeds(c):
    assert torch.equal(advantages(c, 8, 4), torch.zeros(8))


def test_it_is_the_mean_advantage_of_all_subsets():
    """Two of five correct, k = 3: the ten subsets listed, normalised, and averaged for each."""
    subsets = list(combinations(range(5), 3))
    earned = [float(any(i < 2 for i in s)) for s in subsets]
    normalised = [(r - fmean(earned)) / (pstdev(earned) + 1e-6) for r in earned]
    expected = [
        fmean(a for s, a in zip(subsets, normalised, strict=True) if i in s) for i in range(5)
    ]
    torch.testing.assert_close(advantages(2, 5, 3), torch.tensor(expected), atol=1e-5, rtol=0)


def test_groups_smaller_than_k_are_refused_with_the_cure():
    with pytest.raises(ValueError, match="num_generations=16"):
        advantages(1, 4, 8)
