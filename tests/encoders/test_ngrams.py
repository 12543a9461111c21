"""Counts of character n-grams: equal texts point the same way, disjoint ones nowhere common."""

import numpy as np
import pytest

from divreg.encoders.ngrams import WIDTH, character_ngrams


def test_a_text_of_two_characters_has_three_ngrams():
    (vector,) = character_ngrams(["ab"])
    assert vector.shape == (WIDTH,)
    assert sorted(vector[vector > 0]) == [1.0, 1.0, 1.0]  # a, b, ab


def test_cosine_of_common_ngrams_by_hand():
    """a, b, ab and b, c, bc have b in common: 1 / 3."""
    one, other = character_ngrams(["ab", "bc"])
    cosine = one @ other / np.linalg.norm(one) / np.linalg.norm(other)
    assert cosine == pytest.approx(1 / 3)


def test_no_text_is_no_vector_and_an_empty_text_is_nothing():
    assert character_ngrams([]).shape == (0, WIDTH)
    assert not character_ngrams([""]).any()
