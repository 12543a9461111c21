"""Unlikelihood: push down the tokens that a text has said before."""

from collections.abc import Callable

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

_LEAST = 1e-5  # probability of "something else" below which there is no gradient (released code)


def unlikelihood(
    loss: Float[Tensor, ""],
    *,
    over_logits: Callable[..., Tensor],
    tokens: Int[Tensor, "b t"],
    document: Int[Tensor, "b t"],
    mask: Bool[Tensor, "b t"],
    token_share: Float[Tensor, "b t"],
    strength: float = 1.0,
) -> Float[Tensor, ""]:
    r"""Let each token that a text has had already cost what it would take to repeat it.

    .. math:: L' = L - \alpha \sum_{c \in C_t} \ln(1 - p_c)

    The candidates :math:`C_t` are the tokens before :math:`t` that were trained on, each once, the
    target left out. Against repetition within a text, which is not sameness between texts. It needs
    every logit, a few rows at a time: a second product of hidden states and head.

    Args:
        loss: The cross-entropy, or what stands in its place.
        over_logits: Applies a function to the logits of every token, with gradient.
        tokens: The token that each column predicts.
        document: Which text of its row a column belongs to, where rows are packed.
        mask: True where there is a token that is trained on.
        token_share: What each token counts in the loss, 0 where there is none.
        strength: Loss per nat; 0 is off.

    Returns:
        Loss, in the unit of ``loss``.

    Source:
        Welleck et al., Neural Text Generation with Unlikelihood Training, arXiv:1908.04319,
        the token-level objective; released code, commit 9444655.

    >>> logits = torch.tensor([[2.0, 1.0, 0.0, -1.0]]).expand(3, 4)
    >>> said = {"tokens": torch.tensor([[0, 2, 1]]), "document": torch.zeros(1, 3, dtype=torch.int)}
    >>> words = {"mask": torch.ones(1, 3) > 0, "token_share": torch.tensor([[0.0, 0.0, 1.0]])}
    >>> def over_logits(f, *columns):
    ...     return f(logits, *(c[0] for c in columns))[None]
    >>> unlikelihood(torch.tensor(1.4402), over_logits=over_logits, **said, **words)
    tensor(2.5640)
    """
    first = _first_of_its_kind(tokens, document, mask)
    places = torch.arange(tokens.shape[1], device=tokens.device).expand(tokens.shape)
    rows = torch.arange(len(tokens), device=tokens.device)[:, None].expand(tokens.shape)

    def penalty(logits: Tensor, row: Tensor, place: Tensor) -> Tensor:
        said, here = tokens[row], place[:, None]
        candidate = first[row] & (places[0] < here)
        candidate &= said != said.gather(1, here)
        candidate &= document[row] == document[row].gather(1, here)
        other = 1 - logits.softmax(-1).gather(1, said)
        return -torch.where(candidate, other.clamp(min=_LEAST).log(), 0).sum(-1)

    return loss + strength * (over_logits(penalty, rows, places) * token_share).sum().to(loss.dtype)


def _first_of_its_kind(
    tokens: Int[Tensor, "b t"], document: Int[Tensor, "b t"], mask: Bool[Tensor, "b t"]
) -> Bool[Tensor, "b t"]:
    """Return where a token that is trained on stands for the first time in its text."""
    kinds = 1 + tokens.max()
    kind = torch.where(mask, document.long() * kinds + tokens, -1)
    ordered, order = kind.sort(dim=1, stable=True)
    new = torch.ones_like(mask)
    new[:, 1:] = ordered[:, 1:] != ordered[:, :-1]
    return torch.zeros_like(mask).scatter(1, order, new) & mask
