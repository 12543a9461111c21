"""Equivalence classes of the completions of one group, by text, answer, embedding or callable.

:func:`partition` is what ``partition`` means unless configured; the others replace it.
"""

from collections.abc import Callable
from functools import partial
from itertools import combinations
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor

from divreg.metrics.classes import (
    Linkage,
    classes_from_keys,
    classes_from_similarity,
    normalise_text,
    text_classes,
)
from divreg.metrics.ngrams import ngram_similarity
from divreg.signals._groups import over_groups


def partition(
    *, texts: list[Any], threshold: float = 0.5, n: int = 3, linkage: Linkage = "complete"
) -> Int64[Tensor, "*p g"]:
    """Class of each completion: equal short texts, overlapping long ones; needs no configuration.

    Class ids count up from 0 inside each group, by first appearance.

    Args:
        texts: Completions, nested lists ``(*p, g)``.
        threshold: Jaccard index of n-gram sets, in [0, 1], from which long texts are alike.
        n: Words in an n-gram.
        linkage: "complete": all members alike. "transitive": chains of alike pairs, as DARLING.

    >>> partition(texts=[["7", "12", "7"], ["a", "b", "c"]])
    tensor([[0, 1, 0],
            [0, 1, 2]])
    """
    classes = partial(text_classes, threshold=threshold, n=n, linkage=linkage)
    return over_groups(classes, texts, torch.int64)


def by_text(*, texts: list[Any]) -> Int64[Tensor, "*p g"]:
    """Class of each completion: equality of the text, letter case and white space aside.

    Args:
        texts: Completions, nested lists ``(*p, g)``.

    >>> by_text(texts=["seven", "Seven ", "7"])
    tensor([0, 0, 1])
    """
    return over_groups(
        lambda g: classes_from_keys(list(map(normalise_text, g))), texts, torch.int64
    )


def by_answer(*, answer: list[Any]) -> Int64[Tensor, "*p g"]:
    """Class of each completion: equality of the extracted answer; without one, a class of its own.

    Args:
        answer: Extracted answers, nested lists ``(*p, g)`` of hashable values; None: none found.

    >>> by_answer(answer=["7", None, "7", None])
    tensor([0, 1, 0, 2])
    """
    return over_groups(classes_from_keys, answer, torch.int64)


def by_ngram(
    *, texts: list[Any], n: int = 3, threshold: float = 0.5, linkage: Linkage = "complete"
) -> Int64[Tensor, "*p g"]:
    """Class of each completion: overlap of word n-grams, for texts of any length.

    Args:
        texts: Completions, nested lists ``(*p, g)``.
        n: Words in an n-gram; a text of fewer words is one n-gram.
        threshold: Jaccard index from which two texts are alike, in [0, 1].
        linkage: "complete" or "transitive".

    >>> by_ngram(texts=["so x is 4 + 3 = 7", "thus x is 4 + 3 = 7", "guess"], n=2)
    tensor([0, 0, 1])
    """

    def classes(group: list[str]) -> list[int]:
        overlap = ngram_similarity(list(map(normalise_text, group)), n)
        return classes_from_similarity(overlap, threshold, linkage)

    return over_groups(classes, texts, torch.int64)


def by_embedding(
    *,
    similarity: Float[Tensor, "*p g g"],
    threshold: float = 0.7,
    linkage: Linkage = "complete",
) -> Int64[Tensor, "*p g"]:
    """Class of each completion: cosine similarity of embeddings.

    The default threshold was calibrated for all-MiniLM-L6-v2 on answers of one to three words
    (F1 0.95 against WordNet synsets; equal text 0.87). Another encoder, or longer text, needs
    its own.

    Args:
        similarity: Cosine similarity inside the group, in [-1, 1].
        threshold: Similarity from which two completions are alike.
        linkage: "complete" or "transitive".

    >>> by_embedding(similarity=torch.tensor([[1.0, 0.9], [0.9, 1.0]]))
    tensor([0, 0])
    """
    groups = similarity.detach().cpu().double().numpy().reshape(-1, *similarity.shape[-2:])
    classes = [classes_from_similarity(group, threshold, linkage) for group in groups]
    return torch.tensor(classes, device=similarity.device).view(similarity.shape[:-1])


def by_callable(
    *,
    texts: list[Any],
    equivalent: Callable[[str, str], bool] | None = None,
    linkage: Linkage = "complete",
) -> Int64[Tensor, "*p g"]:
    """Class of each completion: what ``equivalent(a, b)`` says of two texts.

    It is asked once for every two different texts of a group, as ``a < b``; equal texts are alike.

    Args:
        texts: Completions, nested lists ``(*p, g)``.
        equivalent: Whether two texts say the same: a judge, a unit-aware comparison, ...
        linkage: "complete" or "transitive".

    Raises:
        ValueError: If no ``equivalent`` was bound.

    >>> by_callable(texts=["7", "07", "8"], equivalent=lambda a, b: int(a) == int(b))
    tensor([0, 0, 1])
    """
    if equivalent is None:
        raise ValueError(
            "by_callable needs a function of two texts; got none. "
            "Use functools.partial(by_callable, equivalent=same_answer)."
        )

    def classes(group: list[str]) -> list[int]:
        distinct = sorted(set(group))
        alike = np.eye(len(distinct))
        for i, j in combinations(range(len(distinct)), 2):
            alike[i, j] = alike[j, i] = bool(equivalent(distinct[i], distinct[j]))
        where = dict(zip(distinct, classes_from_similarity(alike, 0.5, linkage), strict=True))
        return classes_from_keys([where[text] for text in group])

    return over_groups(classes, texts, torch.int64)
