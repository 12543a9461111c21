"""Overlap of the word n-grams of every pair of completions in a group."""

from functools import partial
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from divreg.metrics import ngrams
from divreg.signals._groups import over_groups


def ngram_similarity(*, texts: list[Any], n: int = 3) -> Float[Tensor, "*p g g"]:
    """Overlap of the sets of word n-grams of every pair of completions: Jaccard index.

    Range [0, 1], dimensionless; symmetric, the diagonal is 1. Letter case counts.

    Args:
        texts: Completions, nested lists ``(*p, g)``.
        n: Words in an n-gram; a text of fewer words is one n-gram.

    >>> ngram_similarity(texts=["a b c", "a b d"], n=2)
    tensor([[1.0000, 0.3333],
            [0.3333, 1.0000]])
    """
    return over_groups(partial(ngrams.ngram_similarity, n=n), texts, torch.float32)
