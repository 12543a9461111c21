"""How far the annotations that a model would write have moved from those it wrote before."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

Annotation = tuple[tuple[str, str], ...]
"""Keys and values, in the order in which they are written."""


def every_annotation(values: Mapping[str, Sequence[str]], most: int = 4096) -> list[Annotation]:
    """List every combination of values, one of each key.

    Raises:
        ValueError: If a key has no values, or there are more than ``most`` combinations.

    >>> every_annotation({"class": ["a", "b"]})
    [(('class', 'a'),), (('class', 'b'),)]
    """
    count = math.prod(map(len, values.values()))
    if not values or not count or count > most:
        raise ValueError(
            f"every_annotation needs 1 to {most} combinations; got {count if values else 0} of the "
            f"keys {', '.join(values) or 'none'}. Give fewer values, or leave them out to sample."
        )
    found: list[Annotation] = [()]
    for key, known in values.items():
        found = [(*begun, (key, value)) for begun in found for value in known]
    return found


def shares(logs: np.ndarray) -> np.ndarray:
    """Turn log-probabilities ``(n, z)`` of all annotations into log-shares among them, nats."""
    most = logs.max(axis=-1, keepdims=True)
    return logs - most - np.log(np.exp(logs - most).sum(axis=-1, keepdims=True))


def exact(now: np.ndarray, start: np.ndarray) -> dict[str, float]:
    r"""Compare what two models give every annotation that there is.

    .. math:: \mathrm{KL} = \sum_z p(z|x) \ln \frac{p(z|x)}{p_0(z|x)}, \qquad
        H = -\sum_z p(z|x) \ln p(z|x)

    over shares among the annotations, means over prompts.

    Args:
        now: Log-probabilities ``(n, z)`` of ``z`` annotations behind ``n`` prompts, nats.
        start: The same of the model that training began with.

    Returns:
        ``kl_nats`` and ``entropy_nats``; ``mass_frac``: how likely it is that the model begins with
        one of these annotations at all.

    >>> found = exact(np.log([[0.5, 0.25]]), np.log([[0.2, 0.2]]))
    >>> [round(found[k], 4) for k in ("kl_nats", "entropy_nats", "mass_frac")]
    [0.0566, 0.6365, 0.75]
    """
    p, q = shares(now), shares(start)
    share = np.exp(p)
    return {
        "kl_nats": float(np.maximum((share * (p - q)).sum(-1), 0).mean()),
        "entropy_nats": float(-(share * p).sum(-1).mean()),
        "mass_frac": float(np.exp(now).sum(-1).mean()),
    }


def sampled(now: Sequence[Sequence[str]], start: Sequence[Sequence[str]]) -> dict[str, float]:
    r"""Compare annotations that two models were seen to write.

    .. math:: \hat H = H_{plug-in} + \frac{S - 1}{2n}, \qquad
        \mathrm{JS} = \hat H_{both} - \tfrac12 (\hat H + \hat H_0)

    The Jensen-Shannon divergence stands in for KL, which no sample shows: it is infinite where one
    model wrote what the other was not seen to. The correction is Miller and Madow's.

    Args:
        now: For every prompt, the annotations written behind it.
        start: The same of the model that training began with, as many of each.

    Returns:
        ``js_nats``, at least 0, and ``entropy_nats``; means over prompts.

    >>> {k: round(v, 4) for k, v in sampled([["a", "a"]], [["b", "b"]]).items()}
    {'js_nats': 0.8181, 'entropy_nats': 0.0}
    """
    divergence: list[float] = []
    entropy: list[float] = []
    for ours, theirs in zip(now, start, strict=True):
        entropy.append(_entropy(ours))
        apart = _entropy([*ours, *theirs]) - (entropy[-1] + _entropy(theirs)) / 2
        divergence.append(max(0.0, apart))
    return {"js_nats": float(np.mean(divergence)), "entropy_nats": float(np.mean(entropy))}


def _entropy(seen: Sequence[str]) -> float:
    """Entropy of the shares of what was seen, with Miller and Madow's correction; nats."""
    n, sizes = len(seen), Counter(seen).values()
    return sum(c / n * math.log(n / c) for c in sizes) + (len(sizes) - 1) / (2 * n)


def gap_closed(start: float, tuned: float, anchored: float) -> tuple[float, float]:
    r"""Say how much of the diversity that fine-tuning takes is kept by anchoring.

    .. math:: \frac{D_{anchored} - D_{tuned}}{D_{start} - D_{tuned}}, \qquad
        \frac{D_{start} - D_{tuned}}{D_{start} - D_{anchored}}

    Args:
        start: Diversity of the model before fine-tuning, any unit.
        tuned: After plain fine-tuning.
        anchored: After anchored fine-tuning.

    Returns:
        The share of the gap that is closed, and how many times smaller the collapse is: infinite
        where nothing is lost, NaN where plain fine-tuning loses nothing.

    >>> closed, ratio = gap_closed(2.0, 1.0, 1.85)
    >>> round(closed, 6), round(ratio, 6)
    (0.85, 6.666667)
    """
    lost, left = start - tuned, start - anchored
    if lost <= 0:
        return math.nan, math.nan
    return 1 - left / lost, lost / left if left > 0 else math.inf
