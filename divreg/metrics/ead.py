"""Expectation-adjusted distinct: distinct n-grams over how many chance would give."""

import math
from collections.abc import Iterable, Sequence

from divreg.metrics.ngrams import Split, ngram_counts, ngram_counts_each, words


def ead(
    texts: Sequence[str],
    vocabulary: int,
    orders: Iterable[int] = range(1, 6),
    split: Split = words,
) -> float:
    """Measure how many different n-grams a group has against chance: the mean over orders.

    Higher is more diverse, dimensionless; see :func:`ead_n` for the range and its edges. An order
    for which every text is too short counts 0. It can rise while meaning collapses: report it next
    to a semantic metric.

    Args:
        texts: The texts of one group.
        vocabulary: Words that could occur: the size of the tokenizer's vocabulary. One number for
            all that is compared; the largest, if they differ.
        orders: Words in an n-gram, one term of the mean each.
        split: How a text becomes words; :func:`kirk_words` as the paper.

    Raises:
        ValueError: If the vocabulary is empty, an order is below 1, or there is none.

    Source:
        Kirk et al., arXiv:2310.06452, released code: the mean over n = 1..5. Karouzos et al.,
        arXiv:2604.16027, use it with the vocabulary of the tokenizer.

    >>> round(ead(["i am going", "i am going", "lets go i i"], vocabulary=50257), 6)
    0.592879
    """
    counts = ngram_counts_each(texts, orders, split)
    if not counts:
        raise ValueError("ead needs an order; got none. Use orders=range(1, 6).")
    return sum(_over_chance(*found, vocabulary) for found in counts) / len(counts)


def ead_n(texts: Sequence[str], n: int, vocabulary: int, split: Split = words) -> float:
    r"""Measure how many different n-grams a group has, against as many drawn by chance.

    .. math:: U / \left( V \left(1 - \left(\frac{V-1}{V}\right)^C\right) \right)

    for ``U`` different n-grams among ``C`` and ``V`` words: below is what ``C`` uniform draws out
    of ``V`` would give. Dimensionless, higher is more diverse; 0 where no text has ``n`` words. It
    is *not* cut off at 1: single words reach 1.58, where each of the ``V`` comes once, and longer
    n-grams, which keep the same ``V`` as the authors have it, go as far as ``C / V``. As ``V``
    grows it becomes :func:`~divreg.metrics.ngrams.distinct_n_plain`.

    Args:
        texts: The texts of one group; n-grams do not cross from one to the next.
        n: Words in an n-gram.
        vocabulary: Words that could occur, at least 1.
        split: How a text becomes words.

    Raises:
        ValueError: If the vocabulary is empty or ``n`` is below 1.

    Source:
        Liu et al., Rethinking and Refining the Distinct Metric, arXiv:2202.13587.

    Differs from the released code:
        Karouzos et al. (arXiv:2604.16027) cut it off at 1.

    >>> round(ead_n(["i am going", "i am going", "lets go i i"], n=1, vocabulary=10), 6)
    0.76767
    """
    return _over_chance(*ngram_counts(texts, n, split), vocabulary)


def _over_chance(distinct: int, total: int, vocabulary: int) -> float:
    """Return distinct n-grams over how many as many words by chance would give."""
    if vocabulary < 1:
        raise ValueError(
            f"ead needs a vocabulary of at least one word; got {vocabulary}. Use len(tokenizer)."
        )
    if not total:
        return 0.0
    # 1 - (1 - 1/V)^C without the loss of digits that a large V brings.
    seen = -math.expm1(total * math.log1p(-1 / vocabulary)) if vocabulary > 1 else 1.0
    return distinct / (vocabulary * seen)


def kirk_words(text: str) -> list[str]:
    r"""Split a text at spaces, full stops and newlines deleted first.

    A newline between two words makes them one.

    Source:
        Kirk et al., arXiv:2310.06452, released code, ``lines_to_ngrams``.

    >>> kirk_words("I go. Now\nthen.")
    ['I', 'go', 'Nowthen']
    """
    return [word for word in text.replace(".", "").replace("\n", "").split(" ") if word]
