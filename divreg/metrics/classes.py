"""Equivalence classes of the completions in one group: from keys, from similarity, from texts.

Classes are integers, numbered by first appearance, in the order of the completions.
"""

import unicodedata
from collections.abc import Hashable, Sequence
from typing import Literal

import numpy as np

from divreg.metrics.ngrams import ngram_similarity

Linkage = Literal["complete", "transitive"]

# Up to here two texts are the same only if they are equal: a word more or less is another answer.
SHORT_CHARACTERS = 64

# Similarities nearer than this are ties: the last bits depend on the order of a matrix product.
_DECIMALS = 6


def normalise_text(text: str) -> str:
    r"""Return a text as it is compared: letter case and runs of white space do not count.

    Punctuation does: ``3!`` and ``3`` are different answers.

    >>> normalise_text("  The  Answer\n")
    'the answer'
    """
    if not text.isascii():
        text = unicodedata.normalize("NFC", text)
    return " ".join(text.casefold().split())


def classes_from_keys(keys: Sequence[Hashable | None]) -> list[int]:
    """Put equal keys in one class; None equals nothing, itself included.

    Args:
        keys: One hashable key per completion, or None where there is none (nothing extracted).

    >>> classes_from_keys(["12", "7", None, "12", None])
    [0, 1, 2, 0, 3]
    """
    ids: dict[Hashable, int] = {}
    return [
        ids.setdefault((i,) if key is None else (key, None), len(ids)) for i, key in enumerate(keys)
    ]


def classes_from_similarity(
    similarity: np.ndarray, threshold: float, linkage: Linkage = "complete"
) -> list[int]:
    """Put similar completions in one class.

    ``"complete"``: merge the two most similar classes while *every* pair across them reaches the
    threshold; all members of a class are alike. ``"transitive"``: connected components, as
    DARLING's union-find; a chain of similar pairs is one class however unlike its ends.

    The order of the completions does not matter: ties are broken by each completion's sorted
    similarities, so only completions with the very same similarities are interchangeable.

    Args:
        similarity: ``(g, g)``, symmetric, any unit; higher is more alike. The diagonal is not read.
        threshold: Two completions are alike from here on, in the unit of ``similarity``.
        linkage: What to do where being alike is not transitive.

    Raises:
        ValueError: If the matrix is not square or holds NaN, or the linkage is unknown.

    Source:
        Complete linkage: Defays, 1977. Transitive: DARLING, arXiv:2509.02534, released code.

    >>> chain = np.array([[1, 0.9, 0.1], [0.9, 1, 0.8], [0.1, 0.8, 1]])
    >>> classes_from_similarity(chain, 0.5)
    [0, 0, 1]
    >>> classes_from_similarity(chain, 0.5, linkage="transitive")
    [0, 0, 0]
    """
    s = np.round(np.asarray(similarity, dtype=np.float64), _DECIMALS)
    if s.ndim != 2 or s.shape[0] != s.shape[1]:
        raise ValueError(
            f"classes_from_similarity needs a square matrix; got shape {s.shape}. "
            f"Pass the similarities of one group."
        )
    if np.isnan(s).any():
        raise ValueError(
            "classes_from_similarity needs numbers; got NaN. Look at what computed the similarity: "
            "an empty text or a zero vector is the usual cause."
        )
    if linkage not in ("complete", "transitive"):
        raise ValueError(
            f"classes_from_similarity needs linkage 'complete' or 'transitive'; got {linkage!r}. "
            f"Use linkage='complete'."
        )
    threshold = round(threshold, _DECIMALS)
    off_diagonal = ~np.eye(len(s), dtype=bool)
    if not (s >= threshold)[off_diagonal].any():
        return list(range(len(s)))
    if linkage == "transitive":
        return classes_from_keys(_components(s >= threshold))
    return classes_from_keys(_agglomerated(s, threshold))


def text_classes(
    texts: Sequence[str], threshold: float = 0.5, n: int = 3, linkage: Linkage = "complete"
) -> list[int]:
    """Put texts that say the same in one class, by their surface alone.

    Two texts of at most 64 characters are alike if they are equal after :func:`normalise_text`;
    longer ones if their sets of word n-grams overlap by ``threshold``. It needs no model and no
    key to configure, sees near-copies, and does not see paraphrases.

    Args:
        texts: The texts of one group.
        threshold: Jaccard index of the n-gram sets, in [0, 1], from which long texts are alike.
        n: Words in an n-gram.
        linkage: See :func:`classes_from_similarity`.

    >>> text_classes(["7", "12", " 7 "])
    [0, 1, 0]
    """
    normal = [normalise_text(text) for text in texts]
    short = np.array([len(text) <= SHORT_CHARACTERS for text in normal])
    if short.all():
        return classes_from_keys(normal)
    # Equal texts are one item; sorting makes the classes a function of the set of texts.
    distinct = sorted(set(normal))
    similarity = ngram_similarity(distinct, n)
    short = np.array([len(text) <= SHORT_CHARACTERS for text in distinct])
    similarity[np.outer(short, short)] = 0.0
    where = dict(
        zip(distinct, classes_from_similarity(similarity, threshold, linkage), strict=True)
    )
    return classes_from_keys([where[text] for text in normal])


def _components(alike: np.ndarray) -> list[int]:
    """Label each node with the smallest node it is connected to."""
    reach = alike | alike.T | np.eye(len(alike), dtype=bool)
    while True:
        further = (reach.astype(np.float32) @ reach.astype(np.float32)) > 0
        if (further == reach).all():
            return [int(row.argmax()) for row in reach]
        reach = further


def _agglomerated(s: np.ndarray, threshold: float) -> list[int]:
    """Label each item with its class under complete linkage."""
    g = len(s)
    s = np.minimum(s, s.T)
    np.fill_diagonal(s, -np.inf)
    # A canonical order of the items, from what they are like and not from where they stand.
    order = np.lexsort(np.sort(s, axis=1).T)
    s = s[np.ix_(order, order)]
    label = np.arange(g)
    while True:
        i, j = divmod(int(s.argmax()), g)
        if s[i, j] < threshold:
            break
        label[label == label[j]] = label[i]
        merged = np.minimum(s[i], s[j])
        s[i], s[:, i] = merged, merged
        s[i, i] = s[j] = s[:, j] = -np.inf
    return [int(c) for c in label[np.argsort(order)]]
