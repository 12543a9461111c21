"""What a run on a model of one's own begins with."""

import pytest
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from divreg.tasks import building


@pytest.fixture
def save(tmp_path):
    def save(*words):
        inner = Tokenizer(models.WordLevel({w: i for i, w in enumerate(words)}, unk_token="<unk>"))
        inner.pre_tokenizer = pre_tokenizers.Split("", "isolated")
        names = PreTrainedTokenizerFast(tokenizer_object=inner, eos_token="<eos>")
        names.save_pretrained(tmp_path)
        return str(tmp_path)

    return save


def test_an_answer_to_text_ends_where_the_task_says_and_one_to_a_conversation_does_not(save):
    folder = save("<unk>", "<eos>", "a", "\n")
    names = building.tokenizer(folder, ("\n",), "A kind of bird:")
    assert (names.eos_token_id, names.pad_token) == (3, "<eos>")
    assert names.encode("a\n") == [2, 3]
    talk = [{"role": "user", "content": "Name one kind of bird."}]
    assert building.tokenizer(folder, ("\n",), talk).eos_token == "<eos>"
    assert building.tokenizer(folder).eos_token == "<eos>"


def test_a_tokenizer_without_that_token_is_refused(save):
    folder = save("<unk>", "<eos>", "a", "b")
    with pytest.raises(ValueError, match=r"'ab' need a tokenizer that has it as one token.*has 2"):
        building.tokenizer(folder, ("ab",), "x")
