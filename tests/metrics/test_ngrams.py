import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from divreg.metrics import ngrams
from divreg.metrics.ngrams import (
    distinct_n,
    distinct_n_plain,
    ngram_counts,
    ngram_diversity_score,
    ngram_similarity,
    words,
)

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


@settings(max_examples=200, deadline=None)
@given(text=st.text(st.characters(max_codepoint=127)))
def test_texts_of_ascii_are_read_as_all_others(text):
    assert [*words(text), "東"] == words(f"{text} 東")


def test_empty_texts_are_equal_to_each_other_only():
    assert ngram_similarity(["", " ", "a"], 2).tolist() == [[1, 1, 0], [1, 1, 0], [0, 0, 1]]


def test_no_text_at_all():
    assert ngram_similarity([], 2).shape == (0, 0)
    assert distinct_n([], 2) == 0.0


def test_n_below_one_is_refused():
    with pytest.raises(ValueError, match="Use n=2 or n=3"):
        distinct_n(["a"], 0)


GOING = ["i am going", "i am going", "lets go i i"]


@pytest.mark.parametrize(
    ("n", "counts", "plain"),
    [(1, (5, 10), 0.5), (2, (5, 7), 0.714286), (3, (3, 4), 0.75), (4, (1, 1), 1), (5, (0, 0), 0)],
)
def test_the_plain_share_counts_no_text_that_is_too_short(n, counts, plain):
    assert ngram_counts(GOING, n) == counts
    assert distinct_n_plain(GOING, n) == pytest.approx(plain, abs=1e-6)


def test_the_plain_share_averages_as_published():
    mean = sum(distinct_n_plain(GOING, n) for n in range(1, 6)) / 5
    assert mean == pytest.approx(0.592857, abs=1e-6)


@settings(max_examples=100, deadline=None)
@given(texts=texts, n=st.integers(1, 4))
def test_both_shares_agree_where_every_text_is_long_enough(texts, n):
    long = [text for text in texts if len(words(text)) >= n]
    assert distinct_n_plain(texts, n) == distinct_n(long, n)


@settings(max_examples=100, deadline=None)
@given(texts=texts, n=st.integers(1, 4))
def test_the_sum_of_shares_is_over_the_texts_read_as_one(texts, n):
    w = " ".join(texts).split()
    grams = [[tuple(w[i : i + k]) for i in range(len(w) - k + 1)] for k in range(1, n + 1)]
    shares = [len(set(g)) / len(g) for g in grams if g]
    assert ngram_diversity_score(texts, n) == pytest.approx(sum(shares))
    assert 0 <= ngram_diversity_score(texts, n) <= n


def test_words_are_what_split_says():
    assert ngram_counts(["a,b a,b"], 1, split=str.split) == (1, 2)
    assert ngram_counts(["ab", "ba"], 2, split=lambda text: [ord(c) for c in text]) == (2, 2)


def test_no_text_has_no_ngrams():
    assert ngram_counts([], 2) == ngram_counts(["", "a"], 2) == (0, 0)
    assert distinct_n_plain([], 2) == ngram_diversity_score([]) == ngram_diversity_score([""]) == 0


@pytest.mark.parametrize("f", [ngram_counts, distinct_n_plain, ngram_diversity_score])
def test_n_below_one_is_refused_everywhere(f):
    with pytest.raises(ValueError, match="Use n=2 or n=3"):
        f(["a"], 0)
