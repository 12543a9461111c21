"""Whole groups or an error."""

import pytest

from divreg.rollouts import Rollouts, completion_text, prompt_id, text_of, told


def test_flat_rows_become_groups():
    whole = Rollouts.whole(["a", "a", "b", "b"], ["1", "2", "3", "4"], 2)
    assert whole.prompts == ["a", "b"]
    assert whole.texts == [["1", "2"], ["3", "4"]]
    assert whole.prompt_ids == [prompt_id("a"), prompt_id("b")]


def test_a_ragged_batch_is_refused():
    with pytest.raises(ValueError, match="needs whole groups of 2; got 3 prompts"):
        Rollouts.whole(["a", "a", "b"], ["1", "2", "3"], 2)


def test_a_group_of_two_prompts_is_refused():
    with pytest.raises(ValueError, match="needs one prompt per group; got 2"):
        Rollouts.whole(["a", "b", "b", "a"], ["1", "2", "3", "4"], 2)


def test_chats_are_read_as_text():
    chat = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "2 + 2?"}]
    assert text_of(chat) == "Be brief.\n2 + 2?"
    assert (
        completion_text([{"role": "assistant", "content": [{"type": "text", "text": "4"}]}]) == "4"
    )
    assert completion_text([]) == ""
    assert completion_text([{"role": "assistant", "content": None}]) == ""


def test_an_extractor_is_told_the_prompt_as_text_if_it_asks_for_it():
    def echo(text, *, prompt):
        return f"{prompt}: {text}"

    assert told(echo, [{"role": "user", "content": "2 + 2"}])("4") == "2 + 2: 4"
    assert told(str.strip, "2 + 2")(" 4 ") == "4"
    assert told(int, "2 + 2")("4") == 4  # written in C: it has no signature
