"""Next-token distributions, from logits or probabilities, checked and in float64."""

import numpy as np
from numpy.typing import ArrayLike

# Probabilities may add up to this much more than 1: rounding of a softmax in half precision.
_SLACK = 1e-2


def probabilities(who: str, logits: ArrayLike | None, probs: ArrayLike | None) -> np.ndarray:
    """Return distributions over tokens, in the last axis.

    Args:
        who: The function that asks, for the message.
        logits: ``(..., v)``, any shift; minus infinity where a token cannot come.
        probs: ``(..., v)`` in place of ``logits``. They may add up to less than 1: the most likely
            tokens alone, as a server returns them. They are not scaled.

    Returns:
        ``(..., v)`` float64.

    Raises:
        ValueError: If neither or both are given, or they make no distribution.

    >>> probabilities("example", [0.0, 0.0], None).tolist()
    [0.5, 0.5]
    """
    if (logits is None) == (probs is None):
        raise ValueError(
            f"{who} needs either logits or probs; got {'neither' if logits is None else 'both'}. "
            f"Write {who}(logits), or {who}(probs=p)."
        )
    x = np.asarray(logits if probs is None else probs, dtype=np.float64)
    if x.ndim < 1 or x.shape[-1] < 1:
        raise ValueError(
            f"{who} needs the tokens in the last axis; got shape {x.shape}. Pass one row of the "
            f"vocabulary, or (..., v)."
        )
    return _softmax(who, x) if probs is None else _checked(who, x)


def entropy_nats(p: np.ndarray) -> np.ndarray:
    r"""Return the sum of :math:`-p \ln p` over the last axis, with ``0 log 0 = 0``.

    Args:
        p: ``(..., v)``, in [0, 1]; where a row does not add up to 1 the sum is no entropy.

    Returns:
        ``(...)``, at least 0.

    Source:
        Shannon, A Mathematical Theory of Communication, Bell System Technical Journal 27, 1948.

    >>> round(float(entropy_nats(np.array([0.5, 0.5, 0.0]))), 6)
    0.693147
    """
    terms = np.log(p, where=p > 0, out=np.zeros_like(p))
    terms *= p
    return np.maximum(0.0 - terms.sum(axis=-1), 0.0)


def _softmax(who: str, x: np.ndarray) -> np.ndarray:
    top = x.max(axis=-1, keepdims=True)
    if not np.isfinite(top).all():
        raise ValueError(
            f"{who} needs logits without NaN or infinity, and a possible token in every row; got a "
            f"row with a maximum of {top[~np.isfinite(top)][0]}. Look at what computed them."
        )
    weights = x - top
    np.exp(weights, out=weights)  # in place: a vocabulary is large
    weights /= weights.sum(axis=-1, keepdims=True)
    return weights


def _checked(who: str, x: np.ndarray) -> np.ndarray:
    if not (x >= 0).all():
        raise ValueError(
            f"{who} needs probabilities of at least 0; got {x[~(x >= 0)][0]}. Pass logits or "
            f"log-probabilities as logits."
        )
    whole = x.sum(axis=-1)
    wrong = ~((whole > 0) & (whole <= 1 + _SLACK))
    if wrong.any():
        raise ValueError(
            f"{who} needs probabilities that add up to more than 0 and at most 1; got "
            f"{whole[wrong][0]:g}. Pass logits as logits, or normalise them."
        )
    return x
