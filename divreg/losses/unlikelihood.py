"""Unlikelihood: push down what was said before, in a text, by the model itself, by its siblings."""

from collections.abc import Callable

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

# Probability of "something else" below which there is no gradient, in texts of the data and in
# those that the model wrote (released code).
_LEAST, _LEAST_WRITTEN = 1e-5, 1e-20


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
    kinds = 1 + tokens.max()
    first = _first_of_its_kind(document.long() * kinds + tokens, mask)
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


def sequence_unlikelihood(
    loss: Float[Tensor, ""],
    *,
    logprob: Float[Tensor, "b t"],
    tokens: Int[Tensor, "b t"],
    mask: Bool[Tensor, "b t"],
    token_share: Float[Tensor, "b t"],
    generated: Bool[Tensor, " b"],
    ngram: int = 4,
) -> Float[Tensor, ""]:
    r"""Push down the n-grams that the model's own continuation of a text repeats.

    .. math:: L = -\sum_{t \in R} \ln(1 - p_t)

    :math:`R` are the tokens of every n-gram that the continuation has had before. It takes the
    place of the loss in the micro-batches that the model wrote itself, and leaves those of the data
    as they are. The trainer writes them for a share of all optimizer steps, from the beginnings of
    the texts in the data: ``signals={"generated": {"share": 0.5, "prefix": 50, "tokens": 100}}``.

    Args:
        loss: The cross-entropy, or what stands in its place.
        logprob: Log-probability of each token, nats, with gradient.
        tokens: The token that each column predicts.
        mask: True where there is a token that is trained on.
        token_share: What each token counts in the loss, 0 where there is none.
        generated: True for rows that the model wrote: all of a micro-batch, or none.
        ngram: Tokens of what may not come again, >= 1.

    Returns:
        Loss, nats.

    Raises:
        ValueError: If ``ngram`` is below 1.

    Source:
        Welleck et al., Neural Text Generation with Unlikelihood Training, arXiv:1908.04319,
        the sequence-level objective; released code, commit 9444655,
        ``custom/sequence_penalty_loss.py``.

    Differs from the released code:
        The last n-gram of a continuation counts as well.

    >>> said = {"tokens": torch.tensor([[5, 6, 5, 6, 7]]), "mask": torch.ones(1, 5) > 0}
    >>> words = {"token_share": torch.full((1, 5), 0.2), "generated": torch.tensor([True])}
    >>> half = torch.full((1, 5), 0.5).log()
    >>> sequence_unlikelihood(torch.tensor(9.0), logprob=half, **said, **words, ngram=2)
    tensor(0.2773)
    """
    _check("sequence_unlikelihood", ngram)
    name, inside = _ngrams(tokens, mask, ngram)
    again = _spread(inside & ~_first_of_its_kind(name, inside), ngram, tokens.shape[1])
    return _in_place(loss, again, logprob, token_share, generated)


def group_unlikelihood(
    loss: Float[Tensor, ""],
    *,
    logprob: Float[Tensor, "b t"],
    tokens: Int[Tensor, "b t"],
    mask: Bool[Tensor, "b t"],
    token_share: Float[Tensor, "b t"],
    continues: Int[Tensor, " b"],
    ngram: int = 4,
) -> Float[Tensor, ""]:
    r"""Push down the n-grams that several of the model's samples of one prompt have in common.

    .. math:: L = -\sum_{t \in S} \ln(1 - p_t)

    :math:`S` are the tokens of every n-gram that another sample of the same prompt has as well. As
    :func:`sequence_unlikelihood`, against sameness between texts in the place of repeats within
    one; what a right answer cannot do without is pushed down with the rest, and only the steps on
    data hold it. ``signals={"generated": {"samples": 4, "share": 0.5, "tokens": 100}}``.

    Args:
        loss: The cross-entropy, or what stands in its place.
        logprob: Log-probability of each token, nats, with gradient.
        tokens: The token that each column predicts.
        mask: True where there is a token that is trained on.
        token_share: What each token counts in the loss, 0 where there is none.
        continues: Which prompt a row that the model wrote continues; -1 for all rows of data.
        ngram: Tokens of what no other sample may have, >= 1.

    Returns:
        Loss, nats.

    Raises:
        ValueError: If ``ngram`` is below 1.

    Source:
        An extension of ours to Welleck et al., Neural Text Generation with Unlikelihood Training,
        arXiv:1908.04319: the candidates come from the other samples of a group. Published by
        nobody.

    >>> said = {"tokens": torch.tensor([[5, 6], [5, 7]]), "mask": torch.ones(2, 2) > 0}
    >>> words = {"token_share": torch.full((2, 2), 0.25), "continues": torch.tensor([0, 0])}
    >>> half = torch.full((2, 2), 0.5).log()
    >>> group_unlikelihood(torch.tensor(9.0), logprob=half, **said, **words, ngram=1)
    tensor(0.3466)
    """
    _check("group_unlikelihood", ngram)
    name, inside = _ngrams(tokens, mask, ngram)
    owner = continues[:, None].expand(name.shape)
    names = 1 + int(name.max()) if name.numel() else 1
    key = owner * names + name
    # Rows that have it: each counts once, whatever it repeats within itself.
    once = _first_of_its_kind(name, inside) & (owner >= 0)
    rows = torch.zeros(max(1, int(key.max()) + 1) if key.numel() else 1, device=tokens.device)
    rows.index_add_(0, key[once], torch.ones_like(key[once], dtype=rows.dtype))
    shared = inside & (owner >= 0)
    shared &= rows[key.clamp(min=0)] > 1
    return _in_place(
        loss, _spread(shared, ngram, tokens.shape[1]), logprob, token_share, continues >= 0
    )


def _ngrams(
    tokens: Int[Tensor, "b t"], mask: Bool[Tensor, "b t"], n: int
) -> tuple[Int[Tensor, "b w"], Bool[Tensor, "b w"]]:
    """Number the n-grams of all rows, equal ones alike, and say which are whole."""
    if tokens.shape[1] < n:
        return tokens[:, :0], mask[:, :0]
    windows = tokens.unfold(1, n, 1)
    _, name = windows.reshape(-1, n).unique(dim=0, return_inverse=True)
    return name.view(windows.shape[:2]), mask.unfold(1, n, 1).all(-1)


def _spread(windows: Bool[Tensor, "b w"], n: int, t: int) -> Bool[Tensor, "b t"]:
    """Return the tokens ``(b, t)`` that belong to any of the n-grams."""
    found = torch.zeros(len(windows), t, dtype=torch.bool, device=windows.device)
    for j in range(n if windows.shape[1] else 0):
        found[:, j : j + windows.shape[1]] |= windows
    return found


def _in_place(
    loss: Float[Tensor, ""],
    pushed: Bool[Tensor, "b t"],
    logprob: Float[Tensor, "b t"],
    token_share: Float[Tensor, "b t"],
    generated: Bool[Tensor, " b"],
) -> Float[Tensor, ""]:
    if not bool(generated.any()):
        return loss
    # Where nothing is pushed, the probability may be 1, whose logarithm has no slope.
    known = torch.where(pushed, logprob, -1.0)
    penalty = -(-known.expm1()).clamp(min=_LEAST_WRITTEN).log()
    return (torch.where(pushed, penalty, 0.0) * token_share).sum().to(loss.dtype)


def _check(who: str, ngram: int) -> None:
    if ngram < 1:
        raise ValueError(f"{who} needs ngram >= 1; got {ngram}. Use ngram=4.")


def _first_of_its_kind(kind: Int[Tensor, "b t"], mask: Bool[Tensor, "b t"]) -> Bool[Tensor, "b t"]:
    """Return where a kind stands for the first time in its row, of the columns that count."""
    ordered, order = torch.where(mask, kind, -1).sort(dim=1, stable=True)
    new = torch.ones_like(mask)
    new[:, 1:] = ordered[:, 1:] != ordered[:, :-1]
    return torch.zeros_like(mask).scatter(1, order, new) & mask
