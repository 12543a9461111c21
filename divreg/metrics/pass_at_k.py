"""Probability that at least one of k samples is correct, of one prompt or a mean over prompts."""

import math
from collections import Counter
from collections.abc import Iterable, Sequence


def pass_at_k(n: int, c: int, k: int) -> float:
    r"""Estimate the probability that ``k`` samples hold at least one correct one, without bias.

    .. math:: 1 - \binom{n-c}{k} / \binom{n}{k}

    Args:
        n: Samples drawn of one prompt.
        c: How many of them are correct, 0 to ``n``.
        k: Samples of the attempt, 1 to ``n``.

    Returns:
        A probability, in [0, 1].

    Raises:
        ValueError: If ``c`` or ``k`` do not fit ``n``.

    Source:
        Chen et al., Evaluating Large Language Models Trained on Code, arXiv:2107.03374, Eq. 1.

    >>> pass_at_k(4, 2, 2)
    0.8333333333333334
    """
    if not 1 <= k <= n:
        raise ValueError(f"pass_at_k needs k between 1 and n={n}; got {k}. Draw more samples.")
    if not 0 <= c <= n:
        raise ValueError(
            f"pass_at_k needs c between 0 and n={n}; got {c}. Count samples, not runs."
        )
    return 1.0 - math.comb(n - c, k) / math.comb(n, k)


def mean_pass_at_k(n: int | Sequence[int], c: Sequence[int], k: int) -> float:
    """Estimate the mean probability over prompts that ``k`` samples hold a correct one.

    In [0, 1]. Prompts may have different numbers of samples, each at least ``k``: there is no
    unbiased estimate from fewer. Without prompts: NaN.

    Args:
        n: Samples drawn of each prompt; one number for all of them, or one per prompt.
        c: How many samples of each prompt are correct.
        k: Samples of the attempt.

    Raises:
        ValueError: If ``n`` and ``c`` are not equally long, or ``c`` or ``k`` do not fit ``n``.

    Source:
        Chen et al., Evaluating Large Language Models Trained on Code, arXiv:2107.03374, Eq. 1.

    >>> mean_pass_at_k(4, [0, 4, 2, 2], 1)
    0.5
    """
    each = list(n) if isinstance(n, Iterable) else [n] * len(c)
    if len(each) != len(c):
        raise ValueError(
            f"mean_pass_at_k needs n and c of the same prompts; got {len(each)} and {len(c)}. "
            f"Write one n for all, or one per prompt."
        )
    # Prompts repeat each other's counts: every pair is computed once.
    groups = Counter(zip(each, c, strict=True))
    total = sum(times * pass_at_k(int(m), int(x), k) for (m, x), times in groups.items())
    return total / len(c) if len(c) else math.nan
