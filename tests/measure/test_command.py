"""``divreg measure`` as a user types it."""

import json
import resource
import subprocess
import sys

import pytest

from divreg.cli import main
from divreg.measure import groups, run
from divreg.measure.generations import Sample


@pytest.fixture
def write(tmp_path):
    """``write(rows, name)``: a file of JSON lines."""

    def to(rows, name="x.jsonl"):
        path = tmp_path / name
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        return str(path)

    return to


@pytest.fixture
def measured(tmp_path, capsys):
    """``measured(path, *words)``: what is printed, and what the JSON holds."""

    def run(path, *words):
        out = tmp_path / "out.json"
        code = main(["measure", path, "--json", str(out), *words])
        printed = capsys.readouterr()
        assert code == 0, printed.err
        return printed.out, json.loads(out.read_text())

    return run


def rows(prompt, texts, **columns):
    return [{"prompt": prompt, "completion": text, **columns} for text in texts]


# Eight samples, classes of 4, 2, 1 and 1; and eight that say the same.
VARIED, SAME = ["a", "a", "a", "a", "b", "b", "c", "d"], ["yes"] * 8


def test_numbers_by_hand(write, measured):
    out, found = measured(write(rows("p", VARIED) + rows("q", SAME)), "--k", "2")
    p, q = found["prompts"]
    different = 1 - (4 * 3 + 2 * 1) / (8 * 7)
    assert p["different_pairs"] == pytest.approx(different)
    assert p["distinct_at_k"] == pytest.approx(1 + different)
    assert (p["coverage"], p["duplicates"]) == (1, 1 / 2), "of the first two samples"
    assert (q["distinct_at_k"], q["different_pairs"], q["duplicates"]) == (1, 0, 1 / 2)
    (only,) = found["sets"]
    assert only["numbers"]["different_pairs"]["estimate"] == pytest.approx(different / 2)
    assert only["numbers"]["different_pairs"]["prompts"] == 2
    assert (found["k"], found["prompt_count"], found["samples"]) == (2, 2, 16)
    assert "distinct_at_2" in out
    assert "1.0 of 2  q" in out, "the prompt with least variety is shown"


def test_right_answers(write, measured):
    right = [True, True, False, False, True, False, False, True]
    table = rows("p", VARIED)
    for row, yes in zip(table, right, strict=True):
        row["reward"] = float(yes)
    out, found = measured(write(table), "--correct", "reward>=1", "--k", "8")
    (p,) = found["prompts"]
    assert (p["pass_at_1"], p["pass_at_k"]) == (0.5, 1)
    assert p["distinct_correct_at_k"] == 3  # a, b and d
    assert p["different_pairs_correct"] == pytest.approx(5 / 6)
    assert "distinct_correct_at_8" in out


def test_what_depends_on_the_number_of_samples_is_of_the_first_k(write, measured):
    few, many = (measured(write(rows("p", VARIED * n)), "--k", "8")[1] for n in (1, 4))
    for name in ("coverage", "class_entropy", "distinct_2", "ead", "self_bleu", "compression"):
        assert few["prompts"][0][name] == many["prompts"][0][name], name
    assert few["prompts"][0]["coverage"] == pytest.approx(1 - 2 / 8)


def test_prompts_that_nobody_judges_are_said_and_left_out(write, measured):
    table = rows("p", VARIED, correct=True) + rows("q", SAME, correct=None)
    out, found = measured(write(table))
    assert "1 prompt has samples that nobody judges: not in the rows of right answers." in out
    (only,) = found["sets"]
    assert only["numbers"]["pass_at_1"]["estimate"] == 1
    assert only["numbers"]["pass_at_1"]["prompts"] == 1


def test_reasoning_that_was_cut_off_is_said(write, measured):
    texts = ["<think>a</think>4"] * 4 + [f"<think>{i} and" for i in range(4)]
    out, found = measured(write(rows("p", texts)))
    assert "4 samples end inside reasoning: what came before it is counted." in out
    assert found["prompts"][0]["distinct_at_k"] == 2  # 4, and nothing


def test_columns_that_nobody_reads_are_not_held(write, measured, monkeypatch):
    held = []
    kept = groups.Groups._spill
    monkeypatch.setattr(
        groups.Groups, "_spill", lambda self: (held.extend(self._held), kept(self))[1]
    )
    monkeypatch.setattr(groups.Groups.__init__, "__defaults__", (2000,))
    measured(write(rows("p", VARIED, ids=list(range(500)), note="short")))
    assert held[0][2].fields == {"ids": None, "note": "short"}


def test_sets_side_by_side_in_their_natural_order(write, measured):
    table = [r for step in (10, 2) for r in rows("p", VARIED if step == 2 else SAME, step=step)]
    out, found = measured(write(table), "--by", "step")
    assert [s["name"] for s in found["sets"]] == ["2", "10"]
    assert [p["distinct_at_k"] for p in found["prompts"]] == [4, 1]
    assert "Least variety in 10" in out


def test_reasoning_is_removed_and_classes_can_be_given(write, measured):
    thought = [f"<think>{i}</think>7" for i in range(4)] + [f"so {i}</think> 7" for i in range(4)]
    path = write([r | {"class": i % 2} for i, r in enumerate(rows("p", thought))])
    assert measured(path)[1]["prompts"][0]["distinct_at_k"] == 1
    assert measured(path, "--keep-reasoning")[1]["prompts"][0]["distinct_at_k"] == 8
    assert measured(path, "--classes", "class")[1]["prompts"][0]["distinct_at_k"] == 2


def test_prompts_with_too_few_samples_are_said(write, measured):
    out, found = measured(write(rows("p", VARIED) + rows("q", VARIED) + rows("r", ["x", "y"])))
    assert "1 prompt has fewer than 8 samples: not in the rows at k." in out
    assert found["prompts_below_k"] == 1
    assert found["prompts"][2]["distinct_at_k"] is None
    assert found["prompts"][2]["different_pairs"] == 1


def test_an_encoder(write, measured, minilm):
    texts = ["a cat", "a cat", "a kitten", "tax law", "the tax code", "rain", "snow", "a dog"]
    out, found = measured(write(rows("p", texts) + rows("q", SAME)), "--encoder", minilm)
    p, q = found["prompts"]
    assert q["vendi"] == pytest.approx(1, abs=1e-3)
    assert q["cosine_diversity"] == pytest.approx(0, abs=1e-5)
    assert 3 < p["vendi"] < 8
    assert found["encoder"]["max_tokens"] == 256
    assert "Embedded by" in out


def test_how_it_was_sampled_stands_beside_the_numbers(write, measured):
    out, found = measured(write(rows("p", VARIED, temperature=0.7, model="m")))
    assert "Sampled with model m; temperature 0.7." in out
    assert found["settings"] == {"model": ["m"], "temperature": [0.7]}


def test_broken_rows_are_in_the_json_too(write, measured, tmp_path):
    path = write(rows("p", VARIED))
    with open(path, "a") as file:
        file.write('{"prompt": "half')
    out, found = measured(path)
    assert "1 row not JSON: x.jsonl:9." in out
    assert found["left_out"] == {
        "rows": 1,
        "why": {"not JSON": 1},
        "first": {"not JSON": ["x.jsonl:9"]},
    }


REFUSED = {
    "one sample a prompt": (
        rows("p", ["a"]),
        (),
        "got one sample for 1 of 1 prompts in",
    ),
    "nothing": ([{}], (), "1 row without a prompt"),
    "k": (rows("p", VARIED), ("--k", "1"), "--k needs at least 2 samples; got 1"),
    "by": (rows("p", VARIED, step=1), ("--by", "steps"), "no such column. Did you mean 'step'?"),
    "correct": (rows("p", VARIED), ("--correct", "reward"), "--correct needs COLUMN>=X; got"),
    "its column": (
        rows("p", VARIED, reward=1.0),
        ("--correct", "rewards>=1"),
        "the prompt 'p' has no number there. Did you mean 'reward'?",
    ),
    "classes": (
        rows("p", VARIED),
        ("--classes", "kind"),
        "8 of 8 samples of the prompt 'p' have no",
    ),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_cannot_be_measured_is_refused(write, capsys, kind):
    table, words, message = REFUSED[kind]
    assert main(["measure", write(table), *words]) == 2
    assert message in capsys.readouterr().err


def test_what_does_not_fit_into_memory_gives_the_same(write, measured, monkeypatch):
    """Ten thousand samples whose prompts lie far apart, with room for some dozens."""
    table = [
        {"prompt": f"p{i % 1250}", "completion": f"text {i % 7} {i // 1250 % 3}"}
        for i in range(10_000)
    ]
    path = write(table)
    _, whole = measured(path)
    monkeypatch.setattr(groups.Groups.__init__, "__defaults__", (20_000,))
    _, spilled = measured(path)
    assert spilled == whole
    assert whole["samples"] == 10_000


def test_the_files_on_the_disk_are_gone_afterwards(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    many = (Sample(f"p{i}", "x" * 100, {}) for i in range(100))
    with groups.Groups(many, lambda s: "", memory=1000) as together:
        assert len(list(tmp_path.iterdir())) == 1
        assert len(list(together)) == 100
        assert len(list(together)) == 100, "it can be read again"
    assert not list(tmp_path.iterdir())


def test_reasoning_blocks():
    for text, left in (
        ("no tags", "no tags"),
        ("<think>a\nb</think>\n\nc <think>d</think>e", "c e"),
        ("a</think>b", "b"),
        ("before <think>never closed", "before "),
        ("so</think>a <think>cut", "a "),
    ):
        assert run.without_reasoning(text) == left


@pytest.mark.slow
def test_a_million_generations_in_bounded_memory(tmp_path):
    """Their prompts are scattered over the file, as by a run that passes over all of them again."""
    path = tmp_path / "many.jsonl"
    with path.open("w") as file:
        for i in range(1_000_000):
            text = f"{i % 11} {i % 7} and some words more " * 4
            file.write(json.dumps({"prompt": f"p{i % 62_500}", "completion": text}) + "\n")
    words = [sys.executable, "-m", "divreg", "measure", str(path), "--worst", "0"]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    assert "62,500 prompts, 16 samples each, 1,000,000 in all." in done.stdout
    assert resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss < 1.5 * 2**20  # KiB
