import pytest
import torch

from divreg.methods import uniqueness

NORMALISED = torch.tensor([0.5, 0.5, 0.5, -1.5])  # three right, one wrong
CLASSES = torch.tensor([0, 0, 1, 2])


@pytest.mark.parametrize(
    ("alpha", "expected"),
    [(0.5, [0.353553, 0.353553, 0.5, -1.5]), (1.0, [0.25, 0.25, 0.5, -1.5])],
)
def test_two_that_say_the_same_share_their_advantage(alpha, expected):
    weighed = uniqueness(NORMALISED, partition=CLASSES, alpha=alpha)
    torch.testing.assert_close(weighed, torch.tensor(expected), atol=1e-6, rtol=0)


def test_a_common_wrong_answer_is_punished_less():
    weighed = uniqueness(-torch.ones(3), partition=torch.tensor([0, 0, 1]), alpha=1.0)
    torch.testing.assert_close(weighed, torch.tensor([-0.5, -0.5, -1.0]))
