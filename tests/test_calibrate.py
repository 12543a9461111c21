"""Picking a threshold: the numbers by hand, the command as it is typed."""

import json

import numpy as np
import pytest
import yaml

from divreg import cli
from divreg.calibrate import best_threshold, calibrated, equal_text, measured


def arrays(scores, same):
    return np.array(scores, dtype=float), np.array(same, dtype=bool)


def test_a_threshold_measured_by_hand():
    scores, same = arrays([0.9, 0.8, 0.7, 0.2], [1, 0, 1, 1])
    point = measured(scores, same, 0.75)  # calls two the same, one rightly, of three
    assert (point.precision, point.recall, point.f1) == (1 / 2, 1 / 3, 2 / 5)
    nothing = measured(scores, same, 1.0)
    assert (nothing.precision, nothing.recall, nothing.f1) == (0.0, 0.0, 0.0)


@pytest.mark.parametrize(
    ("scores", "same", "threshold", "f1"),
    [
        ([0.9, 0.8, 0.7, 0.2], [1, 0, 1, 0], 0.45, 0.8),  # 3 called, 2 right of 2: 4 / 5
        ([0.9, 0.5, 0.5, 0.1], [1, 1, 0, 0], 0.3, 0.8),  # equal scores go together
        ([0.5, 0.5], [1, 0], 0.5, 2 / 3),  # nothing lower: the score itself
        ([0.1, 0.9], [1, 0], 0.1, 2 / 3),  # a model that has it backwards
        ([0.9, 0.6, 0.5, 0.4], [1, 0, 0, 1], 0.75, 2 / 3),  # 2/3 twice: the one that joins fewer
    ],
)
def test_the_best_threshold_by_hand(scores, same, threshold, f1):
    best = best_threshold(*arrays(scores, same))
    assert best.threshold == pytest.approx(threshold)
    assert best.f1 == pytest.approx(f1)


def test_no_other_threshold_is_better():
    generator = np.random.default_rng(0)
    for _ in range(50):
        scores = generator.integers(0, 8, size=12) / 8
        same = np.append(generator.random(11) < scores[1:], True)
        best = best_threshold(scores, same)
        assert best.f1 == pytest.approx(max(measured(scores, same, t).f1 for t in scores))


def test_separable_pairs_are_sure_and_noise_is_not():
    sure = calibrated(*arrays([0.9] * 20 + [0.1] * 20, [1] * 20 + [0] * 20), resamples=200)
    assert sure.best.f1 == sure.f1_held_out == 1.0
    assert sure.f1_interval == (1.0, 1.0)
    assert sure.threshold_interval == (0.5, 0.5)
    generator = np.random.default_rng(1)
    noise = calibrated(generator.random(40), generator.random(40) < 0.5, resamples=200)
    low, high = noise.threshold_interval
    assert high - low > 0.1
    assert noise.f1_held_out is not None
    assert noise.f1_held_out < noise.best.f1


def test_equal_text_ignores_case_and_white_space_only():
    pairs = [("A  robin", "a robin"), ("a robin", "robin"), ("x", "X"), ("x", "y")]
    point = equal_text(pairs, np.array([True, True, False, False]))
    assert (point.precision, point.recall) == (1 / 2, 1 / 2)


@pytest.mark.parametrize(
    ("scores", "same", "cure"),
    [
        ([0.1, 0.2], [1, 1], "Label some of the other kind"),
        ([0.1, 0.2], [0, 0], "Label some of the other kind"),
        ([0.1, float("nan")], [0, 1], "empty text"),
    ],
)
def test_what_cannot_be_calibrated_is_refused(scores, same, cure):
    with pytest.raises(ValueError, match=cure):
        calibrated(*arrays(scores, same))


ROWS = [
    ("a robin", "a small robin bird", True),
    ("the stock market fell", "share prices went down", True),
    ("he is very happy", "he feels great joy", True),
    ("a robin", "A Robin", True),
    ("a robin", "the stock market fell", False),
    ("he is very happy", "it rained all day", False),
    ("a red car", "the cat sat on a mat", False),
    ("seven", "a blue whale", False),
]


@pytest.fixture
def pairs(tmp_path):
    path = tmp_path / "pairs.jsonl"
    lines = [json.dumps({"a": a, "b": b, "same": same}) for a, b, same in ROWS]
    path.write_text("\n".join([*lines, "", ""]))
    return path


def run(capsys, *words):
    code = cli.main(["calibrate", *map(str, words)])
    said = capsys.readouterr()
    return code, said.out, said.err


def test_the_real_encoder_beats_equal_text(pairs, capsys, minilm):
    words = [pairs, "--encoder", minilm, "--option", "device=cpu", "--resamples", 100]
    code, out, _ = run(capsys, *words, "--json")
    assert code == 0
    found = json.loads(out)
    assert (found["pairs"], found["same"]) == (8, 4)
    assert found["f1"] > 0.85 > found["equal_text"]["f1"] == pytest.approx(2 / 5)
    assert 0.1 < found["threshold"] < 0.7
    assert found["scored_by"]["max_tokens"] == 256
    recipe = found["signals"]
    threshold = recipe["partition"]["by_embedding"]["threshold"]
    assert threshold == pytest.approx(found["threshold"], rel=1e-5)
    code, out, _ = run(capsys, *words)
    assert code == 0
    assert f"threshold  {found['threshold']:.4f}" in out
    assert yaml.safe_load(out.partition("block:\n")[2]) == {"signals": recipe}


@pytest.fixture
def says_a(monkeypatch):
    """Stands in for every model: a text is its number of a's, a pair alike if those are equal."""
    from divreg import semantics

    class Encoder:
        facts = {"model": "letters"}  # noqa: RUF012

        def __init__(self, model, *, embed="text", answer=None):
            self.answer = answer or str

        def __call__(self, texts):
            return [[(self.answer(t) or t).count("a"), 1.0] for t in texts]

    class Judge:
        facts = {"model": "letters"}  # noqa: RUF012

        def __init__(self, model, *, truncate="left"):
            pass

        def __call__(self, pairs):
            return [1.0 / (1 + abs(a.count("a") - b.count("a"))) for a, b in pairs]

    monkeypatch.setattr(semantics, "ENCODERS", {"encoder": Encoder, "endpoint": Encoder})
    monkeypatch.setattr(semantics, "JUDGES", {"classifier": Judge, "nli": Judge})


@pytest.mark.parametrize("kind", ["classifier", "nli"])
def test_judges_of_pairs_are_calibrated_too(kind, pairs, says_a, capsys):
    code, out, _ = run(capsys, pairs, f"--{kind}", "m", "--option", "truncate=right", "--json")
    assert code == 0
    found = json.loads(out)
    threshold = pytest.approx(found["threshold"], rel=1e-5)
    expected = {kind: "m", "truncate": "right", "threshold": threshold}
    assert found["signals"] == {"partition": {"by_pairs": expected}}


def test_answers_are_embedded_with_the_extractor_named(pairs, says_a, capsys):
    options = ["--option", "embed=answer", "--answer", "divreg.tasks.expressions.answer"]
    code, out, err = run(capsys, pairs, "--encoder", "m", *options, "--json")
    assert code == 0, err
    assert json.loads(out)["signals"]["answer"] == "divreg.tasks.expressions.answer"


def test_pairs_that_do_worse_than_equal_text_are_told(tmp_path, says_a, capsys):
    path = tmp_path / "pairs.jsonl"
    rows = [("b", "b", True), ("b", "c", False), ("a", "d", False)]
    path.write_text("\n".join(json.dumps({"a": a, "b": b, "same": s}) for a, b, s in rows))
    code, out, _ = run(capsys, path, "--classifier", "m")
    assert code == 0
    assert "use partition: by_text" in out


@pytest.mark.parametrize(
    ("lines", "words", "cure"),
    [
        (['{"a": "x", "b": "y"}'], (), "line 1 of"),
        (['{"a": "x", "b": "y", "same": true}', "oops"], (), "line 2 of"),
        (['{"a": "x", "b": 7, "same": true}'], (), "line 1 of"),
        (['{"a": "x", "b": "y", "same": true}'], (), "Label some"),
        ([], (), "Label some"),
        (None, (), "cannot be read"),
        (ROWS, ("--option", "truncate"), "KEY=VALUE"),
        (ROWS, ("--option", "a=["), "YAML"),
        (ROWS, ("--option", "truncat=left"), "Did you mean 'truncate'"),
        (ROWS, ("--answer", "a.b"), "embed=answer"),
        (ROWS, ("--resamples", "0"), "Use 1000"),
    ],
)
def test_a_mistake_is_one_sentence(tmp_path, says_a, capsys, lines, words, cure):
    path = tmp_path / "mistakes.jsonl"
    if lines is ROWS:
        lines = [json.dumps({"a": a, "b": b, "same": s}) for a, b, s in ROWS]
    if lines is not None:
        path.write_text("\n".join(lines))
    code, _, err = run(capsys, path, "--classifier", "m", *words)
    assert code == 2
    assert cure in err
    assert err.count("\n") == 1


def test_one_model_is_needed(pairs, capsys):
    for words in ([], ["--encoder", "a", "--nli", "b"]):
        with pytest.raises(SystemExit) as stop:
            run(capsys, pairs, *words)
        assert stop.value.code == 2


def test_a_server_out_of_reach_is_one_sentence(pairs, capsys):
    words = ["--endpoint", "http://127.0.0.1:9/v1", "--option", "model=m", "--option", "retries=0"]
    code, _, err = run(capsys, pairs, *words)
    assert code == 2
    assert "Start the server" in err
    assert err.count("\n") == 1
