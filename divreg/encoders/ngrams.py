"""Character n-grams as vectors: no model, for texts whose wording is their meaning."""

import zlib
from collections.abc import Sequence

import numpy as np

WIDTH = 512
"""Length of a vector; n-grams that fall into one place are added up."""


def character_ngrams(texts: Sequence[str], *, longest: int = 3) -> np.ndarray:
    """Count the character n-grams of ``n`` texts, from 1 to ``longest``, hashed: ``(n, WIDTH)``.

    An encoder: ``signals={"embedding": character_ngrams}``. Cosine similarity of two texts is then
    the share of n-grams that they have in common.

    Source:
        The hashing trick: Weinberger et al., Feature Hashing for Large Scale Multitask Learning,
        ICML 2009, without signs, so that no similarity is negative.
    """
    vectors = np.zeros((len(texts), WIDTH), dtype=np.float32)
    for i, text in enumerate(texts):
        for size in range(1, longest + 1):
            for start in range(len(text) - size + 1):
                place = zlib.crc32(text[start : start + size].encode()) % WIDTH
                vectors[i, place] += 1.0
    return vectors
