import functools
import inspect

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from divreg import signals
from divreg.signals.example import example

VARIANTS = {
    "partition": signals.partition,
    "by_text": signals.by_text,
    "by_answer": signals.by_answer,
    "by_ngram": signals.by_ngram,
    "by_pairs": functools.partial(
        signals.by_pairs, judge=lambda pairs: [a[:1] == b[:1] for a, b in pairs]
    ),
    "by_callable": functools.partial(signals.by_callable, equivalent=lambda a, b: a[:1] == b[:1]),
}


def kwargs(name, values):
    return {"answer": values["answer"]} if name == "by_answer" else {"texts": values["texts"]}


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 1000), g=st.integers(1, 6))
@pytest.mark.parametrize("name", VARIANTS)
def test_batched_equals_group_by_group(name, seed, g):
    f = VARIANTS[name]
    values = example(["texts", "answer"], "rewards", p=3, g=g, seed=seed)
    whole = f(**kwargs(name, values))
    assert whole.shape == (3, g)
    assert whole.dtype == torch.int64
    for i in range(3):
        alone = f(**kwargs(name, {k: v[i] for k, v in values.items()}))
        assert torch.equal(whole[i], alone)
    nested = f(**kwargs(name, {k: [v, v] for k, v in values.items()}))
    assert torch.equal(nested, torch.stack([whole, whole]))


def test_classes_of_embeddings_follow_the_threshold():
    embedding = torch.tensor([[1.0, 0.0], [0.8, 0.6], [0.0, 1.0]])
    similarity = signals.similarity(embedding=embedding)
    torch.testing.assert_close(similarity[0], torch.tensor([1.0, 0.8, 0.0]))
    assert signals.by_embedding(similarity=similarity).tolist() == [0, 0, 1]
    assert signals.by_embedding(similarity=similarity, threshold=0.9).tolist() == [0, 1, 2]
    chained = signals.by_embedding(similarity=similarity, threshold=0.6, linkage="transitive")
    assert chained.tolist() == [0, 0, 0]
    batched = signals.by_embedding(similarity=similarity.expand(2, 3, 3, 3))
    assert batched.shape == (2, 3, 3)


def test_a_callable_is_asked_once_for_every_two_different_texts():
    asked = []

    def equivalent(a, b):
        asked.append((a, b))
        return False

    signals.by_callable(texts=["b", "a", "b", "c"], equivalent=equivalent)
    assert sorted(asked) == [("a", "b"), ("a", "c"), ("b", "c")]


def test_a_callable_is_needed():
    with pytest.raises(ValueError, match=r"Use functools.partial\(by_callable"):
        signals.by_callable(texts=["a", "b"])


def overlap(pairs):
    """Jaccard index of letters: alike from 0.5 on is not transitive."""
    return [len(set(a) & set(b)) / len(set(a) | set(b)) for a, b in pairs]


def released(responses, alike):
    """NoveltyBench's rule one text after another: join the first class whose first member fits."""
    firsts, classes = [], []
    for text in responses:
        fits = [i for i, first in enumerate(firsts) if first == text or alike(first, text)]
        classes.append(fits[0] if fits else len(firsts))
        if not fits:
            firsts.append(text)
    return classes


@settings(max_examples=50, deadline=None)
@given(
    st.lists(
        st.lists(st.text("abcd", min_size=1, max_size=4), min_size=5, max_size=5),
        min_size=1,
        max_size=3,
    )
)
def test_the_first_match_is_that_of_one_text_after_another(groups):
    asked = []

    def judge(pairs):
        asked.append(pairs)
        return overlap(pairs)

    found = signals.by_pairs(texts=groups, judge=judge).tolist()
    assert found == [released(g, lambda a, b: overlap([(a, b)])[0] >= 0.5) for g in groups]
    assert len(asked) <= max(len(set(classes)) for classes in found)


def test_the_first_match_depends_on_the_order_and_complete_linkage_does_not():
    chain = ["ab", "abc", "bc"]  # the middle one is like both ends, which are unlike each other
    for judge in (overlap, lambda pairs: torch.tensor(overlap(pairs))):
        assert signals.by_pairs(texts=chain, judge=judge).tolist() == [0, 0, 1]
        assert signals.by_pairs(texts=["abc", "ab", "bc"], judge=judge).tolist() == [0, 0, 0]
    linked = functools.partial(signals.by_pairs, judge=overlap, threshold=0.6, linkage="complete")
    classes = [linked(texts=[chain[i] for i in order]) for order in ([0, 1, 2], [1, 0, 2])]
    assert [len(set(c.tolist())) for c in classes] == [2, 2]
    chained = signals.by_pairs(texts=chain, judge=overlap, linkage="transitive")
    assert chained.tolist() == [0, 0, 0]


def test_few_words_are_compared_without_the_judge():
    asked = []

    def judge(pairs):
        asked.extend(pairs)
        return [False] * len(pairs)

    by_noveltybench = functools.partial(signals.by_pairs, judge=judge, short_words=5)
    texts = ["the Blue whale", "blue WHALE", "whale", "one two three four five six"]
    assert by_noveltybench(texts=texts).tolist() == [0, 0, 1, 2]  # 1 of 3 words is too few
    assert asked == [(texts[0], texts[3]), (texts[2], texts[3])]


@pytest.mark.parametrize(
    ("arguments", "cure"),
    [
        ({}, r"Use functools.partial\(by_pairs"),
        ({"judge": overlap, "linkage": "average"}, "Use linkage='first'"),
        ({"judge": lambda pairs: [1.0]}, "one number a pair"),
        ({"judge": lambda pairs: [float("nan")] * len(pairs)}, "NaN for 2 pairs"),
    ],
)
def test_a_judge_that_does_not_answer_is_refused(arguments, cure):
    with pytest.raises(ValueError, match=cure):
        inspect.unwrap(signals.by_pairs)(texts=["a", "b", "c"], **arguments)
