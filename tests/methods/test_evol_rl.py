import pytest
import torch

from divreg.methods import evol_rl, evol_rl_correct
from divreg.signals import similarity

SIX = [[1, 0, 0], [0.8, 0.6, 0], [0.6, 0.8, 0], [0, 0, 1], [0, 0.6, 0.8], [1, 1, 1]]
FOUR = [[1, 0], [0.8, 0.6], [0, 1], [0.6, 0.8]]
TWINS = [[1, 0], [1, 0], [0, 1], [0.6, 0.8]]


def scores(answer, vectors):
    alike = similarity(embedding=torch.tensor(vectors, dtype=torch.float64))
    return evol_rl(torch.zeros(len(answer), dtype=torch.float64), answer=answer, similarity=alike)


def close(a, b):
    torch.testing.assert_close(a, torch.tensor(b, dtype=a.dtype), atol=2e-6, rtol=0)


@pytest.mark.parametrize(
    ("answer", "vectors", "expected"),
    [
        (["a", "a", "a", "b", "c", "d"], SIX, [1.0, 0.5, 0.647059, -0.5, -1.0, -0.550240]),
        (["a", "a", "a", "a"], FOUR, [1.0, 0.5, 1.0, 0.5]),
        (["a", "a", "b", None], FOUR, [0.75, 0.75, -0.5, -1.0]),
        (["a", None, None, None], FOUR, [-1.0] * 4),
        (["a", "a", "b", "b"], TWINS, [0.75, 0.75, -0.75, -0.75]),
    ],
    ids=["two sides", "agreement", "no answer", "no vote", "equals"],
)
def test_the_majority_earns_more_and_the_novel_most(answer, vectors, expected):
    close(scores(answer, vectors), expected)


def test_labels_take_the_place_of_the_vote():
    right = torch.tensor([True, False, False, False])
    alike = similarity(embedding=torch.tensor(FOUR))
    earned = evol_rl_correct(
        torch.zeros(4), correct=right, answer=["a", "b", "b", "b"], similarity=alike
    )
    close(earned, [1.0, -0.852941, -0.5, -1.0])


def test_a_right_answer_that_is_none_is_no_answer():
    alike, right = similarity(embedding=torch.tensor(FOUR)), torch.ones(4, dtype=torch.bool)
    words = {"answer": [None, "a", "a", "a"], "similarity": alike}
    assert evol_rl_correct(torch.zeros(4), correct=right, **words)[0] == -1


def test_with_labels_nobody_votes():
    right, alike = torch.tensor([True, False]), torch.eye(2)
    words = {"correct": right, "similarity": alike}
    close(evol_rl_correct(torch.zeros(2), answer=["a", None], **words), [1.0, -1.0])
    close(evol_rl_correct(torch.zeros(2), answer=["a", "b"], **words), [1.0, -0.5])
    close(evol_rl_correct(torch.zeros(2), answer=["a", "a"], **words), [1.0, -0.5])
