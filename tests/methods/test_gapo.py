import pytest
import torch

from divreg.methods import gapo

SAID = torch.tensor([0, 0, 1, 2])  # a planet twice, another one, and something that is none
VALID = torch.tensor([True, True, True, False])


@pytest.mark.parametrize(
    ("outcomes", "expected"),
    [
        (2, [5 / 6, 5 / 6, 5 / 6, -1]),  # both are a sixth away from one half
        (3, [2 / 3, 2 / 3, 1, -1]),
        (8, [1 - 2 / 3 + 1 / 8, 1 - 2 / 3 + 1 / 8, 1 - 1 / 3 + 1 / 8, -1]),
    ],
)
def test_nearer_to_a_fair_draw_earns_more(outcomes, expected):
    earned = gapo(torch.zeros(4), partition=SAID, correct=VALID, outcomes=outcomes)
    torch.testing.assert_close(earned, torch.tensor(expected))


def test_what_is_not_valid_makes_no_frequency():
    earned = gapo(torch.zeros(3), partition=torch.zeros(3).long(), correct=VALID[1:], outcomes=2)
    torch.testing.assert_close(earned, torch.tensor([0.5, 0.5, -1.0]))
    assert (gapo(torch.zeros(2), partition=SAID[:2], correct=~VALID[:2]) == -1).all()


def test_no_outcomes_are_refused():
    with pytest.raises(ValueError, match="at least one valid outcome; got outcomes=0"):
        gapo(torch.zeros(4), partition=SAID, correct=VALID, outcomes=0)
