import itertools
import math

import numpy as np
import pytest

from divreg.metrics.answer_entropy import answer_entropy_mm_nats, answer_entropy_nats
from divreg.metrics.distinct_classes import distinct_classes
from divreg.metrics.duplicates import duplicate_frac
from divreg.metrics.pass_at_k import mean_pass_at_k, pass_at_k


@pytest.mark.parametrize(("n", "c"), [(5, 0), (5, 2), (5, 5), (6, 1)])
def test_pass_at_k_is_the_share_of_subsets_with_a_correct_sample(n, c):
    for k in range(1, n + 1):
        subsets = list(itertools.combinations(range(n), k))
        hit = sum(any(i < c for i in subset) for subset in subsets)
        assert pass_at_k(n, c, k) == pytest.approx(hit / len(subsets))


@pytest.mark.parametrize(("n", "c", "k"), [(4, 1, 5), (4, 1, 0), (4, 5, 1), (4, -1, 1)])
def test_pass_at_k_refuses_what_does_not_fit(n, c, k):
    with pytest.raises(ValueError, match="pass_at_k needs"):
        pass_at_k(n, c, k)


@pytest.mark.parametrize(("k", "expected"), [(1, 0.25), (4, 0.728022), (8, 0.961538), (13, 1.0)])
def test_pass_at_k_of_four_correct_among_sixteen(k, expected):
    assert pass_at_k(16, 4, k) == pytest.approx(expected, abs=5e-7)


def test_pass_at_k_of_thousands_of_samples():
    assert pass_at_k(10_000, 1, 2500) == pytest.approx(0.25)
    assert pass_at_k(10_000, 5000, 5001) == 1


def test_the_mean_over_prompts_is_that_of_each():
    n, c = [16, 8, 16, 16, 8], [4, 0, 4, 16, 1]
    each = [pass_at_k(m, x, 4) for m, x in zip(n, c, strict=True)]
    assert mean_pass_at_k(n, c, 4) == pytest.approx(sum(each) / 5)
    counts = np.array(c[:1])
    assert mean_pass_at_k(np.int64(16), counts, 4) == pytest.approx(0.728022, abs=5e-7)
    assert math.isnan(mean_pass_at_k(16, [], 4))


def test_the_mean_over_prompts_refuses_what_does_not_fit():
    with pytest.raises(ValueError, match=r"got 1 and 2\. Write one n for all"):
        mean_pass_at_k([4], [1, 2], 1)
    with pytest.raises(ValueError, match=r"n=2; got 4\. Draw more samples"):
        mean_pass_at_k([4, 2], [1, 2], 4)


def test_entropy_is_in_nats():
    assert answer_entropy_nats([0, 0, 0]) == 0
    assert answer_entropy_nats([]) == 0
    assert answer_entropy_nats([0, 1, 2, 3]) == pytest.approx(math.log(4))
    assert answer_entropy_nats("aaaaaaabbc") == pytest.approx(0.801819, abs=1e-6)


def test_the_corrected_entropy_adds_half_a_class_less_one_per_completion():
    assert answer_entropy_mm_nats([]) == 0
    assert answer_entropy_mm_nats([0, 0, 0]) == 0
    assert answer_entropy_mm_nats("aaaaaaabbc") == pytest.approx(0.801819 + 2 / 20, abs=1e-6)


def test_the_corrected_entropy_is_nearer_to_the_truth_on_average():
    """All samples of 8 from three answers with shares .5, .3, .2, each weighed by its chance."""
    p = (0.5, 0.3, 0.2)
    truth = -sum(x * math.log(x) for x in p)
    plain = corrected = 0.0
    for a in range(9):
        for b in range(9 - a):
            counts = (a, b, 8 - a - b)
            chance = math.factorial(8) * math.prod(
                x**n / math.factorial(n) for x, n in zip(p, counts, strict=True)
            )
            drawn = [i for i, n in enumerate(counts) for _ in range(n)]
            plain += chance * answer_entropy_nats(drawn)
            corrected += chance * answer_entropy_mm_nats(drawn)
    assert truth - plain > 0.1
    assert abs(truth - corrected) < (truth - plain) / 3


def test_distinct_counts_classes_once_and_unknown_correctness_never():
    assert distinct_classes([0, 0, 1, 2], [True, True, None, False]) == 1
    assert distinct_classes([]) == 0


def test_duplicates_are_what_was_there_before():
    assert duplicate_frac(["a", "A ", "b", "a"]) == 0.5
    assert duplicate_frac([]) == 0
