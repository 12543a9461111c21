"""``divreg bench`` from a plan to a page, interrupted and resumed; the trainings are few steps."""

import argparse
import json
import shutil

import pytest

from divreg import bench
from divreg.bench import command, costs
from divreg.tasks import runs, tiny

SMALL = tiny.Recipe(hidden=16, layers=1, heads=2, feedforward=32, examples=1280, batch=64)
PLAN = """
task: expressions
steps: 3
seeds: 1
samples: 32
divreg: {signals: {answer: divreg.tasks.expressions.answer, partition: by_answer}}
rows:
  GRPO: {baseline: true}
  darling: {divreg: {interventions: [darling]}}
"""


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.setenv("DIVREG_CACHE", str(tmp_path / "cache"))
    monkeypatch.setitem(tiny.RECIPES, "expressions", SMALL)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "plan.yaml").write_text(PLAN)
    for name, value in {"ROUNDS": 1, "WARM_UP": 1, "STEPS": 2}.items():
        monkeypatch.setattr(costs, name, value)
    return tmp_path


def arguments(*words):
    parser = argparse.ArgumentParser()
    bench.add_arguments(parser)
    return parser.parse_args(["plan.yaml", "--processes", "1", *words])


def test_a_benchmark_runs_writes_and_does_not_run_again(here, capsys, monkeypatch):
    monkeypatch.setattr(command, "TRIAL", 2)
    assert bench.main(arguments()) == 0
    said = capsys.readouterr().out
    assert "2 rows x 1 seeds on expressions, 3 steps each: 2 runs, 2 to do" in said
    assert "from 2 steps of the first row" in said
    output = here / "runs" / "bench-expressions"
    found = json.loads((output / "results.json").read_text())
    assert [line["row"] for line in found["runs"]] == ["grpo", "darling"]
    for line in found["runs"]:
        assert set(line["pass_at"]) == {"1", "2", "4", "8", "16", "32"}
        assert line["entropy_curve"]
    assert [line["row"] for line in found["costs"]] == ["grpo", "darling"]
    assert "| GRPO |" in (output / "table.md").read_text().replace("**", "")
    assert "darling" in (output / "pareto.html").read_text()

    monkeypatch.setattr(command.workers, "train_all", lambda *_: pytest.fail("trained again"))
    monkeypatch.setattr(command.costs, "measure", lambda *_: pytest.fail("measured again"))
    assert bench.main(arguments()) == 0
    assert "2 runs, 0 to do" in capsys.readouterr().out
    again = json.loads((output / "results.json").read_text())
    assert again == found

    shutil.rmtree(output / "runs")  # the results alone are enough
    assert bench.main(arguments()) == 0
    assert "2 runs, 0 to do" in capsys.readouterr().out
    assert bench.main(arguments("--results", str(output / "results.json"))) == 0


def test_results_of_other_rows_and_seeds_are_kept_and_other_budgets_refused(
    here, capsys, monkeypatch
):
    monkeypatch.setattr(command, "TRIAL", 2)
    (here / "plan.yaml").write_text(PLAN + "costs: false\n")
    results = here / "runs" / "bench-expressions" / "results.json"

    def runs_there():
        return [(x["row"], x["seed"]) for x in json.loads(results.read_text())["runs"]]

    assert bench.main(arguments()) == 0
    assert bench.main(arguments("--rows", "grpo", "--seeds", "2")) == 0
    assert "1 rows x 2 seeds" in (said := capsys.readouterr().out)
    assert "2 runs, 1 to do" in said
    assert "from 1 finished before" in said
    assert runs_there() == [("grpo", 0), ("darling", 0), ("grpo", 1)]
    with pytest.raises(ValueError, match=r"holds runs with steps=3; got 5.*name another"):
        bench.main(arguments("--steps", "5"))
    assert len(runs_there()) == 3
    assert not json.loads(results.read_text())["costs"]


OWN_TASK = """
import dataclasses

from divreg.tasks.task import EXPRESSIONS

TASK = dataclasses.replace(EXPRESSIONS, name="mine")
"""


def test_a_model_and_a_task_of_ones_own(here, capsys, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(here))
    (here / "my_task.py").write_text(OWN_TASK)
    folder = tiny.base_model(SMALL)
    (here / "plan.yaml").write_text(
        PLAN.replace("task: expressions", f"task: my_task.TASK\nmodel: {folder}")
        + "  base: {train: false}\n"
        + "trainer: {use_cpu: true, bf16: false, per_device_train_batch_size: 16}\ncosts: false\n"
    )
    assert bench.main(arguments("--output-dir", "out")) == 0
    found = json.loads((here / "out" / "results.json").read_text())
    assert (found["task"], found["model"]) == ("my_task.TASK", str(folder))
    assert [bool(line["entropy_curve"]) for line in found["runs"]] == [True, True, False]
    assert "my_task.TASK" in (here / "out" / "pareto.html").read_text()


TEXTS = """
task: expressions
method: sft
dataset: divreg.tasks.teacher.demonstrations
held_out: {every answer: divreg.tasks.teacher.every_answer}
steps: 2
seeds: 1
samples: 32
rows:
  CE: {baseline: true}
  base: {baseline: true, train: false}
  gem: {divreg: {interventions: [gem]}}
"""


@pytest.mark.slow
def test_losses_of_texts_are_compared_like_methods(here, capsys, monkeypatch):
    monkeypatch.setattr(command, "TRIAL", 2)
    (here / "plan.yaml").write_text(TEXTS)
    assert bench.main(arguments("--output-dir", "out")) == 0
    found = json.loads((here / "out" / "results.json").read_text())
    assert (found["method"], found["dataset"]) == ("sft", "divreg.tasks.teacher.demonstrations")
    ce, base, gem = found["runs"]
    assert [bool(line["entropy_curve"]) for line in (ce, base, gem)] == [True, False, True]
    assert len({line["held_out_nats"]["every answer"] for line in found["runs"]}) == 3
    assert [line["row"] for line in found["costs"]] == ["ce", "gem"]  # the base model costs nothing
    table = (here / "out" / "table.md").read_text()
    assert "| every answer, nats | class entropy, nats | ms a step | seeds |" in table
    assert "of them the method" not in table
    assert bench.main(arguments("--output-dir", "out")) == 0
    assert "3 runs, 0 to do" in capsys.readouterr().out


def test_data_without_a_column_stop_it_before_the_first_run(here):
    (here / "plan.yaml").write_text(
        TEXTS.replace("  gem: {", "  gem: {dataset: divreg.tasks.judge.preferences, ")
        .replace("divreg.tasks.judge.preferences", "divreg.tasks.expressions.dataset")
    )  # fmt: skip
    with pytest.raises(ValueError, match=r"row 'gem': sft needs rows with .*has no completion"):
        bench.main(arguments("--output-dir", "out"))


def test_an_interrupted_benchmark_keeps_what_is_done(here, capsys, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(command.workers, "train_all", interrupted)
    assert bench.main(arguments()) == 130
    assert "finished runs are kept" in capsys.readouterr().out


def test_a_row_that_cannot_act_stops_it_before_the_first_run(here):
    (here / "plan.yaml").write_text(PLAN.replace("[darling]", "[kl_cov]"))
    with pytest.raises(ValueError, match=r"row 'darling': .*num_iterations"):
        bench.main(arguments())


@pytest.mark.parametrize("words", [("--seeds", "0"), ("--steps", "-1"), ("--processes", "0")])
def test_bad_numbers_are_refused(here, words):
    with pytest.raises(ValueError, match=f"{words[0]} needs at least 1"):
        bench.main(arguments(*words))


def test_results_that_are_none_are_refused(here):
    (here / "x.json").write_text("[]")
    with pytest.raises(ValueError, match=r"results with runs; x\.json has none"):
        bench.main(arguments("--results", "x.json"))


def test_every_row_of_the_plans_can_be_built(here, repo):
    base = tiny.base_model(SMALL)
    chosen = command.plan.read(repo / "recipes" / "benchmarks" / "expressions.yaml")
    for row in chosen.rows:
        runs.rehearse(runs.Run(row), base, here / "out")


@pytest.mark.parametrize("method", ["sft", "dpo"])
def test_every_way_to_fine_tune_can_be_built(here, repo, method, monkeypatch):
    from divreg.tasks import judge

    base = tiny.base_model(SMALL)
    for name in ("preferences", "best_and_worst", "divpo_by_range", "divpo_by_count"):
        monkeypatch.setattr(judge, name, pairs)
    chosen = command.plan.read(repo / "recipes" / "benchmarks" / f"expressions_{method}.yaml")
    for row in chosen.rows:
        runs.rehearse(chosen.run(row, 0), base, here / "out")


def pairs(split, seed=0):
    from datasets import Dataset

    row = {"prompt": "24=", "chosen": "3*8", "rejected": "3*9", "weight": 1.0}
    return Dataset.from_list([row] * 4)


def test_rloo_is_compared_as_grpo_is(here):
    (here / "plan.yaml").write_text(PLAN.replace("steps: 3", "steps: 3\nmethod: rloo"))
    chosen = command.plan.read("plan.yaml")
    for row in chosen.rows:
        runs.rehearse(chosen.run(row, 0), tiny.base_model(SMALL), here / "out")
