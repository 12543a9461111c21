import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from divreg.metrics.ead import ead, ead_n, kirk_words
from divreg.metrics.ngrams import distinct_n_plain

GOING = ["i am going", "i am going", "lets go i i"]

texts = st.lists(
    st.lists(st.sampled_from("abcde"), max_size=12).map(" ".join), min_size=1, max_size=5
)


@pytest.mark.parametrize(
    ("vocabulary", "each", "mean"),
    [
        (10, (0.76767, 0.9584, 0.872347, 1, 0), 0.719683),
        (50257, (0.500045, 0.714328, 0.750022, 1, 0), 0.592879),
    ],
)
@pytest.mark.parametrize("split", [None, kirk_words])
def test_worked_numbers(vocabulary, each, mean, split):
    how = {} if split is None else {"split": split}
    found = [ead_n(GOING, n, vocabulary, **how) for n in range(1, 6)]
    assert found == pytest.approx(each, abs=1e-6)
    assert ead(GOING, vocabulary, **how) == pytest.approx(mean, abs=1e-6)


def test_as_many_different_words_as_there_are_is_more_than_chance_gives():
    text = " ".join(f"w{i}" for i in range(50))
    assert ead_n([text], 1, 50) == pytest.approx(1.572747, abs=1e-6)
    assert ead_n([" ".join(map(str, range(10_000)))], 1, 10_000) == pytest.approx(1.58, abs=0.01)
    assert ead_n([text], 2, 7) == pytest.approx(49 / 7, rel=1e-2)


@settings(max_examples=100, deadline=None)
@given(data=st.data(), texts=texts, n=st.integers(1, 4), vocabulary=st.integers(2, 60))
def test_it_is_distinct_over_expected_whatever_the_order(data, texts, n, vocabulary):
    value = ead_n(texts, n, vocabulary)
    assert ead_n(data.draw(st.permutations(texts)), n, vocabulary) == value
    grams = [tuple(t.split()[i : i + n]) for t in texts for i in range(len(t.split()) - n + 1)]
    chance = vocabulary * (1 - ((vocabulary - 1) / vocabulary) ** len(grams))
    assert value == pytest.approx(len(set(grams)) / chance if grams else 0)


@settings(max_examples=50, deadline=None)
@given(texts=texts, n=st.integers(1, 3))
def test_in_a_vocabulary_without_end_it_is_the_plain_share(texts, n):
    assert ead_n(texts, n, 10**15) == pytest.approx(distinct_n_plain(texts, n), rel=1e-9)


def test_nothing_said_is_nothing_distinct():
    assert ead([], 10) == ead([""], 10) == ead(["."], 10, split=kirk_words) == 0
    assert ead(["a"], 10) == pytest.approx(1 / 5)


def test_a_language_of_one_word():
    assert ead_n(["a a a"], 1, 1) == 1


def test_the_words_of_the_paper():
    assert kirk_words("a.b  c\td.\n") == ["ab", "c\td"]


@pytest.mark.parametrize(
    ("arguments", "cure"),
    [
        ((["a"], 0), r"Use len\(tokenizer\)"),
        ((["a"], 9, [0]), "Use n=2"),
        ((["a"], 9, []), "range"),
    ],
)
def test_bad_input_is_refused_with_the_cure(arguments, cure):
    with pytest.raises(ValueError, match=cure):
        ead(*arguments)
