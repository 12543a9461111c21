import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from divreg.metrics import ngrams
from divreg.metrics.ngrams import distinct_n, ngram_similarity, words

texts = st.lists(
    st.lists(st.sampled_from("abcde"), max_size=12).map(" ".join), min_size=1, max_size=5
)


def grams(text, n):
    """The slow and obvious way; a short text is one n-gram."""
    w = words(text)
    return [tuple(w[i : i + n]) for i in range(len(w) - n + 1)] or [tuple(w)]


@settings(max_examples=150, deadline=None)
@given(texts=texts, n=st.integers(1, 4), columns=st.sampled_from([1, 3, 16384]))
def test_overlap_is_that_of_sets_of_tuples(texts, n, columns):
    ngrams._COLUMNS, before = columns, ngrams._COLUMNS
    try:
        result = ngram_similarity(texts, n)
    finally:
        ngrams._COLUMNS = before
    sets = [set(grams(text, n)) for text in texts]
    expected = [[len(a & b) / len(a | b) for b in sets] for a in sets]
    np.testing.assert_allclose(result, expected)


@settings(max_examples=100, deadline=None)
@given(texts=texts, n=st.integers(1, 4))
def test_distinct_n_is_distinct_over_all(texts, n):
    pooled = [gram for text in texts for gram in grams(text, n)]
    assert distinct_n(texts, n) == len(set(pooled)) / len(pooled)


def test_scripts_without_spaces_are_read_by_character():
    assert words("東京は2つ") == ["東", "京", "は", "2", "つ"]
    assert words("한국어 ok") == ["한", "국", "어", "ok"]
    assert ngram_similarity(["東京都に行く", "東京都に行け"], 2)[0, 1] == pytest.approx(4 / 6)


def test_empty_texts_are_equal_to_each_other_only():
    assert ngram_similarity(["", " ", "a"], 2).tolist() == [[1, 1, 0], [1, 1, 0], [0, 0, 1]]


def test_no_text_at_all():
    assert ngram_similarity([], 2).shape == (0, 0)
    assert distinct_n([], 2) == 0.0


def test_n_below_one_is_refused():
    with pytest.raises(ValueError, match="Use n=2 or n=3"):
        distinct_n(["a"], 0)
