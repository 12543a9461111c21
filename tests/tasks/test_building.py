"""What a run on a model of one's own begins with."""

from dataclasses import replace

import pytest
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from divreg.tasks import building, runs


@pytest.fixture
def save(tmp_path):
    def save(*words):
        inner = Tokenizer(models.WordLevel({w: i for i, w in enumerate(words)}, unk_token="<unk>"))
        inner.pre_tokenizer = pre_tokenizers.Split("", "isolated")
        names = PreTrainedTokenizerFast(tokenizer_object=inner, eos_token="<eos>")
        names.save_pretrained(tmp_path)
        return str(tmp_path)

    return save


def test_a_model_ends_with_every_token_that_holds_the_end(save, make_tiny_model):
    names = AutoTokenizer.from_pretrained(save("<unk>", "<eos>", "a", "\n", "\n\n", "b"))
    model = make_tiny_model()
    model.generation_config.eos_token_id = 1
    building.end_at(model, names, ("\n",))
    assert model.generation_config.eos_token_id == [1, 3, 4]
    with pytest.raises(ValueError, match="a token that holds it"):
        building.end_at(model, names, ("c",))


@pytest.mark.parametrize(
    ("task", "model", "ends"),
    [("kinds-short", "m", True), ("kinds", "m", False), ("expressions", "m", False)],
)
def test_only_answers_to_plain_text_are_ended_by_the_task(task, model, ends):
    run = runs.Run(runs.PLAIN, task=task, model=model)
    assert building.ends_itself(run) == ends
    assert not building.ends_itself(replace(run, model=None))
