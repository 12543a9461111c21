"""Probability that at least one of k samples is correct."""

import math


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
