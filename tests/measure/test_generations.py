"""Rows of every shape become samples; rows of none are counted and named."""

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from divreg.measure.generations import Problems, Sample, files_of, read, samples

HARNESS = {  # lm_eval --log_samples, both shapes of its arguments
    "doc_id": 0,
    "doc": {"question": "2+2?"},
    "target": "4",
    "arguments": {"gen_args_0": {"arg_0": "Q: 2+2?", "arg_1": {"temperature": 0.7}}},
    "resps": [["four", "4"]],
    "filtered_resps": ["4"],
    "exact_match": 1.0,
}
SHAPES = {
    "plain": ({"prompt": "a", "completion": "b", "step": 3}, [("a", "b")]),
    "other names": ({"question": "a", "response": "b"}, [("a", "b")]),
    "a list": ({"prompt": "a", "completions": ["b", "c"]}, [("a", "b"), ("a", "c")]),
    "a list under the name of one": ({"prompt": "a", "output": ["b"]}, [("a", "b")]),
    "conversations": (
        {
            "prompt": [{"role": "user", "content": "a"}],
            "completion": [{"role": "assistant", "content": "b"}],
        },
        [("a", "b")],
    ),
    "a list of conversations": (
        {"prompt": "a", "completions": [[{"role": "assistant", "content": "b"}]]},
        [("a", "b")],
    ),
    "NoveltyBench": (
        {"id": "curated-0", "prompt": "a", "model": "m", "generations": ["b", "c"]},
        [("a", "b"), ("a", "c")],
    ),
    "lm_eval": (HARNESS, [("Q: 2+2?", "four"), ("Q: 2+2?", "4")]),
    "lm_eval, older": (
        {**HARNESS, "arguments": [["Q: 2+2?", {}]], "resps": [["4"]]},
        [("Q: 2+2?", "4")],
    ),
    "an instruction with an input": (
        {"instruction": "Translate.", "input": "chat", "output": "cat"},
        [("Translate.\n\nchat", "cat")],
    ),
    "an instruction without one": (
        {"instruction": "Sing.", "input": "", "output": "la"},
        [("Sing.", "la")],
    ),
    "half of a pair": ({"prompt": "a", "completion": "\ud83d"}, [("a", "?")]),
    "an empty completion": ({"prompt": "a", "completion": ""}, [("a", "")]),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_rows_of_every_shape(shape):
    row, expected = SHAPES[shape]
    assert [(s.prompt, s.text) for s in samples(row)] == expected


def test_conversations_are_kept_beside_their_text_and_every_sample_says_where_it_was(tmp_path):
    talk = [{"role": "user", "content": "a"}]
    for row, messages in (
        ({"prompt": "a", "completion": "b"}, None),
        ({"prompt": talk, "completion": "b"}, (talk, [{"role": "assistant", "content": "b"}])),
        ({"prompt": "a", "completion": {"role": "x", "content": "b"}},
         (talk, [{"role": "x", "content": "b"}])),
    ):  # fmt: skip
        assert [s.messages for s in samples(row)] == [messages]
    path = tmp_path / "x.jsonl"
    path.write_text('{"prompt": "a", "completion": "b"}\n{"prompt": "a", "outputs": ["b", "c"]}\n')
    places = [s.place for s in read([path], Problems())]
    assert places == ["x.jsonl:1", "x.jsonl:2[0]", "x.jsonl:2[1]"]


def test_filters_of_lm_eval_are_one_row_and_its_metric_is_not_of_each_repeat(tmp_path):
    path = tmp_path / "samples_x.jsonl"
    filtered = [{**HARNESS, "filter": name} for name in ("strict", "flexible")]
    path.write_text("\ufeff" + "".join(json.dumps(row) + "\n" for row in filtered))
    problems = Problems()
    found = list(read([path], problems))
    assert [s.text for s in found] == ["four", "4"]
    assert "exact_match" not in found[0].fields
    assert problems.sentences() == [
        "1 row of another filter than 'strict', with the same samples: samples_x.jsonl:2."
    ]
    (alone,) = samples({**HARNESS, "resps": [["4"]]})
    assert alone.fields["exact_match"] == 1.0


def test_columns_with_a_value_for_each_sample_are_dealt_out():
    row = {"prompt": "a", "generations": ["b", "c"], "partition": [0, 1], "tags": ["x"]}
    assert [s.fields for s in samples(row)] == [
        {"partition": 0, "tags": ["x"]},
        {"partition": 1, "tags": ["x"]},
    ]


BROKEN = {
    "not JSON": '{"prompt": "half',
    "not a JSON object": "[1]",
    "without a prompt": '{"completion": "b"}',
    "without a completion": '{"prompt": "a"}',
    "with a prompt that is no text": '{"prompt": 3, "completion": "b"}',
    "with a completion that is no text": '{"prompt": "a", "completions": [1]}',
    "with an empty list of completions": '{"prompt": "a", "completions": []}',
    "of lm_eval without arguments": '{"resps": [["4"]]}',
}


def test_broken_rows_are_counted_and_named(tmp_path):
    good = '{"prompt": "a", "completion": "b"}'
    path = tmp_path / "x.jsonl"
    path.write_text("\n".join([good, *BROKEN.values(), "", good]) + "\n")
    problems = Problems()
    assert len(list(read([path], problems))) == 2
    assert problems.total == len(BROKEN)
    said = problems.sentences()
    for i, kind in enumerate(BROKEN):
        assert any(f" {kind}" in s and s.endswith(f"x.jsonl:{i + 2}.") for s in said), kind


def test_many_of_a_kind_are_one_sentence(tmp_path):
    path = tmp_path / "x.jsonl"
    path.write_text("{}\n" * 2000)
    problems = Problems()
    assert list(read([path], problems)) == []
    (sentence,) = problems.sentences()
    assert sentence.startswith("2,000 rows without a prompt")
    assert sentence.endswith("x.jsonl:5, ....")


def test_parquet_of_trl(tmp_path):
    folder = tmp_path / "completions"
    folder.mkdir()
    for step in (2, 10):
        table = {
            "step": [step] * 2,
            "prompt": ["a", "a"],
            "completion": ["b", "c"],
            "r": [0.0, 1.0],
        }
        pq.write_table(pa.table(table), folder / f"completions_{step:05d}.parquet")
    found = list(read(files_of(tmp_path), Problems()))
    assert found[3] == Sample("a", "c", {"step": 10, "r": 1.0})


def test_a_folder_of_lm_eval_is_its_samples_and_not_its_results(tmp_path):
    (tmp_path / "samples_gsm8k.jsonl").write_text(json.dumps(HARNESS))
    (tmp_path / "other.jsonl").write_text("{}")
    assert [p.name for p in files_of(tmp_path)] == ["samples_gsm8k.jsonl"]


def test_what_is_no_file_of_generations_is_refused(tmp_path):
    text = tmp_path / "x.txt"
    text.touch()
    for path, message in (
        (text, "needs .jsonl or .parquet; got"),
        (tmp_path / "nothing", "there is no"),
        (tmp_path, "got none in"),
    ):
        with pytest.raises(ValueError, match=message):
            files_of(path)


def test_a_parquet_that_was_cut_short_is_refused(tmp_path):
    path = tmp_path / "x.parquet"
    pq.write_table(pa.table({"prompt": ["a"], "completion": ["b"]}), path)
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(ValueError, match=r"cannot read .*x.parquet.* a kill cut short"):
        list(read([path], Problems()))
