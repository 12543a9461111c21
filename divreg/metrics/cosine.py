"""Cosine similarity of embeddings: inside a group, and between two.

The numbers belong to the encoder: never compare those of two encoders.
"""

import numpy as np
from numpy.typing import ArrayLike

# Rows of the similarity matrix held at once where every pair has to be looked at.
_ROWS = 1024

# Squared lengths from here to one over it keep their digits in float64.
_TINY = 1e-200

# Cosines nearer to a threshold than this are on it: the last bits depend on the order of sums.
_ON = 1e-9


def cosine_diversity(embeddings: ArrayLike) -> float:
    r"""Measure how unlike the members of a group are: one less their mean cosine.

    .. math:: 1 - \frac{1}{n (n-1)} \sum_{i \ne j} \cos(x_i, x_j)

    Range [0, n / (n - 1)], dimensionless, higher is more diverse: 0 if all point the same way, 1 if
    all are orthogonal, beyond it if they point away from each other. Fewer than two: 0.

    Args:
        embeddings: ``(n, d)``, of any length but zero. Cost and memory are those of ``n * d``.

    Raises:
        ValueError: If a row is zero or not finite, or the shape is another.

    Source:
        Kirk et al., arXiv:2310.06452, SBERT diversity; Karouzos et al., arXiv:2604.16027.

    >>> cosine_diversity([[1, 0], [2, 0], [0, 3]])
    0.6666666666666667
    """
    x = unit_rows(embeddings, "cosine_diversity")
    return max(0.0, 1.0 - _mean_pair(x)) if len(x) > 1 else 0.0


def intra_repetition(embeddings: ArrayLike) -> float:
    """Measure how alike a model's responses to one prompt are: their mean cosine.

    Range [-1 / (n - 1), 1], dimensionless, higher is *less* diverse; one less
    :func:`cosine_diversity`, but 0 for fewer than two, where nothing is repeated.

    Args:
        embeddings: ``(n, d)``, the responses of one model to one prompt.

    Raises:
        ValueError: If a row is zero or not finite, or the shape is another.

    Source:
        Artificial Hivemind, arXiv:2510.22954, intra-model repetition.

    >>> round(intra_repetition([[1, 0], [2, 0], [0, 3]]), 6)
    0.333333
    """
    x = unit_rows(embeddings, "intra_repetition")
    return min(1.0, _mean_pair(x)) if len(x) > 1 else 0.0


def intra_repetition_frac(embeddings: ArrayLike, threshold: float = 0.8) -> float:
    """Measure how many pairs of a model's responses are nearly the same: cosine above a threshold.

    Range [0, 1], dimensionless, higher is *less* diverse. Fewer than two responses: 0.

    Args:
        embeddings: ``(n, d)``, the responses of one model to one prompt.
        threshold: A pair counts *above* it, in [-1, 1]. 0.8 is that of the paper's encoder,
            ``text-embedding-3-small``; another encoder needs its own.

    Raises:
        ValueError: If a row is zero or not finite, or the shape is another.

    Source:
        Artificial Hivemind, arXiv:2510.22954, share of pairs above 0.8.

    >>> intra_repetition_frac([[1, 0], [2, 0], [0, 3]])
    0.3333333333333333
    """
    x = unit_rows(embeddings, "intra_repetition_frac")
    n = len(x)
    if n < 2:
        return 0.0
    above = 0
    for start in range(0, n, _ROWS):
        block = x[start : start + _ROWS] @ x.T
        rows = np.arange(len(block))
        block[rows, start + rows] = -np.inf  # not with itself
        above += int((block > threshold + _ON).sum())
    return above / (n * (n - 1))


def inter_homogeneity(ours: ArrayLike, theirs: ArrayLike) -> float:
    r"""Measure how alike the responses of two models to one prompt are: mean cosine across them.

    .. math:: \frac{1}{n m} \sum_{i=1}^{n} \sum_{j=1}^{m} \cos(x_i, y_j)

    Range [-1, 1], dimensionless; higher means that the two models say the same. 0 if one has no
    response.

    Args:
        ours: ``(n, d)``, the responses of one model.
        theirs: ``(m, d)``, those of the other, by the same encoder.

    Raises:
        ValueError: If a row is zero or not finite, or the two have another ``d``.

    Source:
        Artificial Hivemind, arXiv:2510.22954, inter-model homogeneity.

    >>> inter_homogeneity([[1, 0], [0, 1]], [[2, 0]])
    0.5
    """
    x, y = (unit_rows(rows, "inter_homogeneity") for rows in (ours, theirs))
    if not len(x) or not len(y):
        return 0.0
    if x.shape[1] != y.shape[1]:
        raise ValueError(
            f"inter_homogeneity needs embeddings of one length; got {x.shape[1]} and {y.shape[1]}. "
            f"Embed both with the same encoder."
        )
    return float(np.clip(x.mean(axis=0) @ y.mean(axis=0), -1.0, 1.0))


def mean_cosine_with_self(embeddings: ArrayLike) -> float:
    """Return the mean of the whole matrix of cosines, each member with itself included.

    Range [0, 1], dimensionless, higher is *less* diverse. It depends on ``n`` even where nothing
    else changed: orthogonal members have ``1 / n``. For numbers published this way; everything else
    here leaves out the pairs of a member with itself. No members: 0.

    Args:
        embeddings: ``(n, d)``.

    Raises:
        ValueError: If a row is zero or not finite, or the shape is another.

    Source:
        Language-of-Thought, arXiv:2601.11227, released code, similarity.

    >>> mean_cosine_with_self([[1, 0], [0, 1]])
    0.5
    """
    x = unit_rows(embeddings, "mean_cosine_with_self")
    return min(1.0, float((x.mean(axis=0) ** 2).sum())) if len(x) else 0.0


def unit_rows(embeddings: ArrayLike, who: str) -> np.ndarray:
    """Scale every row to length 1, in float64; no rows are ``(0, 0)``.

    Args:
        embeddings: ``(n, d)``.
        who: Whose input it is, for the message of an error.

    Raises:
        ValueError: If a row is zero or not finite, or the shape is another.

    >>> unit_rows([[3, 4]], "me").tolist()
    [[0.6, 0.8]]
    """
    x = np.array(embeddings, dtype=np.float64)
    if not x.size and (x.ndim < 2 or not len(x)):
        return np.zeros((0, 0))
    if x.ndim != 2:
        raise ValueError(
            f"{who} needs embeddings of shape (n, d); got {x.shape}. Pass one row per text."
        )
    squares = np.einsum("ij,ij->i", x, x)
    if ((squares > _TINY) & (squares < 1 / _TINY)).all():
        x /= np.sqrt(squares)[:, None]
        return x
    largest = np.abs(x).max(axis=1, initial=0.0)
    if not np.isfinite(largest).all():
        rows = np.flatnonzero(~np.isfinite(largest))[:5].tolist()
        raise ValueError(
            f"{who} needs finite embeddings; got NaN or infinity in rows {rows}. Look at what "
            f"computed them: an overflow in half precision is the usual cause."
        )
    if not largest.all():
        rows = np.flatnonzero(largest == 0)[:5].tolist()
        raise ValueError(
            f"{who} needs embeddings other than zero; got zeros in rows {rows}. Leave out those "
            f"texts, or ask the encoder why: an empty text is the usual cause."
        )
    x /= largest[:, None]  # squares of very large or small numbers leave float64
    x /= np.sqrt(np.einsum("ij,ij->i", x, x))[:, None]
    return x


def _mean_pair(x: np.ndarray) -> float:
    """Mean cosine over pairs of different rows: from the sum of the rows, without a matrix."""
    n, total = len(x), x.sum(axis=0)
    return float((total @ total - np.einsum("ij,ij->", x, x)) / (n * (n - 1)))
