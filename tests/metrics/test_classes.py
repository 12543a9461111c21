import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from divreg.metrics.classes import (
    classes_from_keys,
    classes_from_similarity,
    normalise_text,
    text_classes,
)

LONG = "the train leaves the station at noon and arrives in the capital city at a quarter past {}"


def partition_of(classes, order=None):
    """The classes as a set of sets of items: what remains when neither ids nor order count."""
    items = range(len(classes)) if order is None else order
    groups = {}
    for item, c in zip(items, classes, strict=True):
        groups.setdefault(c, set()).add(item)
    return {frozenset(group) for group in groups.values()}


def symmetric(values):
    return np.tril(values) + np.tril(values, -1).T


similarities = st.integers(1, 7).flatmap(
    lambda g: arrays(np.float64, (g, g), elements=st.floats(0, 1, width=16)).map(symmetric)
)


@pytest.mark.parametrize(
    ("a", "b"),
    [("Seven", " seven\n"), ("a\u00a0b", "a b"), ("e\u0301", "\u00e9"), ("Straße", "STRASSE")],
)
def test_case_space_and_composition_do_not_count(a, b):
    assert normalise_text(a) == normalise_text(b)


@pytest.mark.parametrize(("a", "b"), [("3!", "3"), ("x\u00b2", "x2"), ("-1", "1"), ("1 2", "12")])
def test_what_means_something_does(a, b):
    assert normalise_text(a) != normalise_text(b)


def test_none_equals_nothing_and_ids_count_by_first_appearance():
    assert classes_from_keys(["b", None, "a", "b", None]) == [0, 1, 2, 0, 3]
    assert classes_from_keys([(0,), None, 0, "0"]) == [0, 1, 2, 3]


def test_a_chain_is_one_class_only_if_transitive():
    alike = np.eye(4)
    for i, j in [(0, 1), (1, 2)]:  # not 0 and 2; 3 is alone
        alike[i, j] = alike[j, i] = 1
    assert classes_from_similarity(alike, 0.5, "transitive") == [0, 0, 0, 1]
    assert len(partition_of(classes_from_similarity(alike, 0.5))) == 3


def test_the_most_similar_pair_merges_first():
    s = np.array([[1, 0.6, 0.0], [0.6, 1, 0.9], [0.0, 0.9, 1]])
    assert classes_from_similarity(s, 0.5) == [0, 1, 1]


def test_a_similarity_on_the_threshold_is_alike():
    assert classes_from_similarity(np.array([[1, 0.7], [0.7, 1]]), 0.7) == [0, 0]
    rounded = np.float64(np.float32(0.7))  # 0.699999988
    assert classes_from_similarity(np.array([[1, rounded], [rounded, 1]]), 0.7) == [0, 0]


@settings(max_examples=100, deadline=None)
@given(s=similarities, threshold=st.floats(0.05, 0.95))
def test_complete_linkage_keeps_what_it_says(s, threshold):
    classes = partition_of(classes_from_similarity(s, threshold))
    for group in classes:
        assert all(s[i, j] >= threshold - 1e-6 for i in group for j in group if i != j)
    for a in classes:
        for b in classes - {a}:
            assert any(s[i, j] < threshold + 1e-6 for i in a for j in b), "two classes could merge"


@settings(max_examples=100, deadline=None)
@given(s=similarities, threshold=st.floats(0.05, 0.95))
def test_transitive_classes_are_those_of_union_find(s, threshold):
    parent = list(range(len(s)))
    for i in range(len(s)):
        for j in range(i):
            if round(s[i, j], 6) >= round(threshold, 6):
                old, new = parent[i], parent[j]
                parent = [new if x == old else x for x in parent]
    assert classes_from_similarity(s, threshold, "transitive") == classes_from_keys(parent)


@settings(max_examples=200, deadline=None)
@given(data=st.data(), s=similarities, linkage=st.sampled_from(["complete", "transitive"]))
def test_order_matters_only_between_completions_that_are_alike_to_the_same_degrees(
    data, s, linkage
):
    profiles = {tuple(sorted(np.delete(row, i))) for i, row in enumerate(s.round(6))}
    order = data.draw(st.permutations(range(len(s))))
    shuffled = classes_from_similarity(s[np.ix_(order, order)], 0.5, linkage)
    plain = classes_from_similarity(s, 0.5, linkage)
    if linkage == "transitive" or len(profiles) == len(s):
        assert partition_of(shuffled, order) == partition_of(plain)


@settings(max_examples=100, deadline=None)
@given(
    data=st.data(),
    texts=st.lists(
        st.sampled_from(["", "7", " 7 ", "8", *(LONG.format(x) for x in ("one", "two", "six"))])
        | st.lists(st.sampled_from("abc"), min_size=40, max_size=45).map(" ".join),
        min_size=1,
        max_size=8,
    ),
)
def test_the_classes_of_texts_do_not_depend_on_their_order_at_all(data, texts):
    order = data.draw(st.permutations(range(len(texts))))
    shuffled = text_classes([texts[i] for i in order])
    assert partition_of(shuffled, order) == partition_of(text_classes(texts))


def test_short_texts_are_equal_or_different_whatever_stands_beside_them():
    short = ["(1+2)+1", "(1+2)+2", "(1+2)+1"]
    assert text_classes(short) == [0, 1, 0]
    assert text_classes([*short, LONG.format("one")]) == [0, 1, 0, 2]


def test_long_texts_are_alike_where_their_trigrams_overlap():
    texts = [LONG.format("one"), LONG.format("two"), "Something else entirely; " * 5, "two"]
    assert text_classes(texts) == [0, 0, 1, 2]
    assert text_classes(texts, threshold=1.0) == [0, 1, 2, 3]


def test_hostile_texts_are_texts():
    texts = ["\x00", "\u202egnirts", "<script>", "\U0001f600" * 50_000, "a" * 100_000, "", "\ud800"]
    assert text_classes([*texts, *texts]) == [*range(7), *range(7)]


def test_a_rollout_of_short_texts_takes_under_a_millisecond():
    groups = [[f"({i} + {j % 5}) * {i}" for j in range(16)] for i in range(8)]

    def seconds():
        start = time.perf_counter()
        for group in groups:
            text_classes(group)
        return time.perf_counter() - start

    assert min(seconds() for _ in range(20)) < 1e-3


@pytest.mark.parametrize(
    ("arguments", "cure"),
    [
        ((np.zeros((2, 3)), 0.5), "Pass the similarities of one group"),
        ((np.full((2, 2), np.nan), 0.5), "zero vector"),
        ((np.eye(2), 0.5, "single"), "Use linkage='complete'"),
    ],
)
def test_bad_input_is_refused_with_the_cure(arguments, cure):
    with pytest.raises(ValueError, match=cure):
        classes_from_similarity(*arguments)
