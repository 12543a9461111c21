import math

import pytest
import torch

from divreg.losses import group_unlikelihood, sequence_unlikelihood


def words(rows, p, **more):
    """Rows of tokens, all with probability ``p``, each token worth one over all of them."""
    tokens = torch.tensor(rows)
    logprob = torch.full(tokens.shape, p, dtype=torch.float64).log().requires_grad_()
    share = torch.full(tokens.shape, 1 / tokens.numel(), dtype=torch.float64)
    mask = more.pop("mask", torch.ones_like(tokens) > 0)
    return {"logprob": logprob, "tokens": tokens, "mask": mask, "token_share": share, **more}


CE = torch.tensor(2.0, dtype=torch.float64)
WROTE, DATA = torch.tensor([True]), torch.tensor([False])


def test_every_token_of_a_later_occurrence_pays_for_the_repeat():
    """1 2 3 | 9 | 1 2 3: the second trigram's three tokens, of seven, at p = 0.75."""
    given = words([[1, 2, 3, 9, 1, 2, 3]], 0.75, generated=WROTE)
    value = sequence_unlikelihood(CE, **given, ngram=3)
    assert value.item() == pytest.approx(3 / 7 * math.log(4))
    (slope,) = torch.autograd.grad(value, given["logprob"])
    # d -ln(1 - p) / d ln p = p / (1 - p) = 3
    assert slope[0].tolist() == pytest.approx([0, 0, 0, 0, 3 / 7, 3 / 7, 3 / 7])


def test_overlapping_repeats_count_each_token_once():
    value = sequence_unlikelihood(CE, **words([[1, 1, 1, 1]], 0.5, generated=WROTE), ngram=2)
    assert value.item() == pytest.approx(3 / 4 * math.log(2))  # "1 1" again at places 2 and 3


def test_texts_of_the_data_and_those_without_repeats():
    data = words([[1, 1, 1, 1]], 0.5, generated=DATA)
    assert sequence_unlikelihood(CE, **data, ngram=2) is CE
    short = words([[1, 1, 1]], 0.5, generated=WROTE)
    assert sequence_unlikelihood(CE, **short).item() == 0.0
    padded = words([[1, 2, 1, 2]], 0.5, generated=WROTE)
    padded["mask"] = torch.tensor([[True, True, True, False]])
    assert sequence_unlikelihood(CE, **padded, ngram=2).item() == 0.0


def test_what_samples_of_one_prompt_share_is_pushed_down():
    """Prompt 0: 1 2 3 and 4 1 2 share "1 2"; prompt 1 has it once and is left alone."""
    rows = [[1, 2, 3], [4, 1, 2], [1, 2, 5], [6, 6, 6]]
    given = words(rows, 0.5, continues=torch.tensor([0, 0, 1, 1]))
    value = group_unlikelihood(CE, **given, ngram=2)
    assert value.item() == pytest.approx(4 / 12 * math.log(2))
    (slope,) = torch.autograd.grad(value, given["logprob"])
    assert (slope != 0).tolist() == [
        [True, True, False], [False, True, True], [False] * 3, [False] * 3,
    ]  # fmt: skip
    data = words(rows, 0.5, continues=torch.full((4,), -1))
    assert group_unlikelihood(CE, **data, ngram=2) is CE


@pytest.mark.parametrize("loss", [sequence_unlikelihood, group_unlikelihood])
def test_no_ngram_is_refused(loss):
    given = words([[1, 2]], 0.5)
    more = {"generated": WROTE} if loss is sequence_unlikelihood else {"continues": WROTE.long()}
    with pytest.raises(ValueError, match="needs ngram >= 1; got 0"):
        loss(CE, **given, **more, ngram=0)
