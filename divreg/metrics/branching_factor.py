"""How many next tokens a model effectively chooses between, averaged over a completion.

The value of one prompt comes from several samples; the value of a model is the mean over prompts.
Entropies and log-probabilities are those of the distribution that was sampled from, top-p included:
:func:`nucleus` gives what it takes.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from divreg.metrics.next_token import entropy_nats, probabilities

# The released code has short outputs up to here, in tokens, and uses the other estimator above.
SHORT_TOKENS = 50

# A cumulative sum that is short of top_p by less has reached it: the last bits are rounding.
_ROUNDING = 1e-12

# Entropies and log-probabilities may be on the wrong side of 0 by this much: low precision.
_SLACK = 1e-3


class Nucleus(NamedTuple):
    """What top-p sampling leaves of next-token distributions, ``(...)`` each.

    Attributes:
        entropy_nats: Entropy of the tokens that are left, renormalised, nats.
        mass: Their probability before, in (0, 1]. A token's log-probability after truncation is its
            log-probability before, minus ``log(mass)``. Below ``top_p``, the tokens that were
            given did not hold so much: the truncation is then of their number.
        tokens: How many are left.
    """

    entropy_nats: np.ndarray
    mass: np.ndarray
    tokens: np.ndarray


def nucleus(
    logits: ArrayLike | None = None, *, probs: ArrayLike | None = None, top_p: float = 0.9
) -> Nucleus:
    """Truncate next-token distributions as top-p sampling does, and measure what is left.

    The fewest most likely tokens are kept whose probabilities reach ``top_p``. One certain token:
    entropy 0.

    Args:
        logits: ``(..., v)``, of the whole vocabulary, after temperature.
        probs: ``(..., v)`` in place of ``logits``; may be the most likely tokens alone.
        top_p: Probability to keep, in (0, 1]; 1 keeps everything.

    Raises:
        ValueError: If ``top_p`` is out of range, or the numbers make no distribution.

    Source:
        Yang et al., LLM Probability Concentration, arXiv:2506.17871; top-p 0.9 there.

    Differs from the released code:
        It reads the 50 most likely tokens, and always keeps the one that was sampled.

    >>> left = nucleus(probs=[0.5, 0.3, 0.15, 0.04, 0.01])
    >>> int(left.tokens), round(float(left.mass), 6), round(float(left.entropy_nats), 6)
    (3, 0.95, 0.993268)
    """
    if not 0 < top_p <= 1:
        raise ValueError(f"nucleus needs top_p above 0 and at most 1; got {top_p}. Use top_p=0.9.")
    p = -np.sort(-probabilities("nucleus", logits, probs), axis=-1)
    before = np.cumsum(p, axis=-1) - p
    p = np.where(before < (top_p - _ROUNDING if top_p < 1 else np.inf), p, 0.0)
    mass = p.sum(axis=-1)
    return Nucleus(
        entropy_nats(p / mass[..., None]), np.minimum(mass, 1.0), np.count_nonzero(p, axis=-1)
    )


def branching_factor(
    entropies: Sequence[Sequence[float]], min_samples: int = 4, length_quantile: float = 0.95
) -> float:
    r"""Estimate the branching factor of one prompt from the entropies of its next tokens.

    .. math:: \exp \Big( \frac{1}{L} \sum_{t \le L} \frac{1}{|A_t|} \sum_{i \in A_t} H_t^i \Big)

    where :math:`A_t` are the samples that reach position ``t``. An effective number of tokens, at
    least 1, which is greedy decoding; higher is more diverse. It reads whole distributions, so a
    few samples do, and the authors use it for outputs of at most 50 tokens.

    Positions that fewer than ``min_samples`` reach are left out, and so are those past
    ``length_quantile`` of the lengths. Where none is left, as with fewer samples than that: NaN.

    Args:
        entropies: Entropy of the truncated distribution at each token of each sample, nats; as
            long as the sample, its end-of-sequence token included.
        min_samples: Samples that a position needs, at least 1.
        length_quantile: Quantile of the samples' lengths to stop at, in [0, 1], rounded down; 1 is
            the longest.

    Raises:
        ValueError: If an entropy is negative or no number, or an argument is out of range.

    Source:
        Yang et al., LLM Probability Concentration, arXiv:2506.17871; both rules are those of
        the released code.

    >>> three = [[1.2, 0.8, 0.4], [1.0, 0.6, 0.2], [0.8, 1.0, 0.6]]
    >>> round(branching_factor(three, min_samples=3), 6)
    2.082009
    """
    rows = _rows("branching_factor", entropies)
    if min_samples < 1 or not 0 <= length_quantile <= 1:
        raise ValueError(
            f"branching_factor needs min_samples of at least 1 and length_quantile in [0, 1]; got "
            f"{min_samples} and {length_quantile}. Use min_samples=4, length_quantile=0.95."
        )
    if any((row < -_SLACK).any() for row in rows):
        raise ValueError(
            f"branching_factor needs entropies of at least 0 nats; got "
            f"{min(float(row.min()) for row in rows if len(row)):g}. Log-probabilities belong in "
            f"branching_factor_aep."
        )
    if not rows:
        return math.nan
    lengths = np.array([len(row) for row in rows])
    longest = int(np.quantile(lengths, length_quantile) + 1e-9)
    alive = np.arange(longest) < lengths[:, None]
    table = np.zeros(alive.shape)
    table[alive] = np.concatenate([row[:longest] for row in rows])
    reached = alive.sum(axis=0)
    kept = reached >= min_samples
    if not kept.any():
        return math.nan
    rate = (table.sum(axis=0)[kept] / reached[kept]).mean()
    return math.exp(max(0.0, float(rate)))


def branching_factor_aep(logprobs: Sequence[Sequence[float]]) -> float:
    r"""Estimate the branching factor of one prompt from the log-probabilities of its samples.

    .. math:: \exp \Big( -\frac{1}{M} \sum_i \frac{1}{L_i} \sum_t \log \tilde p(y_t^i) \Big)

    An effective number of tokens, at least 1, which is greedy decoding; higher is more diverse. It
    rests on asymptotic equipartition: over many tokens the mean log-probability nears the entropy
    rate. The authors use it for outputs of more than 50 tokens. Samples without tokens do not
    count; without any sample: NaN.

    Args:
        logprobs: Log-probability of each token of each sample, nats, under the distribution that it
            was sampled from: truncated and renormalised.

    Raises:
        ValueError: If a log-probability is above 0 or not finite.

    Source:
        Yang et al., LLM Probability Concentration, arXiv:2506.17871.

    Differs from the released code:
        It averages over the samples that reach the last position which both rules of
        :func:`branching_factor` keep, up to there: the longest ones.

    >>> three = [[-1.5, -0.5, -0.2], [-0.7, -0.9, -0.1], [-1.1, -0.4, -0.3]]
    >>> round(branching_factor_aep(three), 6)
    1.88388
    """
    rows = [row for row in _rows("branching_factor_aep", logprobs) if len(row)]
    if any((row > _SLACK).any() for row in rows):
        raise ValueError(
            f"branching_factor_aep needs log-probabilities of at most 0; got "
            f"{max(float(row.max()) for row in rows):g}. Entropies belong in branching_factor."
        )
    if not rows:
        return math.nan
    return math.exp(max(0.0, -float(np.mean([row.mean() for row in rows]))))


def _rows(who: str, samples: Sequence[Sequence[float]]) -> list[np.ndarray]:
    rows = [np.asarray(sample, dtype=np.float64) for sample in samples]
    for row in rows:
        if row.ndim != 1 or not np.isfinite(row).all():
            what = f"shape {row.shape}" if row.ndim != 1 else f"{row[~np.isfinite(row)][0]}"
            raise ValueError(
                f"{who} needs one list of finite numbers per sample; got {what}. Cut padding off: "
                f"samples may differ in length."
            )
    return rows
