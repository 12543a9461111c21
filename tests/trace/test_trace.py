"""``divreg trace`` on tiny models: what it samples, resumes, and says."""

import json
import math
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from divreg.cli import main
from divreg.measure.generations import Problems
from divreg.measure.numbers import NUMBERS
from divreg.measure.run import Measurement
from divreg.measure.summary import Measured, Set
from divreg.tasks import tiny
from divreg.trace import engines, result, sampling
from divreg.trace.result import Traced


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
    assert [stage["name"] for stage in found["stages"]] == ["base", "tuned"]
    (task,) = found["tasks"]
    base, tuned = (s["numbers"]["different_pairs"]["estimate"] for s in task["stages"].values())
    assert base > 0.9 > tuned
    (step,) = task["against_the_stage_before"]
    assert step["differences"]["different_pairs"]["estimate"] == pytest.approx(tuned - base)
    assert "Among right answers, from base to tuned: too few prompts (0) have two right" in out
    assert "Of all samples, from base to tuned, " in out
    assert "4 samples a prompt, temperature 1, k = 4." in out


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
    monkeypatch.setattr(engines, "_Transformers", lambda *_: pytest.fail("loaded again"))
    _, _, after = trace()
    assert after | {"written": ""} == before | {"written": ""}


def test_samples_drawn_in_another_way_lie_in_another_file(trace, tmp_path):
    trace(stages=("base", "tuned"))
    _, _, found = trace("--seed", "1")
    assert len(list((tmp_path / "out" / "samples").iterdir())) == 4
    assert found["tasks"][0]["stages"]["base"]["facts"]["settings"]["seed"] == [1]


def test_control_c_keeps_what_is_there(trace, monkeypatch):
    def stop(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("divreg.tasks.sampling.draw", stop)
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
    numbers = [number for number in NUMBERS if number.name.startswith("different_pairs")]
    return Measurement({}, numbers, [Set("", prompts)], Problems())


def verdict(found):
    return result.verdict([Traced("t", {}, {}, found, [], [])], seed=0)


def test_the_verdict_is_over_the_prompts_that_all_stages_have():
    """One prompt has no right answers at first; it would turn the shares around."""
    found = {
        "base": stage([1.0] * 4, [0.8, 0.8, 0.8, None]),
        "sft": stage([0.8] * 4, [0.7, 0.7, 0.7, 0.0]),
        "rl": stage([0.9] * 4, [0.4, 0.4, 0.4, 1.0]),
    }
    assert verdict(found) == [
        "Among right answers, from base to rl, 50% of the variety went (different_pairs_correct "
        "0.80 to 0.40, 3 prompts): sft 25%, rl 75%.",
        "Of all samples, from base to rl, 10% of the variety went (different_pairs 1.00 to 0.90, "
        "4 prompts): sft 200%, rl -100%.",
    ]


def test_a_verdict_that_cannot_be_given_says_why():
    found = {"base": stage([0.5] * 3, [0.8, None, None]), "rl": stage([0.5] * 3, [0.4, 0.4, None])}
    right, every = verdict(found)
    assert right.endswith("too few prompts (1) have two right answers at every stage to say.")
    assert every.endswith("that these prompts show (different_pairs 0.50 to 0.50, 3 prompts).")


def test_other_weights_in_the_same_folder_are_sampled_anew(trace, lineage, tmp_path):
    trace()
    folder = Path(lineage["tuned"].partition("=")[2])
    os.utime(folder / "model.safetensors", (1, 1))
    trace()
    assert len(list((tmp_path / "out" / "samples").iterdir())) == 3


TASK = """
from datasets import Dataset
from divreg.tasks.task import Task

ROWS = [{"prompt": [{"role": "user", "content": n}], "plain": n + "="} for n in ("24", "35", "7")]
OPEN = Task("open", lambda split: Dataset.from_list(ROWS), None, None, None, 6, None)
ODD = Task(
    "odd", lambda split: Dataset.from_list(ROWS), None,
    lambda text, row: None if row["plain"] == "7=" else len(text) % 2 == 1, len, 6, None,
    side_by_side=True,
)
"""


@pytest.fixture
def own_tasks(tmp_path, monkeypatch):
    (tmp_path / "own_tasks.py").write_text(TASK)
    monkeypatch.syspath_prepend(tmp_path)


def test_several_tasks_some_without_right_answers(trace, own_tasks, tmp_path):
    code, out, found = trace("--task", "expressions", "own_tasks.OPEN", "own_tasks.ODD")
    assert code == 0, out
    graded = {task["task"]: task["graded"] for task in found["tasks"]}
    assert graded == {"expressions": True, "open": False, "odd": True}
    _, open_task, odd = found["tasks"]
    assert "pass_at_1" not in open_task["stages"]["base"]["numbers"]
    assert odd["stages"]["base"]["numbers"]["pass_at_1"]["prompts"] == 2
    (said,) = odd["stages"]["base"]["left_out"]
    assert said == "1 prompt has samples that nobody judges: not in the rows of right answers."
    rows = [json.loads(line) for line in next((tmp_path / "out" / "samples").glob("base-open-*"))
            .read_text().splitlines()]  # fmt: skip
    assert rows[0]["prompt"] == "24="
    assert rows[0]["style"] == "text"
    assert rows[0].keys() >= {"step_entropies", "entropy", "top_mass", "logprob", "parameters"}
    assert len(rows[0]["step_entropies"]) == rows[0]["tokens"]
    assert "16 prompts of 3 tasks" in found["verdict"][1]


def test_the_prompts_that_lost_most_come_with_their_samples(trace, own_tasks):
    _, _, found = trace("--samples", "8", "--task", "own_tasks.OPEN")
    (task,) = found["tasks"]
    assert task["lost_most"]
    for one in task["lost_most"]:
        assert one["number"] == "distinct_at_k"
        assert one["value"]["base"] > one["value"]["tuned"]
        for stage in ("base", "tuned"):
            shown = one["samples"][stage]
            assert [s["count"] for s in shown] == sorted((s["count"] for s in shown), reverse=True)
            assert sum(s["count"] for s in shown) + one["more"][stage] == 8


def test_temperature_and_top_p_are_recorded_and_change_the_samples(trace, tmp_path):
    trace()
    _, out, found = trace("--temperature", "0.5", "--top-p", "0.9")
    assert "temperature 0.5, top-p 0.9, k = 4." in out
    assert found["sampling"]["temperature"] == 0.5
    settings = found["tasks"][0]["stages"]["base"]["facts"]["settings"]
    assert (settings["temperature"], settings["top_p"]) == ([0.5], [0.9])
    assert len(list((tmp_path / "out" / "samples").iterdir())) == 4


@pytest.mark.parametrize(
    ("template", "prefill"),
    [
        ("{{ messages[0]['content'] }}", "<think>\n</think>\n"),
        ("{{ messages[0]['content'] }}<think>\n", "\n</think>\n\n"),
    ],
)
def test_reasoning_is_suppressed_by_an_empty_block(template, prefill):
    names = tiny.tokenizer()
    names.chat_template = template
    asked = [{"role": "user", "content": "24="}]
    assert sampling.empty_reasoning(names, asked, "m") == prefill


def test_reasoning_cannot_be_suppressed_without_a_chat_template(trace):
    code, out, _ = trace("--no-thinking")
    assert code == 2
    assert "--no-thinking needs a conversation and a chat template" in out


def test_a_stage_without_reasoning_beside_one_with_it(trace, lineage, own_tasks, tmp_path):
    """The same weights twice; the tokenizer writes conversations."""
    folder = tmp_path / "chat"
    shutil.copytree(lineage["base"].partition("=")[2], folder)
    names = tiny.tokenizer()
    names.chat_template = "{{ messages[0]['content'] }}"
    names.save_pretrained(folder)
    code, out, found = trace(
        "--task", "own_tasks.OPEN", "--no-thinking", "quiet",
        stages=(f"loud={folder}", f"quiet={folder}"),
    )  # fmt: skip
    assert code == 0, out
    assert found["sampling"]["chain_of_thought"] == "suppressed in quiet"
    loud, quiet = found["tasks"][0]["stages"].values()
    assert loud["facts"]["settings"]["chain_of_thought"] == ["kept"]
    assert quiet["facts"]["settings"]["chain_of_thought"] == ["suppressed"]


def test_a_sample_of_vllm_is_read_like_ours():
    """Two tokens: p = .5, .3, .15 of the three that are told, then one that is certain."""

    def told(probabilities):
        return {i: SimpleNamespace(logprob=math.log(p)) for i, p in enumerate(probabilities)}

    output = SimpleNamespace(
        text="ab", token_ids=[1, 0], logprobs=[told([0.5, 0.3, 0.15]), told([1.0])]
    )
    drawn = engines.as_drawn(output)
    assert drawn.logprob == pytest.approx(math.log(0.3) / 2)
    assert drawn.top_mass == pytest.approx(0.75)
    assert drawn.step_entropies == pytest.approx([0.993268, 0.0], abs=1e-6)
    assert drawn.entropy is None, "it is not known from a few tokens"


REFUSED = {
    "temperature": (["base", "tuned"], ["--temperature", "0"], "needs to be above 0, as equal"),
    "top-p": (["base", "tuned"], ["--top-p", "1.5"], "above 0 and at most 1; got 1.5"),
    "a stage that is not there": (["base", "tuned"], ["--no-thinking", "b"], "there is no 'b'"),
    "engine": (["base", "tuned"], ["--engine", "vllm"], "needs vLLM, which is not installed"),
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
    assert "is no folder here, and the hub does not have it" in capsys.readouterr().err


@pytest.mark.slow
def test_the_losses_of_a_lineage_are_where_its_recipe_put_them(repo, tmp_path):
    """Base, SFT, DPO and GRPO from committed recipes; the losses among right answers are known."""
    words = [sys.executable, "recipes/expressions/lineage.py", "--output-dir", str(tmp_path)]
    done = subprocess.run(words, cwd=repo, capture_output=True, text=True, check=True)
    traced = done.stdout.strip().splitlines()[-1].split()
    assert main(traced[1:]) == 0
    found = json.loads((tmp_path / "trace" / "trace.json").read_text())
    (task,) = found["tasks"]
    right = {
        name: stage["numbers"]["different_pairs_correct"]["estimate"]
        for name, stage in task["stages"].items()
    }
    assert right["base"] > 0.85
    assert right["sft"] == pytest.approx(2 / 3, abs=0.03), "three answers, equally often"
    assert right["dpo"] < 0.05, "one of the three"
    assert right["grpo"] < 0.05
    sft, dpo, grpo = (
        step["differences"]["different_pairs_correct"]["estimate"]
        for step in task["against_the_stage_before"]
    )
    assert dpo < sft < -0.1
    assert abs(grpo) < 0.05
