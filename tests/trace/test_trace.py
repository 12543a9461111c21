"""``divreg trace`` on tiny models: what it samples, resumes, and says."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from divreg.cli import main
from divreg.measure.generations import Problems
from divreg.measure.run import Measurement
from divreg.measure.summary import Measured, Set
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
        code = main(["trace", *(lineage.get(s, s) for s in stages), *fixed, *words])
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
    assert "Among right answers, from base to tuned: too few prompts (0) have two right" in out
    assert "Of all samples, from base to tuned, " in out
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


def stage(every, right):
    """A stage with these values of the two numbers, a prompt each."""
    prompts = [
        Measured(i, "", f"p{i}", 4, {"different_pairs": a, "different_pairs_correct": c})
        for i, (a, c) in enumerate(zip(every, right, strict=True))
    ]
    return Measurement({}, [], [Set("", prompts)], Problems())


def test_the_verdict_is_over_the_prompts_that_all_stages_have():
    """One prompt has no right answers at first; it would turn the shares around."""
    found = {
        "base": stage([1.0] * 4, [0.8, 0.8, 0.8, None]),
        "sft": stage([0.8] * 4, [0.7, 0.7, 0.7, 0.0]),
        "rl": stage([0.9] * 4, [0.4, 0.4, 0.4, 1.0]),
    }
    assert command.verdict(found, seed=0) == [
        "Among right answers, from base to rl, 50% of the variety went (different_pairs_correct "
        "0.80 to 0.40, 3 prompts): sft 25%, rl 75%.",
        "Of all samples, from base to rl, 10% of the variety went (different_pairs 1.00 to 0.90, "
        "4 prompts): sft 200%, rl -100%.",
    ]


def test_a_verdict_that_cannot_be_given_says_why():
    found = {"base": stage([0.5] * 3, [0.8, None, None]), "rl": stage([0.5] * 3, [0.4, 0.4, None])}
    right, every = command.verdict(found, seed=0)
    assert right.endswith("too few prompts (1) have two right answers at every stage to say.")
    assert every.endswith("that these prompts show (different_pairs 0.50 to 0.50, 3 prompts).")


def test_other_weights_in_the_same_folder_are_sampled_anew(trace, lineage, tmp_path):
    trace()
    folder = Path(lineage["tuned"].partition("=")[2])
    os.utime(folder / "model.safetensors", (1, 1))
    trace()
    assert len(list((tmp_path / "out" / "samples").iterdir())) == 3


REFUSED = {
    "one stage": (["base"], [], "needs two stages or more"),
    "one name": (["base", "base"], [], "each with a name of its own"),
    "samples": (["base", "tuned"], ["--samples", "1"], "--samples is too small; got 1"),
    "task": (["base", "tuned"], ["--task", "expression"], "Did you mean 'expressions'?"),
    "k": (["base", "tuned"], ["--k", "64"], "--k needs 2 to 4, the samples; got 64"),
    "a name with a slash": (["base", "a/b=c"], [], "needs a name without '/'; got 'a/b'"),
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


@pytest.mark.slow
def test_the_losses_of_a_lineage_are_where_its_recipe_put_them(repo, tmp_path):
    """Base, SFT, DPO and GRPO from committed recipes; the losses among right answers are known."""
    words = [sys.executable, "recipes/expressions/lineage.py", "--output-dir", str(tmp_path)]
    done = subprocess.run(words, cwd=repo, capture_output=True, text=True, check=True)
    traced = done.stdout.strip().splitlines()[-1].split()
    assert main(traced[1:]) == 0
    found = json.loads((tmp_path / "trace" / "trace.json").read_text())
    right = {
        name: stage["numbers"]["different_pairs_correct"]["estimate"]
        for name, stage in found["stages"].items()
    }
    assert right["base"] > 0.85
    assert right["sft"] == pytest.approx(2 / 3, abs=0.03), "three answers, equally often"
    assert right["dpo"] < 0.05, "one of the three"
    assert right["grpo"] < 0.05
    sft, dpo, grpo = (
        step["differences"]["different_pairs_correct"]["estimate"]
        for step in found["against_the_stage_before"]
    )
    assert dpo < sft < -0.1
    assert abs(grpo) < 0.05
