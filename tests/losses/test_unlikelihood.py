import torch

from divreg.losses import unlikelihood

VALUE, GRADIENT = 2.563951, [1.226358, -1.214089, 0.016704, -0.028974]


def test_tokens_that_were_said_before_are_pushed_down(said, exactly):
    value, gradient = said(unlikelihood, [[0, 2, 1]])
    assert value == exactly(VALUE)
    assert gradient == exactly(GRADIENT)


def test_a_candidate_counts_once_and_the_target_never(said, exactly):
    assert said(unlikelihood, [[0, 2, 0, 1, 2, 1]])[0] == exactly(VALUE)


def test_neither_other_texts_nor_what_is_not_trained_on_are_candidates(said, exactly):
    packed = torch.tensor([[0, 1, 1, 1]])
    assert said(unlikelihood, [[3, 0, 2, 1]], document=packed)[0] == exactly(VALUE)
    mask = torch.tensor([[False, True, True, True]])
    assert said(unlikelihood, [[3, 0, 2, 1]], mask=mask)[0] == exactly(VALUE)
    assert said(unlikelihood, [[0, 2, 1], [3, 3, 3]])[0] == exactly(VALUE)


def test_the_first_token_has_none(said, exactly):
    assert said(unlikelihood, [[1]])[0] == exactly(1.440190)
