"""SPL: let the entropy of the policy and its distance to the reference have coefficients apart.

A KL divergence is a cross-entropy less an entropy. DPO gives both the coefficient ``beta``; here
the entropy has ``alpha`` of its own. That is no loss of its own but a setting of DPO's.
"""

from torch import Tensor


def spl(ref_logprob: Tensor, *, alpha: float, beta: float) -> Tensor:
    r"""Let the policy's entropy have a coefficient of its own, ``alpha``, beside ``beta``.

    Returns the reference with which a loss of the DPO family, at ``alpha``, is the one of SPL.

    .. math:: L = -\log \sigma\bigl(\alpha \Delta \log \pi - \beta \Delta \log \pi_{\mathrm{ref}}
        \bigr) = -\log \sigma\Bigl(\alpha \bigl(\Delta \log \pi
        - \tfrac{\beta}{\alpha} \Delta \log \pi_{\mathrm{ref}}\bigr)\Bigr)

    with the difference :math:`\Delta` between the chosen and the rejected answer. It maximises
    :math:`E[r] + \alpha H(\pi) - \beta H(\pi, \pi_{\mathrm{ref}})`, whose optimum is that of DPO at
    the temperature :math:`\alpha / \beta` of whole answers: above 1 it keeps variety, below it
    sharpens. What is made of the implicit reward :math:`\alpha \log \pi - \beta \log
    \pi_{\mathrm{ref}}` needs nothing else, so every such loss has its SPL.

    Args:
        ref_logprob: Log-probabilities of the reference, any shape, nats.
        alpha: Coefficient of the entropy, > 0; what the loss has in place of ``beta``.
        beta: Coefficient of the cross-entropy with the reference, >= 0.

    Returns:
        Log-probabilities times ``beta / alpha``, which need no longer add up to 1; with
        ``alpha = beta`` the very same, which is DPO.

    Source:
        Slocum et al., Diverse Preference Learning for Capabilities and Alignment,
        arXiv:2511.08594, Soft Preference Learning; experiments at beta 0.1 and alpha / beta from 1
        to 11.

    >>> import torch
    >>> policy, reference = torch.tensor([-10.0, -12.0]), torch.tensor([-11.0, -11.5])
    >>> chosen, rejected = policy - spl(reference, alpha=0.2, beta=0.1)
    >>> 0.2 * (chosen - rejected)
    tensor(0.3500)
    """
    return ref_logprob if alpha == beta else ref_logprob * (beta / alpha)
