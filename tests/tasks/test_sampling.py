"""Sampling with a cache: the same distributions as a plain forward pass has, cut where asked."""

import pytest
import torch

from divreg.metrics.branching_factor import nucleus
from divreg.tasks import sampling, tiny
from divreg.tasks.sampling import Way, draw

SMALL = tiny.Recipe(hidden=16, layers=1, heads=2, feedforward=32, examples=1280, batch=64)


@pytest.fixture(scope="module")
def tools():
    torch.manual_seed(0)
    names = tiny.tokenizer()
    return tiny._new_model(SMALL, names).eval(), names


def flat(found):
    return [one for own in found for one in own]


def is_told_by_its_text(one, max_tokens):
    """Whether a sample holds no special token but the end of text, which a text does not show."""
    return len(one.text) == one.tokens - (one.tokens < max_tokens)


def read_again(model, names, prompt, one, temperature=1.0):
    """Log-probabilities at every token of a sample, in one forward pass without a cache."""
    ids = names.encode(one.text, add_special_tokens=False)
    ids += [names.eos_token_id] * (one.tokens - len(ids))
    start = names.encode(prompt)
    logits = model(input_ids=torch.tensor([start + ids])).logits[0, len(start) - 1 : -1]
    return (logits / temperature).log_softmax(-1), torch.tensor(ids)


@torch.inference_mode()
@pytest.mark.parametrize("temperature", [1.0, 0.5])
def test_what_the_model_thought_of_a_sample_is_what_a_full_forward_pass_says(tools, temperature):
    model, names = tools
    way = Way(samples=32, max_tokens=5, temperature=temperature, seed=3)
    found = flat(draw(model, names, ["24="], way))
    found = [one for one in found if is_told_by_its_text(one, way.max_tokens)]
    assert len({one.tokens for one in found}) > 1
    for one in found:
        logprob, ids = read_again(model, names, "24=", one, temperature)
        p = logprob.exp()
        assert one.logprob == pytest.approx(logprob[range(len(ids)), ids].mean().item(), rel=1e-4)
        assert one.entropy == pytest.approx(-(p * logprob).sum(-1).mean().item(), rel=1e-4)
        assert one.top_mass == pytest.approx(p.amax(-1).mean().item(), rel=1e-4)
        expected = nucleus(probs=p.double().numpy(), top_p=0.9).entropy_nats
        assert one.step_entropies == pytest.approx(expected.tolist(), rel=1e-4)


def test_one_seed_draws_the_same_whatever_else_is_drawn(tools):
    model, names = tools
    way = Way(samples=4, max_tokens=5, seed=3)
    first = draw(model, names, ["24=", "35="], way)
    assert [len(own) for own in first] == [4, 4]
    torch.manual_seed(99)
    assert draw(model, names, ["24=", "35="], way) == first


def test_prompts_of_different_lengths_are_continued_as_if_alone(tools):
    """The first token's distribution is the same with padding on its left, the others' too."""
    for max_tokens in (1, 4):
        way = Way(samples=512, max_tokens=max_tokens, seed=0)

        def entropies(prompts, way=way):
            return [[one.step_entropies[-1] for one in own] for own in draw(*tools, prompts, way)]

        together = entropies(["24=", "3*8+24="])
        for prompt, own in zip(["24=", "3*8+24="], together, strict=True):
            (alone,) = entropies([prompt])
            rel = 1e-5 if max_tokens == 1 else 0.05  # later tokens are other draws
            assert sum(own) == pytest.approx(sum(alone), rel=rel)


def test_a_conversation_is_written_by_the_chat_template(tools):
    model, names = tools
    told = tiny.tokenizer()
    told.chat_template = "{{ messages[0]['content'] }}"
    way = Way(samples=4, max_tokens=5, seed=3)
    said = [[{"role": "user", "content": "24"}]]
    assert draw(model, told, said, way, prefill="=") == draw(model, names, ["24="], way)


def test_top_p_draws_from_the_likeliest_tokens_alone(tools):
    model, names = tools
    with torch.inference_mode():
        ids = torch.tensor([names.encode("24=")])
        p = model(input_ids=ids).logits[0, -1].softmax(-1)
    order = p.argsort(descending=True)
    kept = order[: int(nucleus(probs=p.double().numpy(), top_p=0.3).tokens)]
    found = flat(draw(model, names, ["24="], Way(samples=500, max_tokens=1, top_p=0.3)))
    drawn = {one.text for one in found}
    assert drawn <= {names.decode([token], skip_special_tokens=True) for token in kept}
    assert len(drawn) > 1


def test_a_text_that_ends_an_answer_is_cut_off_and_nothing_after_it_counts(tools):
    model, names = tools
    free = flat(draw(model, names, ["24="], Way(samples=64, max_tokens=8, seed=1)))
    stopped = flat(draw(model, names, ["24="], Way(samples=64, max_tokens=8, seed=1, stop=("1",))))
    assert all("1" not in one.text for one in stopped)
    for before, after in zip(free, stopped, strict=True):
        assert before.text.partition("1")[0] == after.text
        if "1" in before.text and is_told_by_its_text(before, 8):
            assert after.tokens == len(after.text) + 1


def test_all_tokens_that_end_a_text_are_known(tools):
    model, names = tools
    model.generation_config.eos_token_id = [7, names.eos_token_id]
    try:
        assert sampling.ends(model, names) == [names.eos_token_id, 7]
    finally:
        model.generation_config.eos_token_id = names.eos_token_id


def test_a_flat_distribution_is_sorted_whole():
    """More tokens than the first look holds: 900 of 1000 equal ones."""
    flat_one = torch.full((2, 1000), 1e-3)
    found = sampling.nucleus_entropy(flat_one, 0.9)
    torch.testing.assert_close(found, torch.full((2,), 900.0).log(), rtol=2e-3, atol=0)


def test_a_column_is_drawn_as_often_as_its_weight_says_and_a_zero_never():
    weights = torch.tensor([[0.0, 0.2, 0.0, 0.3, 0.5, 0.0]]).expand(1000, 6)
    luck = torch.arange(1000, dtype=torch.float64)[:, None] / 1000
    counts = sampling._one_of(weights, luck).flatten().bincount(minlength=6)
    assert counts.tolist() == pytest.approx([0, 200, 0, 300, 500, 0], abs=1)


def test_the_nucleus_is_the_same_however_far_one_has_to_look(monkeypatch):
    probability = torch.randn(20, 500).mul(torch.arange(20)[:, None] / 4).softmax(-1)
    whole = sampling.nucleus_entropy(probability, 0.9)
    monkeypatch.setattr(sampling, "_LIKELY", (2, 20))
    torch.testing.assert_close(sampling.nucleus_entropy(probability, 0.9), whole)
