import numpy as np
import pytest
import torch

from divreg.encoders import SentenceEncoder


@pytest.fixture(scope="module")
def encoder(folder):
    return SentenceEncoder(folder, device="cpu")


def test_a_paraphrase_is_nearer_than_another_statement(encoder, cosine):
    a, b, c = encoder(["a robin", "a small robin bird", "the stock market fell"])
    assert cosine(a, b) > 0.7 > 0.3 > cosine(a, c)


def test_equal_texts_are_embedded_once(encoder, monkeypatch):
    first = encoder(["one text", "one text", "another"])
    assert first.shape == (3, 384)
    assert first.dtype == np.float32
    assert (first[0] == first[1]).all()
    monkeypatch.setattr(encoder, "_embed", lambda texts: np.empty((len(texts), 0)))
    assert (encoder(["another", "one text"]) == first[[2, 0]]).all()


def test_no_text_gives_no_row(encoder):
    assert encoder([]).shape == (0, 384)


def test_the_cache_forgets_what_was_used_longest_ago(folder):
    encoder = SentenceEncoder(folder, device="cpu", cache_size=2)
    encoder(["a", "b"])
    encoder(["a", "c"])
    assert list(encoder._cache) == ["a", "c"]
    nothing_kept = SentenceEncoder(folder, device="cpu", cache_size=0)
    assert nothing_kept(["a", "b", "a"]).shape == (3, 384)
    assert not nothing_kept._cache


def test_the_end_of_a_long_text_counts_unless_told_otherwise(folder, encoder, cosine):
    template = "let us think step by step " * 200
    a, b = encoder([template + "a blue whale", template + "tax law"])
    assert cosine(a, b) < 0.99
    from_the_left = SentenceEncoder(folder, device="cpu", truncate="right")
    a, b = from_the_left([template + "a blue whale", template + "tax law"])
    assert cosine(a, b) > 0.999


def test_the_last_tokens_are_those_of_the_models_tokenizer(folder, encoder):
    last = SentenceEncoder(folder, device="cpu", embed="last_tokens", tokens=3)
    of_three, short = last(["first some words, then a Blue whale", "whale"])
    np.testing.assert_allclose(of_three, encoder(["a Blue whale"])[0], atol=1e-6)
    np.testing.assert_allclose(short, encoder(["whale"])[0], atol=1e-6)


def test_a_long_text_is_the_mean_of_its_equal_parts(folder, encoder):
    split = SentenceEncoder(folder, device="cpu", embed="split_mean", tokens=4)
    text = "one two three four five six seven"  # 7 tokens: parts of 3 and 4, one for each word
    parts = encoder(["one two three ", "four five six seven"])
    np.testing.assert_allclose(split([text])[0], parts.mean(axis=0), atol=1e-6)
    np.testing.assert_allclose(split(["one two"]), encoder(["one two"]), atol=1e-6)
    whole = SentenceEncoder(folder, device="cpu", embed="split_mean")
    assert whole.facts["tokens"] == 254  # what all-MiniLM reads, [CLS] and [SEP] aside


def test_only_the_answer_is_embedded_and_a_missing_one_is_like_nothing(folder, encoder):
    def after_colon(text):
        return text.partition(": ")[2] or None

    answers = SentenceEncoder(folder, device="cpu", embed="answer", answer=after_colon)
    found = answers(["I think: a robin", "surely: a robin", "no answer"])
    np.testing.assert_allclose(found[0], encoder(["a robin"])[0], atol=1e-6)
    assert (found[0] == found[1]).all()
    assert not found[2].any()
    assert answers.facts == {
        "model": folder,
        "embed": "answer",
        "answer": "after_colon",
        "truncate": "left",
        "max_tokens": 256,
    }


def test_random_numbers_of_the_training_do_not_move(folder):
    before = torch.random.get_rng_state()
    SentenceEncoder(folder, device="cpu")(["a text"])
    assert torch.equal(torch.random.get_rng_state(), before)


def test_zero3_does_not_shard_it(folder, zero3):
    encoder = SentenceEncoder(folder, device="cpu")
    assert zero3.is_deepspeed_zero3_enabled(), "the training's own setting came back"
    zero3.unset_hf_deepspeed_config()
    assert all(p.numel() for p in encoder._model.parameters()), "sharded parameters are empty"
    assert encoder(["a text"]).shape == (1, 384)


@pytest.mark.parametrize(
    ("arguments", "cure"),
    [
        ({"model": "/nowhere/at/all"}, "Pass the folder of a downloaded one"),
        ({"truncate": "middle"}, "Use truncate='left'"),
        ({"batch_size": 0}, "Use 64"),
    ],
)
def test_bad_input_is_refused_with_the_cure(arguments, cure):
    with pytest.raises(ValueError, match=cure):
        SentenceEncoder(**arguments)


@pytest.mark.parametrize(
    ("arguments", "cure"),
    [
        ({"embed": "head"}, "Use embed='text'"),
        ({"embed": "answer"}, "answer=my_extractor"),
        ({"answer": str.strip}, "answer=my_extractor"),
        ({"tokens": 3}, "Use embed='last_tokens', tokens=3"),
        ({"embed": "last_tokens", "tokens": 0}, "needs 1 to 254 tokens"),
        ({"embed": "split_mean", "tokens": 500}, "Use tokens=254"),
    ],
)
def test_what_would_not_be_read_is_refused(folder, arguments, cure):
    with pytest.raises(ValueError, match=cure):
        SentenceEncoder(folder, device="cpu", **arguments)
