import numpy as np
import pytest
import torch

from divreg.encoders import EndpointEncoder
from divreg.encoders import server as requests


@pytest.fixture
def pauses(monkeypatch):
    """What the client would have waited, in seconds, instead of waiting."""
    waited = []
    monkeypatch.setattr(requests.time, "sleep", waited.append)
    return waited


@pytest.fixture
def encoder(server):
    """An encoder on the server, with its question at construction taken off the books."""
    made = EndpointEncoder(server.url, "letters", batch_size=2, timeout=10, retries=2)
    server.asked.clear()
    return made


def test_texts_are_sent_in_batches_and_once(server, encoder):
    found = encoder(["aa", "b", "aa", "abc"])
    assert found.dtype == np.float32
    assert found.tolist() == [server.vector(t) for t in ("aa", "b", "aa", "abc")]
    assert server.asked == [["aa", "b"], ["abc"]]
    encoder(["abc", "b"])
    assert len(server.asked) == 2
    assert encoder([]).shape == (0, 3)


def test_the_order_is_that_of_index_not_of_arrival(server, encoder):
    server.plan = [lambda reply: {"data": reply["data"][::-1]}]
    assert encoder(["aa", "b"]).tolist() == [server.vector("aa"), server.vector("b")]


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_busy_server_is_asked_again(server, encoder, pauses, status):
    server.plan = [status, status]
    assert encoder(["aa"]).tolist() == [server.vector("aa")]
    assert pauses == [1.0, 2.0]
    assert len(server.asked) == 3


def test_the_servers_own_pause_is_kept_within_reason(server, encoder, pauses):
    server.plan = [(429, {"Retry-After": "7"}), (503, {"Retry-After": "3600"})]
    encoder(["aa"])
    assert pauses == [7.0, 30.0]


def test_a_server_that_stays_busy_is_an_error_with_what_it_said(server, encoder, pauses):
    server.plan = [500, 500, 500]
    with pytest.raises(ConnectionError, match=r"3 attempts \(HTTP 500: .*planned 500") as caught:
        encoder(["aa"])
    assert len(pauses) == 2
    assert "\n" not in str(caught.value)


def test_a_server_that_is_not_there_is_an_error(pauses):
    with pytest.raises(ConnectionError, match="Start the server"):
        EndpointEncoder("http://127.0.0.1:9/v1", "letters", retries=1)
    assert pauses == [1.0]


@pytest.mark.parametrize(
    ("step", "cure"),
    [
        (401, "api_key_env='OPENAI_API_KEY'"),
        (404, "usually ends in /v1"),
        (400, "If a text is too long"),
        (lambda reply: {"data": reply["data"][:1]}, "needs 2 finite vectors"),
        (lambda reply: {"data": [{"index": 0, "embedding": [1.0]}] * 2}, "index"),
        (
            lambda reply: {"data": [{**row, "embedding": [1.0]} for row in reply["data"]]},
            "is an embedding model",
        ),
        (
            lambda reply: {"data": [{**row, "embedding": [float("nan")]} for row in reply["data"]]},
            "finite",
        ),
        (lambda reply: {"object": "list"}, "OpenAI-compatible"),
        (lambda reply: b"<html>", "OpenAI-compatible"),
    ],
)
def test_what_another_attempt_would_not_cure_is_an_error_at_once(
    server, encoder, pauses, step, cure
):
    server.plan = [step]
    with pytest.raises(ValueError, match=cure) as caught:
        encoder(["aa", "b"])
    assert not pauses
    assert "\n" not in str(caught.value)


def test_the_key_is_read_from_the_environment_and_kept_nowhere(server, monkeypatch):
    monkeypatch.setenv("A_KEY", "s3cret")
    encoder = EndpointEncoder(server.url, "letters", api_key_env="A_KEY")
    assert server.keys == ["Bearer s3cret"]
    assert "s3cret" not in f"{encoder!r} {encoder.facts} {vars(encoder)}"
    monkeypatch.delenv("A_KEY")
    with pytest.raises(ValueError, match="Type export A_KEY="):
        encoder(["aa"])
    EndpointEncoder(server.url, "letters")
    assert server.keys[1:] == [None]


def test_an_empty_text_is_sent_as_a_space(server, encoder):
    assert encoder([""]).tolist() == [server.vector("")]
    assert server.asked == [[" "]]


def test_parts_are_cut_here_by_the_models_tokenizer(server, make_judge):
    arguments = {"tokenizer": make_judge("no", "yes"), "tokens": 2}
    last = EndpointEncoder(server.url, "letters", embed="last_tokens", **arguments)
    last(["the cat sat"])
    assert server.asked[-1] == ["cat sat"]
    split = EndpointEncoder(server.url, "letters", embed="split_mean", **arguments)
    assert split(["a cat sat"]).tolist() == [[2.5, 1.0, 1.5]]  # of "a " and "cat sat"
    assert split.facts == {
        "model": "letters",
        "endpoint": server.url + "/embeddings",
        "embed": "split_mean",
        "tokens": 2,
        "truncate": "as the server does",
    }


def test_random_numbers_of_the_training_do_not_move(server):
    before = torch.random.get_rng_state()
    EndpointEncoder(server.url, "letters")(["aa"])
    assert torch.equal(torch.random.get_rng_state(), before)


@pytest.mark.parametrize(
    ("arguments", "cure"),
    [
        ({"url": "localhost:8000"}, "Use 'http://localhost:8000/v1'"),
        ({"url": "http://me:s3cret@a/v1"}, "without a password or a query; got one for a"),
        ({"url": "http://a/v1?key=s3cret"}, "api_key_env='MY_KEY'"),
        ({"batch_size": 0}, "Use 64"),
        ({"retries": -1}, "Use retries=5"),
        ({"timeout": 0}, "timeout=60"),
        ({"embed": "last_tokens"}, "tokenizer=<name of the model>"),
        ({"tokenizer": "some/name"}, "tokenizer=<name of the model>"),
        ({"embed": "split_mean", "tokenizer": "/nowhere"}, "Pass the folder"),
    ],
)
def test_bad_input_is_refused_with_the_cure(arguments, cure):
    with pytest.raises(ValueError, match=cure):
        EndpointEncoder(**{"url": "http://127.0.0.1:9/v1", "model": "letters", **arguments})
