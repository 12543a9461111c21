import pytest
import torch

from divreg.anchors import drift, watch
from divreg.anchors.sample import sample, tally, weights
from divreg.anchors.tags import render


@pytest.fixture
def scripted(model, names):
    """A model that writes one text, whatever it is asked; ``scripted(text)`` sets it."""

    class Script:
        def __init__(self, text):
            self.ids = [*names(text).input_ids, names.eos_token_id]
            self.prompt = None

        def __call__(self, input_ids, scores):
            self.prompt = self.prompt or input_ids.shape[1]
            wanted = torch.full_like(scores, -torch.inf)
            at = min(input_ids.shape[1] - self.prompt, len(self.ids) - 1)
            wanted[:, self.ids[at]] = 0.0
            return wanted

    def go(text):
        plain = type(model).generate

        def generate(**words):
            return plain(model, **words, logits_processor=[Script(text)])

        model.generate = generate
        return model

    return go


def test_a_models_own_annotation_is_taken_off(scripted, names):
    model = scripted(render({"topic": "animals"}) + "A cat.")
    (((text, tags, finished),),) = sample(model, names, ["Name one."], 1)
    assert (text, tags, finished) == ("A cat.", {"topic": "animals"}, True)


def test_an_annotation_that_never_ends_leaves_no_text(scripted, names):
    ((one,),) = sample(scripted("<|tag|>topic<|value|>animals and"), names, ["Name one."], 1)
    assert (one.text, one.tags) == ("", {})


def test_behind_a_given_key_the_model_writes_the_value(scripted, names):
    ((one,),) = sample(scripted("birds<|/tag|>A gull."), names, ["Name one."], 1, key="topic")
    assert (one.text, one.tags) == ("A gull.", {"topic": "birds"})


def test_drawn_annotations_come_as_often_as_asked(model, names):
    draw = {"topic": weights({"common": 90, "rare": 10}, "inverse")}
    before = torch.get_rng_state()
    found = sample(model, names, ["Name one."], 200, draw=draw, max_new_tokens=1, batch_size=100)
    assert torch.equal(torch.get_rng_state(), before)
    counts = tally(found[0], "topic")
    assert 165 <= counts["rare"] <= 195
    again = sample(model, names, ["Name one."], 200, draw=draw, max_new_tokens=1, batch_size=100)
    assert again == found


def test_draw_and_key_exclude_each_other(model, names):
    with pytest.raises(ValueError, match="needs draw or key; got both"):
        sample(model, names, ["a"], 1, draw={"topic": {"a": 1.0}}, key="topic")


def test_annotations_are_scored_as_the_model_would_write_them(model, names):
    every = drift.every_annotation({"topic": ["animals", "a longer one"]})
    prompts = ["Name one.", "And a much longer prompt than that?"]
    found = watch.score(model.eval(), names, prompts, every, batch_size=3)
    for i, prompt in enumerate(prompts):
        for j, annotation in enumerate(every):
            begin = names(prompt, add_special_tokens=False).input_ids
            end = names(render(dict(annotation)), add_special_tokens=False).input_ids
            with torch.no_grad():
                logs = model(torch.tensor([[*begin, *end]])).logits[0].log_softmax(-1)
            places = range(len(begin) - 1, len(begin) + len(end) - 1)
            by_hand = sum(float(logs[p, t]) for p, t in zip(places, end, strict=True))
            assert found[i, j] == pytest.approx(by_hand, abs=1e-4)


def test_too_many_annotations_to_list_are_refused():
    with pytest.raises(ValueError, match="needs 1 to 4096 combinations; got 10000"):
        drift.every_annotation({"a": ["x"] * 100, "b": ["y"] * 100})
