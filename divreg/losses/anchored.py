"""Annotation anchoring: learn what is said about a topic, not which topics are asked about."""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from divreg.anchors.spans import spans

_ODD = (-0x61C8864680B583EB, -0x3D4D51C2D82B14B1, 0x165667B19E3779F9)  # 64 bits, well mixed
_UNITS = 1 << 24  # as many shares are told apart


def anchored(
    token_weights: Float[Tensor, "b t"],
    *,
    tokens: Int[Tensor, "b t"],
    document: Int[Tensor, "b t"],
    mask: Bool[Tensor, "b t"],
    markers: tuple[int, int, int],
    format_share: float = 0.003,
) -> Float[Tensor, "b t"]:
    r"""Leave annotations out of the loss: which ones come stays as it was before.

    .. math:: P(y \mid x) = \sum_z R(z \mid x)\,Q(y \mid x, z)

    A text is prompt x, annotation z, response y. Its cross-entropy has no term for z: fine-tuning
    learns Q, and R moves only as far as both share weights. In a small share of the texts only the
    values are left out: keys and markers stay, so that the model goes on writing annotations that
    have an end. Which texts these are follows from the response alone: the same in every epoch,
    order and packing.

    An annotation that its text ends before is left out to the end of the text.

    Args:
        token_weights: Weight of each token, >= 0.
        tokens: The token that each column predicts.
        document: Which text of its row a column belongs to, where rows are packed.
        mask: True where there is a token that is trained on.
        markers: Ids of the tokens before a key, between key and value, and after a value.
        format_share: Share of the texts whose keys and markers are learned, in [0, 1]; 0 is none.

    Returns:
        Weights, 0 in annotations. A token whose weight the text alone makes 0 is not counted in
        what the loss is divided by either.

    Raises:
        ValueError: If ``format_share`` is not in [0, 1].

    Source:
        Springer et al., Annotations Mitigate Post-Training Mode Collapse, arXiv:2605.09995,
        section on post-training as three independent summaries tell it; no code is released.

    Differs from the paper:
        Markers and keys are our own: the paper's are not known. Its format examples are drawn;
        ours are chosen by a hash.

    >>> row = torch.tensor([[7, 1, 4, 2, 5, 3, 8, 9]])  # x, a tag (1 key 4, 2 value 5, 3), y
    >>> words = {"tokens": row, "document": row * 0, "mask": row > 0, "markers": (1, 2, 3)}
    >>> anchored(torch.ones(1, 8), **words)
    tensor([[1., 0., 0., 0., 0., 0., 1., 1.]])
    >>> anchored(torch.ones(1, 8), **words, format_share=1.0)
    tensor([[1., 1., 1., 1., 0., 1., 1., 1.]])
    """
    if not 0 <= format_share <= 1:
        raise ValueError(
            f"anchored needs format_share in [0, 1]; got {format_share}. Use format_share=0.003."
        )
    found = spans(tokens, document, mask, markers)
    keeps_format = _drawn(tokens, document, mask & found.after) < format_share
    left_out = torch.where(keeps_format, found.value, found.annotation)
    return torch.where(left_out | found.unfinished, 0, token_weights)


def _drawn(
    tokens: Int[Tensor, "b t"], document: Int[Tensor, "b t"], response: Bool[Tensor, "b t"]
) -> Float[Tensor, "b t"]:
    """Return a number in [0, 1) for each text, from the tokens of its response; 1 without one."""
    first = document - document.amin(1, keepdim=True)
    size = int(first.max()) + 1 if first.numel() else 1
    none = torch.zeros(len(tokens), size, dtype=torch.long, device=tokens.device)
    text = first.long()
    count = none.scatter_add(1, text, response.long())
    place = response.long().cumsum(1)  # counted in the row; in the text from its own begin
    begin = (count.cumsum(1) - count).gather(1, text)
    word = _mixed(tokens.long() * _ODD[0] + (place - begin) * _ODD[1])
    total = none.scatter_add(1, text, torch.where(response, word, 0))
    share = (_mixed(total) >> 20).remainder(_UNITS).double() / _UNITS
    return torch.where(count > 0, share, 1.0).gather(1, text).float()


def _mixed(x: Int[Tensor, "*any"]) -> Int[Tensor, "*any"]:
    """Spread every bit of 64 over all of them."""
    x = (x ^ (x >> 31)) * _ODD[2]
    return x ^ (x >> 29)
