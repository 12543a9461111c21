"""ProGRPO: raise what the policy was unsure of, lower what it was sure of."""

import math

import torch
from jaxtyping import Bool, Float
from torch import Tensor


def progrpo(
    advantages: Float[Tensor, "*p g"],
    *,
    correct: Bool[Tensor, "*p g"],
    logprob: Float[Tensor, "*p g t"],
    mask: Bool[Tensor, "*p g t"],
    prompt_logprob: Float[Tensor, "*p g s"],
    prompt_mask: Bool[Tensor, "*p g s"],
    alpha: float = 0.3,
    low: float = 0.2,
    prompt_low: float = 1.0,
    on_wrong: float = 1.0,
    on_all_correct: float = 1.0,
) -> Float[Tensor, "*p g"]:
    r"""Add to each advantage how much surer the policy was of the prompt than of the completion.

    .. math::
        \tilde A_i = A_i + \alpha\,(c(q) - c(o_i)), \qquad
        c(o) = \exp \frac{1}{|T_{low}|} \sum_{t \in T_{low}} \log p(o_t)

    where the group has a correct completion, else :math:`A_i`. :math:`T_{low}` are the ``low``
    least probable tokens of the completion, rounded up to a whole token. Both confidences lie in
    (0, 1], so no advantage moves by more than ``alpha``. What steers is :math:`-\alpha c(o_i)`: the
    prompt's term is the same for the whole group, a baseline.

    Args:
        advantages: Normalised advantage of each completion, dimensionless.
        correct: Whether each completion is correct.
        logprob: Log-probability of each completion token under the sampling policy, nats.
        mask: True where a completion has a token.
        prompt_logprob: Log-probability of each prompt token under the sampling policy, nats.
        prompt_mask: True where ``prompt_logprob`` counts.
        alpha: Largest change of an advantage; 0 is off.
        low: Share of a completion's tokens that make its confidence, in (0, 1]; 1 is all of them.
        prompt_low: The same for the prompt; 1 reads c(q) as the inverse of its perplexity.
        on_wrong: Share of the change that wrong completions get; 1 is the formula, 0 the
            abstract's "across all correct responses".
        on_all_correct: Share of the change in groups without a wrong completion; 1 is the formula.

    Returns:
        Advantages, dimensionless.

    Source:
        Li et al., ProGRPO (ARM), arXiv:2602.05281. No code is released; the formula is that of two
        independent reviews of the paper, which agree.

    Differs from the paper:
        ``alpha`` is ours: the paper's value was not found.
        "No correct completion" is counted; a sum of rewards of zero would misread signed rewards.

    >>> one = torch.ones(2, 1, dtype=torch.bool)
    >>> sure, unsure = torch.tensor([[1.0], [0.25]]).log(), torch.tensor([[0.5], [0.5]]).log()
    >>> zero, right = torch.zeros(2), torch.tensor([True, True])
    >>> words = {"mask": one, "prompt_logprob": unsure, "prompt_mask": one}
    >>> progrpo(zero, correct=right, logprob=sure, **words, alpha=1.0)
    tensor([-0.5000,  0.2500])
    """
    of_prompt = _confidence(prompt_logprob, prompt_mask, prompt_low)
    change = alpha * (of_prompt - _confidence(logprob, mask, low))
    change = torch.where(correct, change, on_wrong * change)
    change = torch.where(correct.all(dim=-1, keepdim=True), on_all_correct * change, change)
    solved = correct.any(dim=-1, keepdim=True)
    return torch.where(solved, advantages + change.to(advantages.dtype), advantages)


def _confidence(
    logprob: Float[Tensor, "*n t"], mask: Bool[Tensor, "*n t"], share: float
) -> Float[Tensor, "*n"]:
    """Geometric mean of the ``share`` least probable tokens; 1 where there is no token."""
    tokens = mask.sum(dim=-1, keepdim=True)
    # A hair below, so that 0.2 of 15 tokens is 3 however 0.2 is rounded.
    kept = (tokens * (share * (1 - 1e-6))).ceil().clamp(min=1).minimum(tokens)
    ascending = logprob.masked_fill(~mask, math.inf).sort(dim=-1).values
    is_low = torch.arange(logprob.shape[-1], device=logprob.device) < kept
    total = ascending.masked_fill(~is_low, 0).sum(dim=-1)
    return (total / kept.squeeze(-1).clamp(min=1)).exp()
