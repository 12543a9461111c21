import functools

import pytest
import torch

from divreg.methods import progrpo

LOGPROB = torch.tensor(
    [
        [-0.05, -0.10, -0.02, -2.00, -0.30],
        [-0.01, -0.02, -0.03, -0.50, -0.04],
        [-1.0, -0.2, -0.1, -0.1, -0.05],
        [-0.3, -0.3, -0.3, -0.3, -0.3],
    ]
)
PROMPT = torch.tensor([-3.0, -1.2, -0.8, -0.5, -2.2, -0.1, -0.4, -0.9, -1.5, -0.2]).repeat(4, 1)
HALF = torch.tensor([True, True, False, False])
NORMALISED = torch.tensor([0.865875, 0.865875, -0.865875, -0.865875])

arm = functools.partial(
    progrpo,
    logprob=LOGPROB,
    mask=torch.ones(4, 5, dtype=torch.bool),
    prompt_logprob=PROMPT,
    prompt_mask=torch.ones(4, 10, dtype=torch.bool),
)


def close(a, b):
    torch.testing.assert_close(a, torch.tensor(b), atol=2e-6, rtol=0)


def test_the_sure_lose_and_the_unsure_win():
    expected = [0.927154, 0.785795, -0.874361, -0.986242]
    close(arm(NORMALISED, correct=HALF), expected)


def test_the_prompts_confidence_may_be_that_of_its_least_probable_tokens():
    expected = [0.847557, 0.706198, -0.953957, -1.065839]
    close(arm(NORMALISED, correct=HALF, prompt_low=0.2), expected)


def test_an_all_correct_group_is_still_ordered_unless_switched_off():
    expected = [0.061278, -0.080081, -0.008485, -0.120367]
    right = torch.ones(4, dtype=torch.bool)
    close(arm(torch.zeros(4), correct=right), expected)
    close(arm(torch.zeros(4), correct=right, on_all_correct=0.0), [0.0] * 4)


def test_a_group_without_a_correct_answer_is_left_alone():
    close(arm(torch.zeros(4), correct=torch.zeros(4, dtype=torch.bool)), [0.0] * 4)


def test_wrong_completions_can_be_spared():
    changed = arm(NORMALISED, correct=HALF, on_wrong=0.0)
    close(changed, [0.927154, 0.785795, -0.865875, -0.865875])


@pytest.mark.parametrize(("low", "confidence"), [(0.2, 0.332871), (1.0, 0.788991)])
def test_a_fifth_of_ten_tokens_are_the_two_least_probable(low, confidence):
    lp = torch.tensor([[-0.01, -0.02, -1.5, -0.03, -0.01, -0.7, -0.02, -0.05, -0.01, -0.02]])
    valid = torch.ones(1, 10, dtype=torch.bool)
    nothing = {"prompt_logprob": torch.zeros(1, 1), "prompt_mask": torch.ones(1, 1).bool()}
    right = torch.tensor([True])
    change = progrpo(
        torch.zeros(1), correct=right, logprob=lp, mask=valid, **nothing, alpha=1.0, low=low
    )
    close(1 - change, [confidence])


@pytest.mark.parametrize("tokens", [5, 15, 35, 5000])
def test_a_fifth_is_a_whole_number_of_tokens_where_it_should_be(tokens):
    lp = torch.zeros(1, tokens)
    lp[0, : tokens // 5] = -1.0
    change = progrpo(
        torch.zeros(1),
        correct=torch.tensor([True]),
        logprob=lp,
        mask=torch.ones(1, tokens, dtype=torch.bool),
        prompt_logprob=torch.zeros(1, 1),
        prompt_mask=torch.ones(1, 1, dtype=torch.bool),
        alpha=1.0,
    )
    torch.testing.assert_close(1 - change, torch.tensor([-1.0]).exp())
