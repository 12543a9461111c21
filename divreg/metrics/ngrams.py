"""Word n-grams of a group of texts: pairwise overlap and the share that is distinct."""

import re
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Sequence
from itertools import chain, count

import numpy as np

# Text to words. Anything that can stand in a set is a word: strings, or ids of a tokenizer.
Split = Callable[[str], Sequence[Hashable]]

# Scripts without spaces (kana, Han, Hangul) are read one character at a time; so is punctuation.
_WORD = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7a3]|\w|[^\w\s]")
_RUN = re.compile(r"[^\W\u3040-\u30ff\u3400-\u9fff\uac00-\ud7a3]+|" + _WORD.pattern)
_ASCII = re.compile(r"\w+|[^\w\s]")  # the same where there are no such scripts, and faster

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
    return (_ASCII if text.isascii() else _RUN).findall(text)


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
    shared = intersections(sets)
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
    return _different(pooled) / len(pooled)


def distinct_n_plain(texts: Sequence[str], n: int = 2, split: Split = words) -> float:
    """Measure the same as :func:`distinct_n`, where a text too short for an n-gram has none.

    The form of most papers: different n-grams over all of them. Range [0, 1], dimensionless; 0.0
    where no text has ``n`` words. Texts that became shorter than ``n`` words drop out unseen here;
    in :func:`distinct_n` they stay.

    Args:
        texts: The texts of one group.
        n: Words in an n-gram.
        split: How a text becomes words.

    Source:
        Kirk et al., arXiv:2310.06452, released code, ``DistinctNgrams``.

    >>> distinct_n_plain(["a b c", "a b", "a b"], n=3), distinct_n(["a b c", "a b", "a b"], n=3)
    (1.0, 0.6666666666666666)
    """
    distinct, total = ngram_counts(texts, n, split)
    return distinct / total if total else 0.0


def ngram_diversity_score(texts: Sequence[str], n: int = 4, split: Split = str.split) -> float:
    r"""Add up the distinct shares of the 1-grams to n-grams of all texts read as one.

    .. math:: \sum_{i=1}^{n} U_i / C_i

    for ``U`` different n-grams among ``C``. Range [0, n], dimensionless, higher is more diverse: a
    *sum*, so 4 is the best for ``n=4``. The texts are joined by a space first: n-grams reach across
    borders, and the order of the texts matters a little. No words: 0; an order that has no n-gram
    adds 0. It falls with length: compare groups of as many words.

    Args:
        texts: The texts of one group.
        n: Words in the longest n-gram.
        split: How a text becomes words.

    Source:
        Shaib et al., package ``diversity`` (cshaib/diversity), ``ngram_diversity_score``.

    Differs from the released code:
        It splits at every single space, so two spaces make an empty word; it rounds to three
        digits, and fails where there are fewer than ``n`` words.

    >>> ngram_diversity_score(["a b", "a b"], n=2)
    1.1666666666666665
    """
    counts = ngram_counts_each([" ".join(texts)], range(1, _at_least_one(n) + 1), split)
    return sum(distinct / total for distinct, total in counts if total)


def ngram_counts(texts: Sequence[str], n: int, split: Split = words) -> tuple[int, int]:
    """Count the n-grams of a group: how many different ones, and how many in all.

    Pooled over the texts, never across the border of two. A text of fewer than ``n`` words has
    none; no texts: ``(0, 0)``.

    Args:
        texts: The texts of one group.
        n: Words in an n-gram.
        split: How a text becomes words.

    >>> ngram_counts(["a b c", "a b d", "a"], n=2)
    (3, 4)
    """
    (found,) = ngram_counts_each(texts, [n], split)
    return found


def ngram_counts_each(
    texts: Sequence[str], orders: Iterable[int], split: Split = words
) -> list[tuple[int, int]]:
    """Count what :func:`ngram_counts` counts, for several orders; the texts are split once.

    Args:
        texts: The texts of one group.
        orders: Words in an n-gram.
        split: How a text becomes words.

    >>> ngram_counts_each(["a b c", "a b d", "a"], [1, 2])
    [(4, 7), (3, 4)]
    """
    rows = [split(text) for text in texts]
    number = _numbering()
    ids = np.fromiter(map(number, chain.from_iterable(rows)), np.uint64)
    text = np.repeat(np.arange(len(rows)), [len(row) for row in rows])
    found = []
    for n in map(_at_least_one, orders):
        codes = ngram_codes(ids, n)
        inside = codes[text[: len(codes)] == text[n - 1 :]]  # what crosses a border is none
        found.append((_different(inside), len(inside)))
    return found


def word_ids(texts: Sequence[str], split: Split = words) -> list[np.ndarray]:
    """Number the words of a group from 1, by first appearance: one array of uint64 a text.

    >>> [row.tolist() for row in word_ids(["a b a", "c b"])]
    [[1, 2, 1], [3, 2]]
    """
    number = _numbering()
    return [np.fromiter(map(number, split(text)), np.uint64) for text in texts]


def _numbering() -> Callable[[Hashable], int]:
    """Return a function that numbers words from 1, by first appearance."""
    return defaultdict[Hashable, int](count(1).__next__).__getitem__


def _different(codes: np.ndarray) -> int:
    """Count the different ones among some codes."""
    ascending = np.sort(codes)
    return int(np.count_nonzero(ascending[1:] != ascending[:-1])) + min(1, len(codes))


def ngram_codes(row: np.ndarray, n: int) -> np.ndarray:
    """Hash every window of ``n`` word ids: ``((w1 m) + w2) m + ...`` modulo ``2**64``.

    One code per window, repeated ones included, none where there are fewer than ``n`` words.

    >>> ngram_codes(np.array([1, 2, 1], dtype=np.uint64), 1).tolist()
    [1, 2, 1]
    """
    windows = max(0, len(row) - n + 1)
    grams = np.zeros(windows, dtype=np.uint64)
    for i in range(n):
        grams = grams * _MULTIPLIER + row[i : i + windows]
    return grams


def _at_least_one(n: int) -> int:
    if n < 1:
        raise ValueError(f"n-grams need n of at least 1; got {n}. Use n=2 or n=3.")
    return n


def _hashed(texts: Sequence[str], n: int) -> list[np.ndarray]:
    """Return the n-grams of each text as codes; a short text is padded to exactly one n-gram."""
    _at_least_one(n)
    # 0 is the id of no word.
    nothing = np.zeros(n, dtype=np.uint64)
    return [
        ngram_codes(row if len(row) >= n else np.append(nothing[len(row) :], row), n)
        for row in word_ids(texts)
    ]


def intersections(sets: list[np.ndarray]) -> np.ndarray:
    """Count the members that every two sets share; each set is an array without repeats.

    >>> intersections([np.array([1, 2]), np.array([2, 3, 4])]).tolist()
    [[2.0, 1.0], [1.0, 3.0]]
    """
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
    width = int(columns.max(initial=-1)) + 1
    for start in range(0, width, _COLUMNS):
        here = (columns >= start) & (columns < start + _COLUMNS)
        incidence = np.zeros((g, min(_COLUMNS, width - start)), dtype=np.float32)
        incidence[owners[here], columns[here] - start] = 1.0
        counts += incidence @ incidence.T  # at most _COLUMNS ones: exact in float32
    np.fill_diagonal(counts, [len(s) for s in sets])
    return counts
