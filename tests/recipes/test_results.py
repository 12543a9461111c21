"""What is said of the demo's results is what its recorded runs say."""

import json
from statistics import fmean

import pytest
from rich.console import Console

from divreg.bench import command, plan, summary
from divreg.tasks import runs, table


@pytest.fixture(scope="module")
def folder(repo):
    return repo / "recipes" / "expressions"


def read(folder, name):
    return json.loads((folder / "results" / name).read_text())


def test_the_demos_rate_is_the_best_of_plain_grpo_for_pass_at_1(folder):
    lines = read(folder, "rates.json")["runs"]
    assert {line["learning_rate"] for line in lines} == set(runs.RATES)
    assert {line["steps"] for line in lines} == {runs.STEPS}
    right = {
        rate: fmean(line["pass_at_1"] for line in lines if line["learning_rate"] == rate)
        for rate in runs.RATES
    }
    assert max(right, key=right.__getitem__) == runs.LEARNING_RATE


def test_every_way_to_train_had_the_same_rate_steps_and_seeds(folder):
    lines = read(folder, "table.json")["runs"]
    seeds = range(5)
    assert {(x["row"], x["seed"]) for x in lines} == {(r, s) for r in runs.ROWS for s in seeds}
    assert {(x["steps"], x["learning_rate"]) for x in lines} == {(runs.STEPS, runs.LEARNING_RATE)}


def test_the_readme_shows_the_table_that_the_results_make(folder):
    console = Console(width=80, record=True, highlight=False)
    table.print_table(console, read(folder, "table.json"))
    shown = {line.rstrip() for line in (folder / "README.md").read_text().splitlines()}
    assert {line.rstrip() for line in console.export_text().splitlines()} <= shown | {""}


BENCHMARKS = [
    *("expressions", "countdown", "expressions_sft", "expressions_dpo"),
    *("kinds", "kinds_first_round"),
]


def rates(repo, method):
    """Of every rate, and of DPO's beta, the means of the sweep over the seeds."""
    found = command.read_results(
        repo / "recipes" / "benchmarks" / "results" / f"expressions_{method}_rates.json"
    )
    configs = {row["name"]: row["config"] for row in found["rows"] if row.get("trained", True)}
    means = {}
    for row in summary.summarise(found):
        if row.name in configs:
            config = configs[row.name]
            rate = config.get("learning_rate", found["learning_rate"])
            means[rate, config.get("beta")] = row
    return means


def test_the_rate_of_sft_is_the_best_of_cross_entropy_for_pass_at_1(repo):
    means = rates(repo, "sft")
    best, _ = max(means, key=lambda key: means[key].right.value)
    planned = plan.read(repo / "recipes" / "benchmarks" / "expressions_sft.yaml")
    assert (planned.learning_rate, planned.seeds) == (best, 5)


def test_the_rate_of_dpo_has_learned_most_and_its_beta_is_right_most_often(repo):
    means = rates(repo, "dpo")
    planned = plan.read(repo / "recipes" / "benchmarks" / "expressions_dpo.yaml")
    rate, _ = min(means, key=lambda key: means[key].nats["demonstrations"].value)
    assert (planned.learning_rate, planned.seeds) == (rate, 5)
    at_it = {beta: row.right.value for (r, beta), row in means.items() if r == rate}
    assert planned.rows[0].config["beta"] == max(at_it, key=at_it.__getitem__)


@pytest.mark.parametrize("name", ["expressions_sft", "expressions_dpo"])
def test_every_way_to_fine_tune_has_five_seeds(repo, name):
    found = command.read_results(repo / "recipes" / "benchmarks" / "results" / f"{name}.json")
    seeds = {(x["row"], x["seed"]) for x in found["runs"]}
    assert seeds == {(row["name"], seed) for row in found["rows"] for seed in range(5)}


@pytest.mark.usefixtures("minilm_by_name")
@pytest.mark.parametrize("task", BENCHMARKS)
def test_the_recipes_show_the_benchmark_that_its_results_make(repo, task):
    """`divreg bench PLAN --results FILE` writes this table and says these sentences."""
    found = command.read_results(repo / "recipes" / "benchmarks" / "results" / f"{task}.json")
    rows = summary.summarise(found)
    k = found["runs"][0]["k"]
    readme = (repo / "recipes" / "README.md").read_text()
    between = readme.split(f"<!-- bench: {task} -->\n")[1].split("<!-- /bench -->")[0]
    assert command.markdown(rows, k).strip() in between
    said = " ".join(between.split())
    for sentence in command.verdict(rows, k):
        assert sentence in said
    name = task.removesuffix("_first_round")
    planned = plan.read(repo / "recipes" / "benchmarks" / f"{name}.yaml")
    assert {row["name"] for row in found["rows"]} == {row.name for row in planned.rows}
    assert {line["steps"] for line in found["runs"]} == {planned.steps}
