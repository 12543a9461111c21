"""Equivalence classes of the completions of one group, by text, answer, embedding or judge.

:func:`partition` is what ``partition`` means unless configured; the others replace it.
"""

from collections.abc import Callable
from functools import partial
from itertools import combinations
from typing import Any, Literal

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
from divreg.signals._groups import innermost, over_groups


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
    (F1 0.90 against WordNet synsets; equal text 0.84: recipes/kinds). Another encoder, or longer
    text, needs its own.

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
    judge = partial(_one_by_one, equivalent)
    return by_pairs(texts=texts, judge=judge, linkage=linkage)


def by_pairs(
    *,
    texts: list[Any],
    judge: Callable[[list[tuple[str, str]]], Any] | None = None,
    threshold: float = 0.5,
    linkage: Literal["first", "complete", "transitive"] = "first",
    short_words: int = 0,
) -> Int64[Tensor, "*p g"]:
    """Class of each completion: what a judge of pairs says, asked in batches.

    ``"first"``: a completion joins the first class whose *first member* it is like, as in
    NoveltyBench. That asks the fewest pairs, in one batch a round for all groups together and as
    many rounds as the largest number of classes; but the classes depend on the order of the
    completions wherever the judge is not transitive. ``"complete"`` and ``"transitive"`` do not,
    and ask about every two different texts of a group, in one batch. Equal texts are always alike.

    Args:
        texts: Completions, nested lists ``(*p, g)``.
        judge: A list of ``n`` pairs to ``n`` numbers or bools, higher for "the same":
            `divreg.encoders.PairClassifier`, `divreg.encoders.NLIEquivalence` or your own.
        threshold: What the judge says of two completions that are alike, from here on, in its
            unit. ``divreg calibrate`` picks one from labelled pairs.
        linkage: "first", "complete" or "transitive".
        short_words: Where neither text has more words than this, the judge is not asked: they are
            alike if twice their common words, letter case aside, reach the words of the longer.

    Raises:
        ValueError: If no ``judge`` was bound, or it does not give one number a pair.

    Source:
        Zhang et al., NoveltyBench, arXiv:2504.05228, released code, partition.py: "first" with
        ``short_words=5`` and 0.102 as the threshold of its own classifier.

    Differs from the released code:
        Alike *from* the threshold on, there *above* it.
        Equal texts are alike without being judged.

    >>> def judge(pairs):
    ...     return [len(set(a) & set(b)) / len(set(a) | set(b)) for a, b in pairs]
    >>> by_pairs(texts=["ab", "abc", "bc", "x"], judge=judge)
    tensor([0, 0, 1, 2])
    """
    if judge is None:
        raise ValueError(
            "by_pairs needs a judge of pairs; got none. Use functools.partial(by_pairs, "
            "judge=divreg.encoders.PairClassifier(MODEL))."
        )
    if linkage not in ("first", "complete", "transitive"):
        raise ValueError(
            f"by_pairs needs linkage 'first', 'complete' or 'transitive'; got {linkage!r}. "
            f"Use linkage='first'."
        )
    ask = partial(_judged, judge, short_words)
    groups = innermost(texts)
    if linkage == "first":
        found = iter(_first_match(groups, lambda pairs: ask(pairs) >= threshold))
    else:
        found = iter(_linked(groups, ask, threshold, linkage))
    return over_groups(lambda _: next(found), texts, torch.int64)


def _one_by_one(equivalent: Callable[[str, str], bool], pairs: list[tuple[str, str]]) -> list[bool]:
    return [bool(equivalent(a, b)) for a, b in pairs]


def _judged(
    judge: Callable[[list[tuple[str, str]]], Any], short_words: int, pairs: list[tuple[str, str]]
) -> np.ndarray:
    """Judge ``n`` pairs ``(n,)``; infinity says alike and minus infinity not, by words alone."""
    verdicts = [_few_words(a, b, short_words) for a, b in pairs]
    open_pairs = [pair for pair, known in zip(pairs, verdicts, strict=True) if known is None]
    said = np.asarray(judge(open_pairs) if open_pairs else [], dtype=np.float64)
    if said.shape != (len(open_pairs),) or np.isnan(said).any():
        raise ValueError(
            f"by_pairs needs one number a pair from its judge; got shape {said.shape} with "
            f"{int(np.isnan(said).sum())} NaN for {len(open_pairs)} pairs. Return a list as long "
            f"as the list of pairs."
        )
    scores = iter(said)
    return np.array(
        [next(scores) if known is None else (np.inf if known else -np.inf) for known in verdicts]
    )


def _few_words(a: str, b: str, short_words: int) -> bool | None:
    """Whether two short texts share enough words; None where one of them is not short."""
    words = [text.lower().split() for text in (a, b)]
    longest = max(map(len, words))
    if longest > short_words or short_words == 0:
        return None
    return 2 * len(set(words[0]) & set(words[1])) >= longest


def _first_match(
    groups: list[list[str]], alike: Callable[[list[tuple[str, str]]], np.ndarray]
) -> list[list[int]]:
    """Let each round's first unplaced text of a group take along all that are like it.

    The same classes and pairs as one completion after another against the first members.
    """
    distinct = [list(dict.fromkeys(group)) for group in groups]
    where: list[dict[str, int]] = [{} for _ in groups]
    waiting = [list(texts) for texts in distinct]
    class_id = 0
    while any(waiting):
        asked = [(i, texts[0], t) for i, texts in enumerate(waiting) for t in texts[1:]]
        joins = alike([(first, t) for _, first, t in asked]) if asked else np.empty(0)
        for i, texts in enumerate(waiting):
            if texts:
                where[i][texts[0]] = class_id
        for (i, _, text), joined in zip(asked, joins, strict=True):
            if joined:
                where[i][text] = class_id
        waiting = [[t for t in w if t not in where[i]] for i, w in enumerate(waiting)]
        class_id += 1
    return [[where[i][text] for text in group] for i, group in enumerate(groups)]


def _linked(
    groups: list[list[str]],
    ask: Callable[[list[tuple[str, str]]], np.ndarray],
    threshold: float,
    linkage: Linkage,
) -> list[list[int]]:
    """Link every two different texts of each group, asked as ``a < b``, in one batch for all."""
    distinct = [sorted(set(group)) for group in groups]
    scores = iter(ask([pair for texts in distinct for pair in combinations(texts, 2)]))
    found = []
    for group, texts in zip(groups, distinct, strict=True):
        alike = np.zeros((len(texts), len(texts)))
        for i, j in combinations(range(len(texts)), 2):
            alike[i, j] = alike[j, i] = next(scores)
        where = dict(zip(texts, classes_from_similarity(alike, threshold, linkage), strict=True))
        found.append(classes_from_keys([where[text] for text in group]))
    return found
