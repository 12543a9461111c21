import functools

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
