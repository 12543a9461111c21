"""Vendi score: the effective number of different samples, of any order."""

import math
import warnings

import numpy as np
from numpy.typing import ArrayLike

from divreg.metrics.cosine import unit_rows

# Orders this near to 1 are 1, where the general formula divides by zero.
_NEAR_ONE = 1e-8

_EPS_SINGLE = float(np.finfo(np.float32).eps)
_EPS_DOUBLE = float(np.finfo(np.float64).eps)

# How far a diagonal may be from 1 and two halves of a matrix from each other: half precision.
_LEAVE = 2e-3

# Rows of a matrix that are compared with their columns at once.
_ROWS = 64


def vendi_score(similarity: ArrayLike, q: float = 1.0, weights: ArrayLike | None = None) -> float:
    r"""Count how many different samples there effectively are, from their similarities.

    .. math:: VS_q = \left( \sum_i \lambda_i^q \right)^{1 / (1 - q)}

    for the eigenvalues of ``diag(sqrt p) K diag(sqrt p)``. Range [1, n], dimensionless, higher is
    more diverse: 1 if all are the same, n if all are as unlike as can be. ``q`` below 1 listens to
    rare kinds, above 1 to the common ones; ``q=1`` is the exponential of the eigenvalues' entropy,
    ``math.inf`` is one over the largest. No samples: 0, one: 1.

    What rounding leaves of zero eigenvalues is zero here: below ``max(1e-10, n eps)`` of the
    largest, or, in less than float64, below ``4 eps sqrt(max p)`` of their sum. Orders below 1 are
    meaningless without that. Then they are scaled to sum 1.

    ``q=2`` needs no eigenvalues, ``1 / sum(p_i p_j K_ij ** 2)``, and is by far the cheapest. Other
    orders cost ``n ** 3``; from embeddings use :func:`vendi_score_from_embeddings`.

    Args:
        similarity: ``(n, n)``, symmetric, with 1 on the diagonal. A matrix with negative
            eigenvalues (NLI, edit distance) is no kernel: they count as 0, with a warning. ``q=2``
            does not look at eigenvalues: there the formula takes the matrix as it is.
        q: Order, from 0 to infinity.
        weights: Share of each sample, in any unit; None: all the same.

    Raises:
        ValueError: If the matrix is not symmetric with 1 on its diagonal, the order is negative, or
            the weights do not fit.

    Source:
        Friedman and Dieng, The Vendi Score, arXiv:2210.02410. Orders: Pasarkar and Dieng, Cousins
        of the Vendi Score, arXiv:2310.12952.

    Differs from the released code:
        ``vendi-score`` 0.0.3 keeps eigenvalues that are round-off: at orders near 0, copies of one
        sample count as many.

    >>> round(vendi_score([[1, 0.9, 0], [0.9, 1, 0], [0, 0, 1]]), 6)
    2.1573
    """
    k = np.asarray(similarity)
    eps = float(np.finfo(k.dtype).eps) if k.dtype.kind == "f" else 0.0
    k = _kernel(k)
    n = len(k)
    if not n:
        return 0.0
    p = _shares(weights, n, "vendi_score")
    if _order(q) == 2:
        # Of a symmetric matrix: sum(lambda ** 2) = sum(entries ** 2).
        return float((p @ np.diag(k)) ** 2 / (p @ (k * k) @ p))
    half = np.sqrt(p)
    if weights is None:
        eigenvalues = np.linalg.eigvalsh(k) / n
    else:
        eigenvalues = np.linalg.eigvalsh(half[:, None] * k * half)
    floor = _floor(n) * eigenvalues[-1]
    if eps > _EPS_DOUBLE:
        floor = max(floor, 4 * eps * half.max())
    # Whoever hands over float64 may have computed in float32: that alone is no reason to warn.
    if eigenvalues[0] < -max(floor, 4 * _EPS_SINGLE * half.max()):
        warnings.warn(
            f"vendi_score got a similarity with negative eigenvalues, down to "
            f"{eigenvalues[0] / eigenvalues[-1]:.2g} of the largest: they count as 0. Use a kernel "
            f"such as cosine similarity where the exact number matters.",
            stacklevel=2,
        )
    return _effective_number(eigenvalues, q, floor)


def vendi_score_from_embeddings(
    embeddings: ArrayLike, q: float = 1.0, weights: ArrayLike | None = None
) -> float:
    """Count how many different samples there effectively are, by the cosine of their embeddings.

    What :func:`vendi_score` gives for the matrix of cosines, whose eigenvalues other than zero are
    those of the ``(d, d)`` matrix ``sum(p_i x_i x_i^T)`` too: the smaller of the two is used. Range
    [1, min(n, d)]. No samples: 0, one: 1.

    Args:
        embeddings: ``(n, d)``, of any length but zero.
        q: Order, from 0 to infinity.
        weights: Share of each sample, in any unit; None: all the same.

    Raises:
        ValueError: If a row is zero or not finite, the order is negative, or the weights do not
            fit.

    Source:
        Friedman and Dieng, The Vendi Score, arXiv:2210.02410, section 3.

    Differs from the released code:
        ``vendi-score`` 0.0.3 has no weights here, and its ``score_X`` takes no notice of ``q``.

    >>> round(vendi_score_from_embeddings([[100, 0], [99, 1], [0, 100]], q=2), 3)
    1.8
    """
    return _from_embeddings(embeddings, q, weights, "vendi_score_from_embeddings")


def k_star(embeddings: ArrayLike) -> float:
    """Count the effective channels of a set of samples: 2 to the entropy of the spectrum, in bits.

    The same number as ``vendi_score_from_embeddings(embeddings, q=1)``, under the name of another
    paper; only of no samples it is 1, as in that paper's code.

    Args:
        embeddings: ``(n, d)``, of any length but zero.

    Raises:
        ValueError: If a row is zero or not finite.

    Source:
        arXiv:2602.03794, K*, as ``K_star_analysis/analysis.py`` of its released code has it.

    >>> k_star([[1, 0], [0, 1]])
    2.0
    """
    return max(1.0, _from_embeddings(embeddings, 1.0, None, "k_star"))


def _from_embeddings(embeddings: ArrayLike, q: float, weights: ArrayLike | None, who: str) -> float:
    x = unit_rows(embeddings, who)
    n, d = x.shape
    if not n:
        return 0.0
    x *= np.sqrt(_shares(weights, n, who))[:, None]
    gram = x.T @ x if n > d else x @ x.T
    if _order(q) == 2:
        return float(np.trace(gram) ** 2 / (gram * gram).sum())
    eigenvalues = np.linalg.eigvalsh(gram)
    return _effective_number(eigenvalues, q, _floor(n) * eigenvalues[-1])


def _floor(n: int) -> float:
    """Share of the largest eigenvalue below which one is round-off."""
    return max(1e-10, n * _EPS_DOUBLE)


def _effective_number(eigenvalues: np.ndarray, q: float, floor: float) -> float:
    """Hill number of order ``q`` of the eigenvalues above the floor."""
    kept = eigenvalues[eigenvalues > floor]
    shares = kept / kept.sum()
    top = float(shares.max())
    if math.isinf(q):
        return 1.0 / top
    if abs(q - 1.0) < _NEAR_ONE:
        return math.exp(-float((shares * np.log(shares)).sum()))
    # The largest is taken out, so that no power of a high order becomes zero.
    powers = float(((shares / top) ** q).sum())
    return math.exp((q * math.log(top) + math.log(powers)) / (1.0 - q))


def _kernel(k: np.ndarray) -> np.ndarray:
    if not k.size:
        return np.zeros((0, 0))
    if k.ndim != 2 or k.shape[0] != k.shape[1]:
        raise ValueError(
            f"vendi_score needs a square matrix of similarities; got shape {k.shape}. Use "
            f"vendi_score_from_embeddings for embeddings."
        )
    k = np.asarray(k, dtype=np.float64)
    if not np.isfinite(k).all():
        raise ValueError(
            "vendi_score needs finite similarities; got NaN or infinity. Look at what computed "
            "them: an empty text or a zero vector is the usual cause."
        )
    off = float(np.abs(np.diag(k) - 1.0).max())
    if off > _LEAVE:
        raise ValueError(
            f"vendi_score needs 1 on the diagonal; got values up to {off:.3g} away from it. Divide "
            f"by np.sqrt(np.outer(K.diagonal(), K.diagonal()))."
        )
    blocks = ((i, slice(i, i + _ROWS)) for i in range(0, len(k), _ROWS))
    skew = max(float(np.abs(k[rows, i:] - k[i:, rows].T).max()) for i, rows in blocks)
    if skew > _LEAVE:
        raise ValueError(
            f"vendi_score needs a symmetric matrix; got entries {skew:.3g} apart. Pass "
            f"(K + K.T) / 2."
        )
    return (k + k.T) / 2 if skew else k


def _order(q: float) -> float:
    if not q >= 0:
        raise ValueError(f"a Vendi score needs an order q of at least 0; got {q}. Use q=1.")
    return q


def _shares(weights: ArrayLike | None, n: int, who: str) -> np.ndarray:
    """Weights as shares of 1."""
    if weights is None:
        return np.full(n, 1.0 / n)
    p = np.asarray(weights, dtype=np.float64)
    if p.shape != (n,):
        raise ValueError(
            f"{who} needs one weight per sample; got shape {p.shape} for {n}. Pass a list of {n}."
        )
    total = float(p.sum())
    if not (p >= 0).all() or not 0 < total < math.inf:
        raise ValueError(
            f"{who} needs weights of at least 0 with a finite sum above 0; got a smallest of "
            f"{p.min():.3g} and a sum of {total:.3g}. Use weights=None for equal ones."
        )
    return p / total
