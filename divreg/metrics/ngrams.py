"""Word n-grams of a group of texts: pairwise overlap and the share that is distinct."""

import re
from collections.abc import Sequence

import numpy as np

# Scripts without spaces (kana, Han, Hangul) are read one character at a time; so is punctuation.
_WORD = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7a3]|\w|[^\w\s]")
_RUN = re.compile(r"[^\W\u3040-\u30ff\u3400-\u9fff\uac00-\ud7a3]+|" + _WORD.pattern)

# Odd multiplier of a polynomial hash on 64 bits (Knuth's MMIX): n-grams become integers.
_MULTIPLIER = np.uint64(6364136223846793005)

# Columns of the incidence matrix handled at once: bounds memory for groups of very long texts.
_COLUMNS = 16384


def words(text: str) -> list[str]:
    """Split a text into words and single punctuation marks; Han, kana and Hangul by character.

    >>> words("So x+1 = 24.")
    ['So', 'x', '+', '1', '=', '24', '.']
    >>> words("三加四")
    ['三', '加', '四']
    """
    return _RUN.findall(text)


def ngram_similarity(texts: Sequence[str], n: int = 3) -> np.ndarray:
    """Overlap of the sets of word n-grams of every two texts: Jaccard index, in [0, 1].

    Range [0, 1], dimensionless; symmetric, the diagonal is 1. A text of fewer than ``n`` words is
    one n-gram by itself, so short texts overlap only where they are equal, and so do empty ones.

    Args:
        texts: The ``g`` texts of one group.
        n: Words in an n-gram.

    Returns:
        ``(g, g)`` float64.

    Source:
        Broder, On the resemblance and containment of documents, 1997, Definition 1 (shingles).

    >>> ngram_similarity(["the cat sat", "the cat ran", "dogs bark"], n=2).round(3).tolist()
    [[1.0, 0.333, 0.0], [0.333, 1.0, 0.0], [0.0, 0.0, 1.0]]
    """
    sets = [np.unique(grams) for grams in _hashed(texts, n)]
    sizes = np.array([len(s) for s in sets], dtype=np.float64)
    shared = _intersections(sets)
    return shared / (sizes[:, None] + sizes[None, :] - shared)


def distinct_n(texts: Sequence[str], n: int = 2) -> float:
    """Share of the group's n-grams that are different from each other, pooled over its texts.

    Range (0, 1], dimensionless; 0.0 for no texts. It falls with length even where nothing
    collapsed: compare texts of similar length. A text of fewer than ``n`` words is one n-gram.

    Args:
        texts: The texts of one group.
        n: Words in an n-gram.

    Source:
        Li et al., A Diversity-Promoting Objective Function, arXiv:1510.03055, section 5.2.

    >>> distinct_n(["a b c", "a b d"], n=2)
    0.75
    """
    if not texts:
        return 0.0
    pooled = np.concatenate(_hashed(texts, n))
    return len(np.unique(pooled)) / len(pooled)


def _hashed(texts: Sequence[str], n: int) -> list[np.ndarray]:
    """Return the n-grams of each text as 64-bit integers, repeated ones included."""
    if n < 1:
        raise ValueError(f"n-grams need n of at least 1; got {n}. Use n=2 or n=3.")
    # 0 marks "no word": a short text is padded on the left to exactly one n-gram.
    ids: dict[str, int] = {}
    rows = []
    for text in texts:
        row = [ids.setdefault(word, len(ids) + 1) for word in words(text)]
        rows.append(np.array([0] * (n - len(row)) + row, dtype=np.uint64))
    return [_rolled(row, n) for row in rows]


def _rolled(row: np.ndarray, n: int) -> np.ndarray:
    """Hash every window of ``n`` word ids: ``((w1 m) + w2) m + ...`` modulo ``2**64``."""
    windows = len(row) - n + 1
    grams = np.zeros(windows, dtype=np.uint64)
    for i in range(n):
        grams = grams * _MULTIPLIER + row[i : i + windows]
    return grams


def _intersections(sets: list[np.ndarray]) -> np.ndarray:
    """Count the members that every two sets share; each set is a sorted array without repeats."""
    g = len(sets)
    counts = np.zeros((g, g))
    if not g:
        return counts
    owner = np.repeat(np.arange(g), [len(s) for s in sets])
    _, column, multiplicity = np.unique(
        np.concatenate(sets), return_inverse=True, return_counts=True
    )
    common = multiplicity[column] > 1  # what occurs in one text only is in no intersection
    columns = np.unique(column[common], return_inverse=True)[1]
    owners = owner[common]
    for start in range(0, int(columns.max(initial=-1)) + 1, _COLUMNS):
        here = (columns >= start) & (columns < start + _COLUMNS)
        incidence = np.zeros((g, _COLUMNS), dtype=np.float32)
        incidence[owners[here], columns[here] - start] = 1.0
        counts += incidence @ incidence.T  # at most _COLUMNS ones: exact in float32
    np.fill_diagonal(counts, [len(s) for s in sets])
    return counts
