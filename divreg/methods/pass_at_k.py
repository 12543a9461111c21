"""Pass@k training: advantages of groups of k, computed from how many of the group are correct."""

from math import comb, sqrt

import torch
from jaxtyping import Bool, Float
from torch import Tensor

_EPSILON = 1e-6  # beside the standard deviation, as in the released code


def pass_at_k(
    advantages: Float[Tensor, "*p g"],
    *,
    correct: Bool[Tensor, "*p g"],
    k: int = 4,
) -> Float[Tensor, "*p g"]:
    r"""Put in place of each advantage the one that maximises pass@k instead of pass@1.

    .. math::
        \rho = 1 - \frac{\binom{g-c}{k}}{\binom{g}{k}}, \quad
        \sigma = \sqrt{\rho (1 - \rho)}, \quad
        A_+ = \frac{1 - \rho}{\sigma}, \quad
        A_- = \frac{1 - \rho - \binom{g-c-1}{k-1} / \binom{g-1}{k-1}}{\sigma}

    with c the correct completions of the group: the mean over all subsets of size k of the
    advantage of a subset that earns 1 if any of it is correct. Once more than g - k are correct
    there is no gradient left: what is solved is not sharpened. Rewards that are not 0 or 1 are
    read as whether they are correct.

    Args:
        advantages: Replaced; their shape and dtype are kept.
        correct: Whether each completion is correct.
        k: Size of the subsets, at least 1; 1 is GRPO with the population's standard deviation.

    Returns:
        Advantages, dimensionless; their mean over the group is 0.

    Raises:
        ValueError: If groups are smaller than k, or k is below 1.

    Source:
        Chen et al., Pass@k Training, arXiv:2508.10751; released code, commit c3ba575.

    >>> half = torch.tensor([True, True, False, False])
    >>> pass_at_k(torch.zeros(4), correct=half, k=2)
    tensor([ 0.4472,  0.4472, -0.4472, -0.4472])
    """
    g = advantages.shape[-1]
    if not 1 <= k <= g:
        raise ValueError(
            f"pass_at_k needs 1 <= k <= the group's size; got k={k} and groups of {g}. "
            f"Use k={max(1, g // 2)}, or set num_generations={max(2 * k, 2)}."
        )
    by_count = torch.tensor([_advantages(c, g, k) for c in range(g + 1)])
    of_group = by_count.to(advantages)[correct.sum(dim=-1)]
    right, wrong = of_group.unsqueeze(-2).unbind(dim=-1)
    return torch.where(correct, right, wrong)


def _advantages(c: int, g: int, k: int) -> tuple[float, float]:
    """Return the advantages of a right and of a wrong completion where c of g are right."""
    if c == 0:
        return 0.0, 0.0
    fails = comb(g - c, k) / comb(g, k)  # the share of subsets without a right completion
    # The same among the subsets that hold one given wrong completion.
    others_fail = comb(g - c - 1, k - 1) / comb(g - 1, k - 1) if c < g else 0.0
    scale = sqrt(fails * (1 - fails)) + _EPSILON
    return fails / scale, (fails - others_fail) / scale
