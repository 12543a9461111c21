import math
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from divreg.metrics.bleu import pairwise_bleu, self_bleu, self_bleu_each

CATS = [
    "the cat sat on the mat today",
    "the cat sat on the red mat today",
    "a dog ran in the park quickly today",
]

texts = st.lists(st.lists(st.sampled_from("abc"), max_size=9).map(" ".join), max_size=5)


def bleu(text, references, n=4, eps=0.1):
    """The slow and obvious way, in Python's own counters."""
    words, others = text.split(), [r.split() for r in references]
    logs = []
    for i in range(1, n + 1):
        counts, *maxima = (
            Counter(tuple(w[k : k + i]) for k in range(len(w) - i + 1)) for w in [words, *others]
        )
        hits = sum(min(c, max(m[gram] for m in maxima)) for gram, c in counts.items())
        if i == 1 and not hits:
            return 0.0
        logs.append(math.log((hits or eps) / max(1, counts.total())))
    nearest = min((abs(len(r) - len(words)), len(r)) for r in others)[1]
    return math.exp(sum(logs) / n + min(0, 1 - nearest / len(words)))


def test_worked_numbers():
    assert self_bleu_each(CATS) == pytest.approx([0.612975, 0.594604, 0.033032], abs=1e-6)
    assert self_bleu(CATS) == pytest.approx(0.413537, abs=1e-6)
    assert pairwise_bleu(CATS) == pytest.approx(0.223454, abs=1e-6)


@settings(max_examples=200, deadline=None)
@given(texts=texts, n=st.integers(1, 5), eps=st.sampled_from([0.1, 0.5]))
def test_it_is_bleu_against_the_others_and_against_each_other(texts, n, eps):
    others = [[*texts[:i], *texts[i + 1 :]] for i in range(len(texts))]
    if len(texts) < 2:
        return
    each = [bleu(text, rest, n, eps) for text, rest in zip(texts, others, strict=True)]
    assert self_bleu_each(texts, n, eps) == pytest.approx(each)
    pairs = [bleu(a, [b], n, eps) for a, rest in zip(texts, others, strict=True) for b in rest]
    assert pairwise_bleu(texts, n, eps) == pytest.approx(sum(pairs) / len(pairs))


@settings(max_examples=100, deadline=None)
@given(data=st.data(), texts=texts)
def test_order_does_not_matter_and_the_range_is_kept(data, texts):
    order = data.draw(st.permutations(range(len(texts))))
    shuffled = [texts[i] for i in order]
    assert self_bleu_each(shuffled) == pytest.approx(self_bleu_each(texts)[order])
    assert 0 <= self_bleu(texts) <= 1 + 1e-12
    assert pairwise_bleu(shuffled) == pytest.approx(pairwise_bleu(texts))


def test_a_text_that_is_there_twice_scores_one_if_it_has_four_words():
    assert self_bleu_each(["a b c d", "a b c d", "x"]) == pytest.approx([1, 1, 0])
    assert pairwise_bleu(["a b c d"] * 3) == pytest.approx(1)
    assert self_bleu(["a b c", "a b c"]) == pytest.approx(0.1**0.25)


def test_a_word_repeated_counts_as_often_as_the_reference_that_has_it_most():
    # The last is one word where the nearest other has two: e^(1 - 2/1). Of 1 and 3 words, 1 counts.
    assert self_bleu_each(["a a a", "a a", "a"], n=1) == pytest.approx([2 / 3, 1, math.exp(-1)])
    assert pairwise_bleu(["a a", "a"], n=1) == pytest.approx((1 / 2 + math.exp(-1)) / 2)


@pytest.mark.parametrize("texts", [[], ["a b c d e"], ["", ""], ["", "a"], ["a", "b"]])
def test_without_a_word_in_common_nothing_is_repeated(texts):
    assert self_bleu(texts) == pairwise_bleu(texts) == 0
    assert self_bleu_each(texts).shape == (len(texts),)


def test_words_are_what_split_says():
    assert self_bleu(["ab", "ab"], n=2, split=list) == pytest.approx(1)


@pytest.mark.parametrize("f", [self_bleu, self_bleu_each, pairwise_bleu])
def test_bad_input_is_refused_with_the_cure(f):
    with pytest.raises(ValueError, match="Use n=4"):
        f(CATS, n=0)
    with pytest.raises(ValueError, match=r"Use eps=0\.1"):
        f(CATS, eps=0)
