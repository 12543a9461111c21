"""BLEU of the texts of a group against each other: how much they repeat one another."""

from collections.abc import Sequence

import numpy as np

from divreg.metrics.ngrams import Split, intersections, ngram_codes, word_ids

# Odd multiplier of the hash that tells the k-th occurrence of an n-gram from the others (splitmix).
_OCCURRENCE = np.uint64(0x9E3779B97F4A7C15)


def self_bleu(
    texts: Sequence[str], n: int = 4, eps: float = 0.1, split: Split = str.split
) -> float:
    """Measure how much a group repeats itself: the mean of :func:`self_bleu_each`.

    Range [0, 1], dimensionless, higher is *less* diverse. It rises with the number of texts, since
    each has more to be found in: compare groups of equal size. Fewer than two texts: 0.

    Args:
        texts: The texts of one group.
        n: Words in the longest n-gram; 4 is BLEU-4.
        eps: See :func:`self_bleu_each`.
        split: How a text becomes words.

    Source:
        Zhu et al., Texygen, arXiv:1802.01886, self-BLEU.

    >>> round(self_bleu(["a b c d e", "a b c d f", "u v w x y"]), 6)
    0.445827
    """
    each = self_bleu_each(texts, n, eps, split)
    return float(each.mean()) if len(each) else 0.0


def self_bleu_each(
    texts: Sequence[str], n: int = 4, eps: float = 0.1, split: Split = str.split
) -> np.ndarray:
    r"""Measure how much of each text stands in the others: BLEU with all of them as references.

    .. math:: \min(1, e^{1 - r/c}) \prod_{i=1}^{n} p_i^{1/n}

    for ``c`` words, ``r`` words in the reference of the nearest length (the shorter of two), and
    ``p_i`` the share of its i-grams that the references have, each at most as often as the one
    that has it most. A share of 0 counts as ``eps`` occurrences. 0 for a text without a word in
    common, 1 for one that is in the group twice, unless it has fewer than ``n`` words: orders it is
    too short for count as ``eps``. A text without words, or without others: 0.

    N-grams are counted once, whatever the number of texts: the cost is linear in words.

    Args:
        texts: The texts of one group.
        n: Words in the longest n-gram; 4 is BLEU-4.
        eps: Occurrences that stand for none, above 0.
        split: How a text becomes words.

    Returns:
        ``(g,)`` float64, in [0, 1].

    Raises:
        ValueError: If ``n`` is below 1 or ``eps`` is not above 0.

    Source:
        BLEU: Papineni et al., 2002. Smoothing: Chen and Cherry, 2014, method 1, as in nltk.

    >>> self_bleu_each(["a b c d e", "a b c d f", "u v w x y"]).round(6).tolist()
    [0.66874, 0.66874, 0.0]
    """
    rows = _rows(texts, n, eps, split)
    if len(rows) < 2:
        return np.zeros(len(rows))
    matched = np.stack([_matched([ngram_codes(row, i) for row in rows]) for i in range(1, n + 1)])
    lengths = np.array([len(row) for row in rows])
    return _bleu(matched, _totals(lengths, n), lengths, _nearest(lengths), eps)


def pairwise_bleu(
    texts: Sequence[str], n: int = 4, eps: float = 0.1, split: Split = str.split
) -> float:
    """Measure how much two texts of a group repeat each other: mean BLEU over ordered pairs.

    Range [0, 1], dimensionless, higher is *less* diverse; unlike self-BLEU it does not rise with
    the number of texts. Every text is compared with every other one alone, both ways, as
    :func:`self_bleu_each` says. Fewer than two texts: 0. Needs memory for ``n + 1`` matrices of a
    number per pair.

    Args:
        texts: The texts of one group.
        n: Words in the longest n-gram; 4 is BLEU-4.
        eps: See :func:`self_bleu_each`.
        split: How a text becomes words.

    Raises:
        ValueError: If ``n`` is below 1 or ``eps`` is not above 0.

    Source:
        Shen et al., Mixture Models for Diverse Machine Translation, arXiv:1902.07816.

    >>> round(pairwise_bleu(["a b c d e", "a b c d f", "u v w x y"]), 6)
    0.222913
    """
    rows = _rows(texts, n, eps, split)
    g = len(rows)
    if g < 2:
        return 0.0
    # The smaller of two counts, summed over n-grams, is how many (n-gram, k-th time) both have.
    counted = [[_occurrences(ngram_codes(row, i)) for row in rows] for i in range(1, n + 1)]
    matched = np.stack([intersections(sets) for sets in counted])
    lengths = np.array([len(row) for row in rows])
    totals = _totals(lengths, n)[:, :, None]
    scores = _bleu(matched, totals, lengths[:, None], lengths[None, :], eps)
    np.fill_diagonal(scores, 0.0)
    return float(scores.sum() / (g * (g - 1)))


def _rows(texts: Sequence[str], n: int, eps: float, split: Split) -> list[np.ndarray]:
    if n < 1:
        raise ValueError(f"BLEU needs n of at least 1; got {n}. Use n=4.")
    if not eps > 0:
        raise ValueError(f"BLEU needs eps above 0; got {eps}. Use eps=0.1.")
    return word_ids(texts, split)


def _totals(lengths: np.ndarray, n: int) -> np.ndarray:
    """N-grams of each order in texts of these lengths: ``(n, g)``, 1 where there are none."""
    return np.maximum(1, lengths[None, :] - np.arange(n)[:, None])


def _bleu(
    matched: np.ndarray,
    totals: np.ndarray,
    lengths: np.ndarray,
    references: np.ndarray,
    eps: float,
) -> np.ndarray:
    """BLEU from matches and totals by order, and from the lengths of texts and references."""
    shares = np.where(matched > 0, matched, eps) / totals
    brevity = np.minimum(0.0, 1.0 - references / np.maximum(lengths, 1))
    return np.where(matched[0] > 0, np.exp(np.log(shares).mean(axis=0) + brevity), 0.0)


def _matched(codes: list[np.ndarray]) -> np.ndarray:
    """How many n-grams of each text the others have, each as often as the one that has it most."""
    counted = [np.unique(row, return_counts=True) for row in codes]
    owner = np.repeat(np.arange(len(codes)), [len(grams) for grams, _ in counted])
    grams = np.concatenate([grams for grams, _ in counted])
    counts = np.concatenate([counts for _, counts in counted])
    order = np.lexsort((counts, grams))
    owner, grams, counts = owner[order], grams[order], counts[order]
    # Entries of one n-gram stand together, its largest count last and its second largest before.
    last = np.append(grams[1:] != grams[:-1], True)[: len(grams)]
    ends = np.flatnonzero(last)
    several = np.diff(ends, prepend=-1) > 1
    second = np.where(several, counts[ends - 1], 0)
    of = np.cumsum(last) - last
    others = np.where(last, second[of], counts[ends][of])
    return np.bincount(owner, np.minimum(counts, others), minlength=len(codes))


def _nearest(lengths: np.ndarray) -> np.ndarray:
    """Length of the other text nearest in length to each; the shorter of two equally near."""
    order = np.argsort(lengths, kind="stable")
    ascending = lengths[order].astype(np.float64)
    below = np.append(-np.inf, ascending[:-1])
    above = np.append(ascending[1:], np.inf)
    nearest = np.empty(len(lengths))
    nearest[order] = np.where(above - ascending < ascending - below, above, below)
    return nearest


def _occurrences(codes: np.ndarray) -> np.ndarray:
    """Tell the first, second, ... occurrence of each n-gram apart: codes without repeats."""
    ascending = np.sort(codes)
    first = np.append(True, ascending[1:] != ascending[:-1])[: len(codes)]
    position = np.arange(len(codes))
    start = np.maximum.accumulate(np.where(first, position, 0))
    return ascending + (position - start).astype(np.uint64) * _OCCURRENCE
