import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from divreg.metrics.nli import (
    aligned_sentences,
    nli_agreement,
    nli_diversity,
    nli_diversity_of_texts,
    sentences,
)

# Contradiction, neutral, entailment of 0 and 1, 0 and 2, 1 and 2.
THERE = [(0.1, 0.2, 0.7), (0.8, 0.15, 0.05), (0.05, 0.9, 0.05)]
BACK = [(0.3, 0.3, 0.4), (0.6, 0.3, 0.1), (0.2, 0.7, 0.1)]

# Sentences are a letter; the model knows how two letters are related.
letters = st.lists(st.text("abc", max_size=4).map(". ".join), max_size=4)


def judge(pairs):
    rows = {"same": (0, 0, 1), "ab": (1, 0, 0), "other": (0.1, 0.7, 0.2)}
    return [rows["same" if a == b else "ab" if a < b else "other"] for a, b in pairs]


def test_worked_numbers():
    assert nli_agreement(THERE, BACK) == pytest.approx([0.35, -0.625, -0.05], abs=1e-6)
    assert nli_diversity(THERE, BACK) == pytest.approx(1.108333, abs=1e-6)


def test_worked_numbers_from_texts():
    rows = {("x", "y"): 0, ("x", "z"): 1, ("y", "z"): 2}

    def predict(pairs):
        return [THERE[rows[p]] if p in rows else BACK[rows[p[::-1]]] for p in pairs]

    assert nli_diversity_of_texts("xyz", predict) == pytest.approx(1.108333, abs=1e-6)


def test_entailment_is_zero_neutral_one_contradiction_two():
    for row, value in [((0, 0, 1), 0), ((0, 1, 0), 1), ((1, 0, 0), 2)]:
        assert nli_diversity([row], [row]) == value
        assert nli_diversity_of_texts("abc", lambda pairs, r=row: [r] * len(pairs)) == value


@settings(max_examples=100, deadline=None)
@given(data=st.data(), texts=letters, most=st.integers(1, 3))
def test_it_is_the_mean_over_sentences_of_every_two_texts(data, texts, most):
    said = [
        sum(e - c for c, _, e in judge([(s, t), (t, s)])) / 2
        for i, a in enumerate(texts)
        for b in texts[:i]
        for s, t in list(zip(sentences(a), sentences(b), strict=False))[:most]
    ]
    value = nli_diversity_of_texts(texts, judge, most)
    assert value == pytest.approx(1 - np.mean(said) if said else 0)
    assert 0 <= value <= 2
    shuffled = data.draw(st.permutations(texts))
    assert nli_diversity_of_texts(shuffled, judge, most) == pytest.approx(value)


def test_the_model_is_asked_once_and_each_pair_once():
    calls = []

    def predict(pairs):
        calls.append(pairs)
        return judge(pairs)

    nli_diversity_of_texts(["a. b", "a. b", "a. c"], predict)
    assert calls == [[("a", "a"), ("b", "b"), ("b", "c"), ("c", "b")]]


@pytest.mark.parametrize("texts", [[], ["a"], ["", "a"], ["", " \n"]])
def test_nothing_to_compare_is_no_diversity_and_no_question(texts):
    def predict(pairs):
        raise AssertionError(pairs)

    assert nli_diversity_of_texts(texts, predict) == 0
    assert nli_diversity([], []) == 0


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("One. Two! Three?", ["One", "Two", "Three?"]),
        ("One\n\nTwo\tthree\r\n", ["One", "Two three"]),
        ("v1.5 is e.g.this", ["v1.5 is e.g.this"]),
        ("Really?! Yes...  No", ["Really", "Yes", "No"]),
        (" . ", ["."]),
        ("...", ["..."]),
        ("", []),
        (" \n ", []),
    ],
)
def test_where_sentences_end(text, parts):
    assert sentences(text) == parts


def test_sentences_are_aligned_by_position_three_at_most():
    assert aligned_sentences("a. b. c. d. e", "A. B. C. D") == [("a", "A"), ("b", "B"), ("c", "C")]
    assert aligned_sentences("a. b", "A", most=1) == [("a", "A")]
    assert aligned_sentences("a", "") == []


@pytest.mark.parametrize(
    ("there", "back", "cure"),
    [
        ([[0.5, 0.5]], [[0.5, 0.5]], "Pass .contradiction, neutral, entailment."),
        ([[3.0, -1.0, 0.0]], [[0, 0, 1]], "Take the softmax"),
        ([[np.nan, 0.5, 0.5]], [[0, 0, 1]], "Take the softmax"),
        ([[0, 0, 1], [0, 0, 1]], [[0, 0, 1]], r"Ask for \(b, a\)"),
    ],
)
def test_bad_probabilities_are_refused_with_the_cure(there, back, cure):
    with pytest.raises(ValueError, match=cure):
        nli_diversity(there, back)


def test_bad_arguments_are_refused_with_the_cure():
    with pytest.raises(ValueError, match="Use most=3"):
        aligned_sentences("a", "b", most=0)
    with pytest.raises(ValueError, match="as long as the list of pairs"):
        nli_diversity_of_texts("ab", lambda pairs: [(0, 0, 1)])
