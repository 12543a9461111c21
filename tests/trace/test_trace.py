"""``divreg trace`` on tiny models: what it samples, resumes, and says."""

import json

import pytest
import torch

from divreg.cli import main
from divreg.measure.compare import Change
from divreg.metrics.interval import Interval
from divreg.tasks import tiny
from divreg.trace import command, sampling


@pytest.fixture(scope="module")
def lineage(tmp_path_factory):
    """Two untrained models with the task's tokenizer: the second nearly always says the same."""
    folder, names = tmp_path_factory.mktemp("lineage"), tiny.tokenizer()
    found = {}
    for name, scale in (("base", 1.0), ("tuned", 60.0)):
        torch.manual_seed(0)
        model = tiny._new_model(tiny.RECIPES["expressions"], names)
        with torch.no_grad():
            model.get_output_embeddings().weight *= scale
        model.save_pretrained(folder / name)
        names.save_pretrained(folder / name)
        found[name] = f"{name}={folder / name}"
    return found


@pytest.fixture
def trace(lineage, tmp_path, capsys):
    """``trace(*words)``: exit code, what is printed, and the JSON."""

    def run(*words, stages=("base", "tuned"), output="out"):
        out = tmp_path / output
        fixed = ["--prompts", "10", "--samples", "4", "--output-dir", str(out)]
        code = main(["trace", *(lineage[s] for s in stages), *fixed, *words])
        found = out / "trace.json"
        printed = capsys.readouterr()
        return (
            code,
            printed.out + printed.err,
            json.loads(found.read_text()) if found.exists() else None,
        )

    return run


def files(tmp_path, output="out"):
    return {p.name.split("-")[0]: p for p in (tmp_path / output / "samples").iterdir()}


def test_samples_numbers_and_words(trace, tmp_path):
    code, out, found = trace()
    assert code == 0, out
    rows = [json.loads(line) for line in files(tmp_path)["base"].read_text().splitlines()]
    assert len(rows) == 40
    assert {row["sample"] for row in rows} == {0, 1, 2, 3}
    assert rows[0].keys() >= {"prompt", "completion", "correct", "class", "temperature", "seed"}
    assert list(found["stages"]) == ["base", "tuned"]
    base, tuned = (s["numbers"]["different_pairs"]["estimate"] for s in found["stages"].values())
    assert base > 0.9 > tuned
    (step,) = found["against_the_stage_before"]
    assert step["differences"]["different_pairs"]["estimate"] == pytest.approx(tuned - base)
    assert "From base to tuned, " in out
    assert "of the variety went" in out
    assert "10 prompts, 4 samples each, temperature 1." in out


@pytest.mark.parametrize("cut", [0, 17, 32, 33])
def test_an_interrupted_run_goes_on_and_ends_the_same(trace, tmp_path, cut):
    trace()
    path = files(tmp_path)["tuned"]
    whole = path.read_bytes()
    lines = whole.splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:cut]) + b'{"prompt": "half')
    trace()
    assert path.read_bytes() == whole


def test_what_is_finished_is_not_sampled_again(trace, monkeypatch):
    _, _, before = trace()
    monkeypatch.setattr(sampling, "_load", lambda model: pytest.fail("loaded again"))
    _, _, after = trace()
    assert after == before


def test_samples_drawn_in_another_way_lie_in_another_file(trace, tmp_path):
    trace(stages=("base", "tuned"))
    _, _, found = trace("--seed", "1")
    assert len(list((tmp_path / "out" / "samples").iterdir())) == 4
    assert found["stages"]["base"]["settings"]["seed"] == [1]


def test_control_c_keeps_what_is_there(trace, monkeypatch):
    def stop(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("divreg.tasks.evaluate.sample", stop)
    code, out, found = trace()
    assert code == 130
    assert found is None
    assert "Type the same command once more" in out


def change(name, before, x, parts=None):
    interval = Interval(x, x - 0.01, x + 0.01, 20, 0)
    return Change(name, 20, {"different_pairs": before}, {"different_pairs": interval}, parts or {})


def test_the_verdict_says_where_and_of_what():
    total, genuine = Interval(0.3, 0.2, 0.4, 18, 2), Interval(0.6, 0.5, 0.7, 18, 2)
    parts = {"different_pairs": {"total": total, "genuine_frac": genuine}}
    steps = [
        change("sft", 0.8, -0.3, parts), change("dpo", 0.5, -0.005), change("rl", 0.495, 0.1)
    ]  # fmt: skip
    assert command.verdict("base", steps, change("rl", 0.8, -0.205)) == [
        "From base to rl, 26% of the variety went: different_pairs 0.800 to 0.595.",
        "sft: 146% of the loss (-0.300); 60% of that among right answers (50% to 70%).",
        "dpo: no change that these prompts show (-0.005).",
        "rl: brought some back (+0.100).",
    ]
    (nothing,) = command.verdict("base", [], change("rl", 0.8, 0.0))
    assert nothing.startswith("From base to rl no variety was lost")


REFUSED = {
    "one stage": (["base"], [], "needs two stages or more"),
    "one name": (["base", "base"], [], "each with a name of its own"),
    "samples": (["base", "tuned"], ["--samples", "1"], "--samples is too small; got 1"),
    "task": (["base", "tuned"], ["--task", "expression"], "Did you mean 'expressions'?"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_cannot_be_traced_is_refused(trace, kind):
    stages, words, message = REFUSED[kind]
    code, out, _ = trace(*words, stages=stages)
    assert code == 2
    assert message in out


def test_a_model_that_is_not_there(tmp_path, lineage, capsys):
    words = ["trace", lineage["base"], f"gone={tmp_path / 'gone'}", "--prompts", "1"]
    assert main([*words, "--samples", "2", "--output-dir", str(tmp_path)]) == 2
    assert "divreg trace cannot load" in capsys.readouterr().err
