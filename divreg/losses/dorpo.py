"""DORPO: odds-ratio preference optimisation whose margin is scaled by how deviant the chosen is."""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn.functional import logsigmoid

_LEAST = -1e-6  # mean log-probability above which odds are without bound


def dorpo(
    loss: Float[Tensor, ""],
    *,
    logprob: Float[Tensor, "b t"],
    mask: Bool[Tensor, "b t"],
    pair: Int[Tensor, " b"],
    chosen: Bool[Tensor, " b"],
    pair_weight: Float[Tensor, " b"],
    pair_share: Float[Tensor, " b"],
    odds: float = 0.1,
) -> Float[Tensor, ""]:
    r"""Put in place of the loss ORPO's, without a reference, weighted by deviation.

    .. math:: L = -w\,\bar{\ell}_c - \lambda \ln \sigma\!\Bigl(w \ln
        \frac{\mathrm{odds}(\bar{\ell}_c)}{\mathrm{odds}(\bar{\ell}_r)}\Bigr), \qquad
        \mathrm{odds}(\bar{\ell}) = \frac{e^{\bar{\ell}}}{1 - e^{\bar{\ell}}}

    with the mean log-probability :math:`\bar{\ell}` of the tokens of the chosen and of the rejected
    answer. The weight stands inside the sigmoid, as in the released code: a pair of weight 0 costs
    :math:`\lambda \ln 2` and teaches nothing.

    Args:
        loss: Replaced; its dtype is kept.
        logprob: Log-probability of each token, nats, with gradient.
        mask: True where an answer has a token.
        pair: Which pair a row belongs to.
        chosen: Whether a row is the chosen answer of its pair.
        pair_weight: Weight of that pair, >= 0; both of its rows have it.
        pair_share: What that pair counts in the loss.
        odds: Weight of the preference beside the likelihood of the chosen, >= 0 (lambda).

    Returns:
        Loss, nats.

    Source:
        Chung et al., Modifying Large Language Model Post-Training for Diverse Creative Writing,
        arXiv:2503.17126, DORPO; the weight's place from the released code, ``dorpo_trainer.py``.

    >>> logprob, one = torch.tensor([[-0.5], [-1.2]]), torch.ones(2)
    >>> rows = {"mask": one[:, None] > 0, "pair": torch.tensor([0, 0]), "pair_share": one}
    >>> rows |= {"chosen": torch.tensor([True, False]), "pair_weight": 2 * one}
    >>> dorpo(torch.tensor(0.0), logprob=logprob, **rows, odds=1.0)
    tensor(1.0753)
    """
    tokens = mask.sum(1).clamp(min=1)
    mean = torch.where(mask, logprob, 0).sum(1) / tokens
    bounded = mean.clamp(max=_LEAST)
    log_odds = bounded - torch.log(-torch.expm1(bounded))
    signed = torch.where(chosen, log_odds, -log_odds)
    margin = log_odds.new_zeros(int(pair.max()) + 1).index_add(0, pair, signed)[pair]
    preferred = -logsigmoid(pair_weight * margin)
    cost = pair_share * (odds * preferred - pair_weight * mean)
    return torch.where(chosen, cost, 0).sum().to(loss.dtype)
