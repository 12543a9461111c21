"""Where annotations stand among the tokens of a batch: found from the markers alone."""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Int
from torch import Tensor


class Spans(NamedTuple):
    """What each column is.

    Attributes:
        annotation: ``(b, t)``, True from a marker that opens a tag to the one that closes it, both
            included.
        value: ``(b, t)``, True for the tokens of values, without markers.
        unfinished: ``(b, t)``, True in an annotation that its text ends before.
        after: ``(b, t)``, True behind the last annotation of a text that has one.
    """

    annotation: Bool[Tensor, "b t"]
    value: Bool[Tensor, "b t"]
    unfinished: Bool[Tensor, "b t"]
    after: Bool[Tensor, "b t"]


def spans(
    tokens: Int[Tensor, "b t"],
    document: Int[Tensor, "b t"],
    mask: Bool[Tensor, "b t"],
    markers: tuple[int, int, int],
) -> Spans:
    """Find the annotations of every text.

    What a column is follows from the nearest markers before and after it in its text: so a text
    whose first token is cut off, as every row's is where tokens are predicted from those before,
    is read like a whole one. An annotation without an end goes on to the end of its text.

    Args:
        tokens: The token that each column predicts.
        document: Which text of its row a column belongs to.
        mask: True where there is a token that is trained on; markers elsewhere are not read.
        markers: Ids of the tokens before a key, between key and value, and after a value.

    >>> row = torch.tensor([[7, 1, 4, 2, 5, 3, 8]])  # a tag: 1 key 4, 2 value 5, 3
    >>> found = spans(row, torch.zeros_like(row), row > 0, (1, 2, 3))
    >>> found.annotation.long(), found.value.long()
    (tensor([[0, 1, 1, 1, 1, 1, 0]]), tensor([[0, 0, 0, 0, 1, 0, 0]]))
    """
    kind = torch.zeros_like(tokens)
    for number, marker in enumerate(markers, start=1):
        kind[(tokens == marker) & mask] = number
    before, then = _nearest(kind, document), _nearest(kind, document, ahead=True)
    begun = (before == 0) & ((then == 2) | (then == 3))  # before the first column
    is_open = (before == 1) | (before == 2)
    annotation = (kind > 0) | is_open | begun
    value = (kind == 0) & ((before == 2) | ((before == 0) & (then == 3)))
    closing = torch.where(kind == 3, kind, 0)
    ends_later = _nearest(closing, document, ahead=True) > 0
    closed = _nearest(closing, document) > 0
    after = closed & ~ends_later & ~annotation
    return Spans(annotation, value, is_open & ~ends_later, after)


def _nearest(
    kind: Int[Tensor, "b t"], document: Int[Tensor, "b t"], *, ahead: bool = False
) -> Int[Tensor, "b t"]:
    """Return the kind of the nearest marker of a text up to a column, or from it on; 0 for none."""
    if ahead:
        return _nearest(kind.flip(1), document.flip(1)).flip(1)
    place = torch.arange(kind.shape[1], device=kind.device).expand(kind.shape)
    last = torch.where(kind > 0, place, -1).cummax(1).values
    found = last.clamp(min=0)
    same = (last >= 0) & (document.gather(1, found) == document)
    return torch.where(same, kind.gather(1, found), 0)
