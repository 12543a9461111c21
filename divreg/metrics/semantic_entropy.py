"""Entropy over meanings: of the shares of the classes, or of the probabilities of the texts.

The classes say which completions mean the same; any partition will do. Log-probabilities are means
over the tokens of each completion, so that long texts are not unlikely for their length alone.
"""

import math
from collections.abc import Hashable, Sequence

import numpy as np

from divreg.metrics.answer_entropy import answer_entropy_nats

# A log-probability may exceed 0 by this much: rounding of a softmax in low precision.
_SLACK = 1e-3


def semantic_entropy_discrete_nats(classes: Sequence[Hashable]) -> float:
    r"""Measure the uncertainty over meanings by how often each was said.

    .. math:: -\sum_c (n_c / n) \ln (n_c / n)

    In nats: 0 for one meaning, ``log(n)`` for ``n`` different ones; higher is more diverse. The
    same number as :func:`~divreg.metrics.answer_entropy.answer_entropy_nats`, under the name it has
    in this literature. It needs no probabilities. No completions, or one: 0.

    Args:
        classes: One class per completion.

    Source:
        Farquhar et al., Detecting hallucinations in large language models using semantic entropy,
        Nature 630, 2024; released code, ``cluster_assignment_entropy``.

    >>> round(semantic_entropy_discrete_nats([0, 0, 1, 2, 0]), 6)
    0.950271
    """
    return answer_entropy_nats(classes)


def semantic_entropy_rao_nats(classes: Sequence[Hashable], logprobs: Sequence[float]) -> float:
    r"""Measure the uncertainty over meanings by how probable what was said is.

    .. math:: P_c = \sum_{s \in c} e^{l_s} / \sum_s e^{l_s}, \qquad -\sum_c P_c \ln P_c

    In nats: 0 for one meaning, at most the log of their number; higher is more diverse. A text that
    was drawn twice counts twice, as in the released code. No completions, or one: 0.

    Args:
        classes: One class per completion.
        logprobs: Mean log-probability of each completion's tokens, nats, at most 0.

    Raises:
        ValueError: If the two are not equally long, or a log-probability is none.

    Source:
        Farquhar et al., Detecting hallucinations in large language models using semantic entropy,
        Nature 630, 2024; released code, ``logsumexp_by_id`` and ``predictive_entropy_rao``.

    >>> round(semantic_entropy_rao_nats([0, 0, 1, 2, 0], [-0.2, -0.4, -1, -2, -0.3]), 6)
    0.584778
    """
    logs = list(_log_mass("semantic_entropy_rao_nats", classes, logprobs).values())
    if not logs:
        return 0.0
    whole = float(np.logaddexp.reduce(logs))
    return max(0.0, sum(math.exp(log - whole) * (whole - log) for log in logs))


def semantic_entropy_kuhn_nats(classes: Sequence[Hashable], logprobs: Sequence[float]) -> float:
    r"""Measure how improbable the mean meaning is, each meaning counted once.

    .. math:: -\frac{1}{|C|} \sum_c \ln \sum_{s \in c} e^{l_s}

    In nats; higher is more diverse. It can be negative: the probabilities of a meaning's texts are
    summed over the draws, so that one that is drawn often may exceed 1. Compare groups of the same
    size only. One completion: minus its log-probability. None: NaN.

    Args:
        classes: One class per completion.
        logprobs: Mean log-probability of each completion's tokens, nats, at most 0.

    Raises:
        ValueError: If the two are not equally long, or a log-probability is none.

    Source:
        Kuhn et al., Semantic Uncertainty, arXiv:2302.09664; released code,
        ``get_predictive_entropy_over_concepts``.

    Differs from the released code:
        It adds 5 to every value (a shift of the log-likelihoods); that constant is left out.

    >>> round(semantic_entropy_kuhn_nats([0, 0, 1, 2, 0], [-0.2, -0.4, -1, -2, -0.3]), 6)
    0.732686
    """
    logs = _log_mass("semantic_entropy_kuhn_nats", classes, logprobs).values()
    return sum(-log for log in logs) / len(logs) if logs else math.nan


def predictive_entropy_nats(logprobs: Sequence[float]) -> float:
    r"""Measure how improbable the mean completion is, whatever it means.

    .. math:: -\frac{1}{n} \sum_s l_s

    In nats, at least 0; higher is more diverse. What semantic entropy is compared with. With the
    sum over each completion's tokens instead of the mean it estimates the entropy of whole texts.
    No completions: NaN.

    Args:
        logprobs: Mean (or summed) log-probability of each completion's tokens, nats, at most 0.

    Raises:
        ValueError: If a log-probability is none.

    Source:
        Kuhn et al., Semantic Uncertainty, arXiv:2302.09664; released code,
        ``get_predictive_entropy``.

    >>> round(predictive_entropy_nats([-0.2, -0.4, -1, -2, -0.3]), 6)
    0.78
    """
    values = _checked("predictive_entropy_nats", logprobs)
    return sum(-x for x in values) / len(values) if values else math.nan


def _log_mass(
    who: str, classes: Sequence[Hashable], logprobs: Sequence[float]
) -> dict[Hashable, float]:
    """Return the log of the summed probabilities of each class."""
    values = _checked(who, logprobs)
    if len(classes) != len(values):
        raise ValueError(
            f"{who} needs one log-probability per completion; got {len(values)} for "
            f"{len(classes)}. Pass the mean over each completion's tokens."
        )
    of: dict[Hashable, list[float]] = {}
    for c, value in zip(classes, values, strict=True):
        of.setdefault(c, []).append(value)
    return {c: float(np.logaddexp.reduce(logs)) for c, logs in of.items()}


def _checked(who: str, logprobs: Sequence[float]) -> list[float]:
    values = [float(x) for x in logprobs]
    wrong = [x for x in values if not math.isfinite(x) or x > _SLACK]
    if wrong:
        raise ValueError(
            f"{who} needs finite log-probabilities of at most 0; got {wrong[0]}. Take the log of "
            f"the probabilities that the completions were sampled with."
        )
    return values
