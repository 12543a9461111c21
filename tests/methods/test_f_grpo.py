import pytest
import torch

from divreg.methods import f_grpo

A = torch.tensor([0.5, 0.5, 0.5, -1.5])
THREE_OF_FOUR = torch.tensor([True, True, True, False])


@pytest.mark.parametrize(("gamma", "factor"), [(0.0, 1.0), (0.5, 0.5), (1.0, 0.25), (2.0, 0.0625)])
def test_a_group_fades_with_the_share_that_is_right(gamma, factor):
    torch.testing.assert_close(f_grpo(A, correct=THREE_OF_FOUR, gamma=gamma), factor * A)


def test_an_unsolved_group_stays_and_a_solved_one_goes():
    solved = torch.tensor([[False] * 4, [True] * 4])
    kept, gone = f_grpo(A.repeat(2, 1), correct=solved)
    assert torch.equal(kept, A)
    assert (gone == 0).all()


def test_a_negative_power_is_refused():
    with pytest.raises(ValueError, match="needs gamma >= 0; got -1"):
        f_grpo(A, correct=THREE_OF_FOUR, gamma=-1.0)
