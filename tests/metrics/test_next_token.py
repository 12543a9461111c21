"""Distributions over tokens: what becomes of logits, and what is refused."""

import numpy as np
import pytest

from divreg.metrics.next_token import entropy_nats, probabilities


def test_logits_may_be_shifted_and_huge():
    z = np.array([[1.0, 2.0, -np.inf], [0.0, 0.0, 0.0]])
    found = probabilities("f", z, None)
    np.testing.assert_allclose(found.sum(-1), 1)
    assert found[0, 2] == 0
    np.testing.assert_allclose(probabilities("f", z + 5e4, None), found)
    np.testing.assert_allclose(probabilities("f", np.log(found[1]), None), 1 / 3)


def test_numbers_of_low_precision_become_float64():
    assert probabilities("f", np.zeros(4, np.float16), None).dtype == np.float64
    half = np.full(4096, 1 / 4096, np.float16)
    assert probabilities("f", None, half).sum() == pytest.approx(1, abs=1e-2)


def test_probabilities_are_not_scaled():
    assert probabilities("f", None, [0.5, 0.25]).tolist() == [0.5, 0.25]


def test_nothing_times_the_log_of_nothing_is_nothing():
    assert entropy_nats(np.array([1.0, 0.0])) == 0
    assert str(float(entropy_nats(np.array([1.0])))) == "0.0"


@pytest.mark.parametrize(
    ("logits", "probs", "cure"),
    [
        (None, None, r"got neither. Write f\(logits\)"),
        ([1.0], [1.0], "got both"),
        (1.0, None, r"got shape \(\)"),
        (None, [], r"got shape \(0,\)"),
        ([np.nan, 0.0], None, "maximum of nan"),
        ([np.inf, 0.0], None, "maximum of inf"),
        ([-np.inf, -np.inf], None, "maximum of -inf"),
        (None, [0.5, -0.1], "got -0.1. Pass logits or log-probabilities as logits"),
        (None, [np.nan, 1.0], "got nan"),
        (None, [2.0, 1.0], "got 3. Pass logits as logits"),
        (None, [[1.0], [0.0]], "got 0"),
    ],
)
def test_what_is_no_distribution_is_refused(logits, probs, cure):
    with pytest.raises(ValueError, match=cure):
        probabilities("f", logits, probs)
