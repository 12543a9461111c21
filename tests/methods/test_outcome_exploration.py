import pytest
import torch

from divreg.methods import (
    outcome_exploration,
    outcome_exploration_batch,
    outcome_exploration_mean,
)

HALF = torch.tensor([True, True, False, False])
NORMALISED = torch.tensor([0.865875, 0.865875, -0.865875, -0.865875])
ASKED = {"prompt_id": "x", "answer": ["a", "a", "b", "c"]}
SEEN = {"counts": {"x": {"a": 15, "b": 3}}}  # with this batch: a 17 times, b 4, c once


def close(a, b):
    torch.testing.assert_close(a, torch.tensor(b), atol=2e-6, rtol=0)


def bonus(method, state=SEEN, **asked):
    asked = {"correct": HALF, **ASKED, **asked}
    return method.update(torch.zeros(len(asked["answer"])), state, **asked)[0]


def test_often_seen_answers_lose_and_new_ones_win():
    method = outcome_exploration()
    advantages, state = method.update(NORMALISED, SEEN, correct=HALF, **ASKED)
    close(advantages, [0.814383, 0.814383, -0.865875, -0.765875])
    assert state == {"counts": {"x": {"a": 17, "b": 4, "c": 1}}}
    close(bonus(outcome_exploration(c=1.0)), [-0.257464, -0.257464, 0.0, 0.5])


def test_without_b0_it_is_plain_ucb():
    close(bonus(outcome_exploration(c=1.0, b0=0.0)), [0.242536, 0.242536, 0.5, 1.0])


def test_the_bonus_falls_with_the_root_of_the_count():
    seen = {"counts": {"x": dict(zip("abcd", [0, 3, 15, 99], strict=True))}}
    wrong = torch.zeros(4, dtype=torch.bool)
    result = bonus(
        outcome_exploration(c=1.0, b0=0.0), seen, answer=["a", "b", "c", "d"], correct=wrong
    )
    close(result, [1.0, 0.5, 0.25, 0.1])


def test_the_mean_variant_compares_with_the_others_in_the_group():
    expected = [-0.338310, -0.338310, 0.004976, 0.671643]
    close(bonus(outcome_exploration_mean(c=1.0)), expected)
    advantages, _ = outcome_exploration_mean().update(NORMALISED, SEEN, correct=HALF, **ASKED)
    close(advantages, [0.798214, 0.798214, -0.864880, -0.731547])


def test_the_batch_variant_takes_for_every_repetition_in_the_group():
    result = outcome_exploration_batch(NORMALISED, answer=ASKED["answer"], correct=HALF)
    close(result, [0.815875, 0.815875, -0.865875, -0.865875])


@pytest.mark.parametrize("method", [outcome_exploration(), outcome_exploration_mean()])
def test_an_all_correct_group_gets_nothing_and_is_counted(method):
    right = torch.ones(4, dtype=torch.bool)
    advantages, state = method.update(torch.zeros(4), method.init(), correct=right, **ASKED)
    close(advantages, [0.0] * 4)
    assert state == {"counts": {"x": {"a": 2, "b": 1, "c": 1}}}


def test_a_completion_without_an_answer_gets_nothing_and_is_not_counted():
    method = outcome_exploration(c=1.0)
    asked = {"prompt_id": "x", "answer": [None, None, "b"], "correct": HALF[1:]}
    advantages, state = method.update(torch.zeros(3), method.init(), **asked)
    close(advantages, [0.0, 0.0, 0.5])
    assert state == {"counts": {"x": {"b": 1}}}


def test_the_only_answer_of_a_group_has_nothing_to_be_rarer_than():
    asked = {"answer": [None, None, None, "b"]}
    close(bonus(outcome_exploration_mean(c=1.0), **asked), [0.0] * 4)


def test_two_groups_of_one_prompt_see_the_same_counts():
    method = outcome_exploration(c=1.0, b0=0.0)
    advantages, _ = method.update(
        torch.zeros(2, 2),
        method.init(),
        answer=[["a", "b"], ["c", "a"]],
        correct=torch.zeros(2, 2, dtype=torch.bool),
        prompt_id=["x", "x"],
    )
    close(advantages, [[2**-0.5, 1.0], [1.0, 2**-0.5]])
