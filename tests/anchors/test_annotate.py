import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from divreg import cli
from divreg.anchors.annotate import annotate
from divreg.anchors.annotators import EndpointAnnotator, ModelAnnotator

KNOWN = {"topic": ["animals", "tools"]}


@pytest.fixture
def docs(tmp_path):
    path = tmp_path / "docs.jsonl"
    rows = ["A cat.\n\nA hammer.", "A dog.", "A cow.\n\nA saw.\n\nA stone."]
    lines = [json.dumps({"id": i, "text": t, "kind": "animals"}) for i, t in enumerate(rows)]
    path.write_text("\n".join(lines) + "\n")
    return path


def by_word(texts):
    """Animals, tools, and for a stone something that is not known."""
    kinds = {"cat": "animals", "dog": "animals", "cow": "animals", "stone": "rocks"}
    return [{"topic": next((k for w, k in kinds.items() if w in t), "tools")} for t in texts]


def rows(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_every_paragraph_gets_its_annotation_and_a_bad_one_is_named(docs, tmp_path):
    found = annotate([docs], tmp_path / "out.jsonl", by_word, KNOWN, batch_size=2)
    first, _, last = rows(tmp_path / "out.jsonl")
    assert first["text"] == (
        "<|tag|>topic<|value|>animals<|/tag|>A cat.\n\n<|tag|>topic<|value|>tools<|/tag|>A hammer."
    )
    assert last["text"].endswith("<|/tag|>A saw.\n\nA stone.")
    assert (first["id"], first["annotated_from"]) == (0, "docs.jsonl:1")
    assert (found.rows, found.parts) == (3, 5)
    (sentence,) = found.problems.sentences("paragraph")
    assert "got 'rocks'" in sentence
    assert "docs.jsonl:3 paragraph 3" in sentence


def test_it_goes_on_where_it_was_stopped_and_asks_nothing_twice(docs, tmp_path):
    out, asked = tmp_path / "out.jsonl", []

    def stops(texts):
        if "A dog." in texts:
            raise KeyboardInterrupt
        asked.extend(texts)
        return by_word(texts)

    def listens(texts):
        asked.extend(texts)
        return by_word(texts)

    with pytest.raises(KeyboardInterrupt):
        annotate([docs], out, stops, KNOWN, batch_size=1)
    with out.open("a") as file:
        file.write('{"id": 1, "text": "torn')
    found = annotate([docs], out, listens, KNOWN, batch_size=1)
    assert (found.earlier, found.rows) == (1, 2)
    assert asked == ["A cat.", "A hammer.", "A dog.", "A cow.", "A saw.", "A stone."]
    assert [row["id"] for row in rows(out)] == [0, 1, 2]


def test_a_whole_response_without_an_annotation_is_left_out_for_good(docs, tmp_path):
    out = tmp_path / "out.jsonl"
    found = annotate([docs], out, lambda t: ["topic: rocks"] * len(t), KNOWN, whole=True)
    assert (found.rows, found.problems.total) == (0, 3)
    again = annotate([docs], out, lambda t: ["topic: tools"] * len(t), KNOWN, whole=True)
    assert (again.earlier, again.rows) == (3, 0)


def test_columns_that_are_there_are_annotations(docs, tmp_path):
    annotate([docs], tmp_path / "out.jsonl", None, KNOWN, columns={"topic": "kind"}, whole=True)
    assert rows(tmp_path / "out.jsonl")[1]["text"] == ("<|tag|>topic<|value|>animals<|/tag|>A dog.")


BAD = {
    "docs.jsonl:1 needs a text in the column 'story'": ("--column", "story"),
    "docs.jsonl:1 needs the column 'sort'": ("--from-column", "topic=sort"),
    "needs one of --from-column": ("--model", "x", "--from-column", "topic=kind"),
    "--endpoint and --name need each other": ("--endpoint", "http://localhost/v1"),
}


@pytest.mark.parametrize("message", BAD)
def test_the_command_says_what_is_wrong(message, docs, tmp_path, capsys):
    words = BAD[message]
    if words[0] == "--column":
        words = (*words, "--from-column", "topic=kind")
    out = str(tmp_path / "out.jsonl")
    assert cli.main(["annotate", str(docs), "--output", out, "--key", "topic", *words]) == 2
    assert message in capsys.readouterr().err


def test_the_command_annotates_and_refuses_what_is_annotated_already(docs, tmp_path, capsys):
    out = tmp_path / "out.jsonl"
    words = ["--key", "topic=animals,tools", "--from-column", "topic=kind"]
    assert cli.main(["annotate", str(docs), "--output", str(out), *words]) == 0
    assert "6 paragraphs annotated in 3 rows" in capsys.readouterr().out
    assert cli.main(["annotate", str(out), "--output", str(tmp_path / "2.jsonl"), *words]) == 2
    assert "out.jsonl:1 needs a text without markers" in capsys.readouterr().err


def test_a_server_is_asked_and_what_it_says_beside_is_no_tag():
    asked = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            asked.append((self.path, body["model"], body["messages"][0]["content"]))
            said = "Of course!\ntopic: animals\nnote: none"
            sent = json.dumps({"choices": [{"message": {"content": said}}]}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(sent)))
            self.end_headers()
            self.wfile.write(sent)

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}/v1"
        (said,) = EndpointAnnotator(url, "a-model", KNOWN)(["A cat."])
        server.shutdown()
    (path, model, question) = asked[0]
    assert (path, model) == ("/v1/chat/completions", "a-model")
    assert "topic: <animals | tools>" in question
    assert question.endswith("A cat.")
    from divreg.anchors.annotators import tags_of

    assert tags_of(said, KNOWN) == {"topic": "animals"}


def test_a_model_on_this_machine_is_asked(tiny_checkpoint):
    said = ModelAnnotator(tiny_checkpoint, KNOWN, max_new_tokens=4)(["A cat.", "A longer text."])
    assert len(said) == 2
    with pytest.raises(ValueError, match="needs a causal language model; got '/nowhere'"):
        ModelAnnotator("/nowhere", KNOWN)
