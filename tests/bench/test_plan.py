"""A plan reads what it says, and refuses what cannot be with the cure."""

from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from divreg.bench import plan
from divreg.methods import METHODS
from divreg.tasks import runs
from divreg.tasks.task import EXPRESSIONS, TASKS

PLANS = Path(__file__).resolve().parents[2] / "recipes" / "benchmarks"


@pytest.fixture
def write(tmp_path):
    def write(**changes):
        document = {"task": "expressions", "rows": {"GRPO": {"baseline": True}}, **changes}
        path = tmp_path / "plan.yaml"
        path.write_text(yaml.safe_dump(document, sort_keys=False))
        return path

    return write


def test_rows_take_the_common_settings_and_blocks(write):
    read = plan.read(
        write(
            seeds=3,
            trainer={"temperature": 0.9},
            divreg={"signals": {"partition": "by_text"}},
            rows={
                "GRPO": {"baseline": True},
                "Entropy, 0.1": {"entropy_coef": 0.1},
                "ours": {"divreg": {"interventions": ["darling"]}},
            },
        )
    )
    grpo, entropy, ours = read.rows
    assert (grpo.name, grpo.divreg, grpo.config) == ("grpo", None, {"temperature": 0.9})
    assert (entropy.name, entropy.config["entropy_coef"]) == ("entropy-0.1", 0.1)
    assert ours.divreg == {"signals": {"partition": "by_text"}, "interventions": ["darling"]}
    assert read.baselines == {"grpo"}
    assert [(r.row.name, r.seed) for r in read.runs()][:4] == [
        ("grpo", 0), ("entropy-0.1", 0), ("ours", 0), ("grpo", 1),
    ]  # fmt: skip


def test_a_task_that_cannot_be_trained_on_is_refused(write, monkeypatch):
    open_ = replace(EXPRESSIONS, name="stories", reward=None, is_correct=None, answer=None)
    monkeypatch.setitem(TASKS, "stories", open_)
    with pytest.raises(ValueError, match="needs a task that has reward; stories has none"):
        plan.read(write(task="stories"))
    monkeypatch.setitem(TASKS, "bare", replace(EXPRESSIONS, name="bare", model=None))
    with pytest.raises(ValueError, match="as bare has none of its own"):
        plan.read(write(task="bare"))
    assert plan.read(write(task="bare", model="my/model")).model == "my/model"


def test_an_encoder_is_a_part_of_what_runs_are_called(write):
    row = plan.read(write()).rows[0]
    plain, embedded = (plan.read(write(**more)) for more in ({}, {"encoder": "a/b"}))
    assert embedded.run(row, 0).encoder == embedded.budget["encoder"] == "a/b"
    assert embedded.run(row, 0).hash("m") != plain.run(row, 0).hash("m")
    assert "encoder" not in plain.budget
    assert plain.costs
    assert not plan.read(write(costs=False)).costs


@pytest.mark.parametrize("path", sorted(PLANS.glob("*.yaml")), ids=lambda p: p.stem)
@pytest.mark.usefixtures("minilm_by_name")
def test_every_plan_that_is_shipped_is_read(path):
    read = plan.read(path)
    first = read.rows[0]
    assert first.name in read.baselines
    assert (read.model is None) == (read.task != "kinds-short")


def test_only_keeps_the_first_row_to_compare_with(write):
    read = plan.read(write(rows={"a": {}, "b": {}, "c": {}}))
    assert [r.name for r in read.only(["c"]).rows] == ["a", "c"]
    with pytest.raises(ValueError, match="no row 'd'; it takes a, b, c"):
        read.only(["d"])


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"taks": 1}, "no key 'taks'.*Did you mean 'task'"),
        ({"task": "expresions"}, "there is no task 'expresions'.*Did you mean 'expressions'"),
        ({"task": "mine"}, "Or the dotted path of a Task"),
        ({"task": "math.pi"}, "needs to be a divreg.tasks.task.Task; got float"),
        ({"rows": {}}, "needs rows; got {}"),
        ({"rows": {"A b": {}, "a-b": {}}}, "two rows alike"),
        ({"rows": {"GRPO": {"entropy_coeff": 1}}}, "Did you mean 'entropy_coef'"),
        ({"rows": {"x": {"divreg": {"interventions": ["darlin"]}}}}, "Did you mean 'darling'"),
        ({"rows": {"GRPO": 3}}, "row 'GRPO' needs settings; got 3"),
        ({"seeds": 0}, "seeds needs at least 1; got 0"),
        ({"costs": "no"}, "costs needs true or false; got 'no'"),
    ],
)
def test_a_wrong_plan_is_refused_with_the_cure(write, changes, says):
    with pytest.raises(ValueError, match=says):
        plan.read(write(**changes))


TEXTS = {"method": "sft", "dataset": "divreg.tasks.teacher.demonstrations"}
PAIRS = {"method": "dpo", "dataset": "divreg.tasks.judge.preferences"}


def test_texts_and_pairs_are_named_for_all_rows_or_for_one(write):
    read = plan.read(
        write(
            **TEXTS,
            held_out={"every answer": "divreg.tasks.teacher.every_answer"},
            rows={
                "CE": {"baseline": True},
                "base": {"train": False},
                "other": {"dataset": "divreg.tasks.expressions.demonstrations"},
                "DFT": {"loss_type": "dft"},
                "gem": {"divreg": {"interventions": ["gem"]}},
            },
        )
    )
    ce, base, other, dft, _ = (read.run(row, 0) for row in read.rows)
    assert ce.learns_from == "divreg.tasks.teacher.demonstrations"
    assert other.learns_from == "divreg.tasks.expressions.demonstrations"
    assert not base.row.trained
    assert (ce.settings["per_device_train_batch_size"], dft.settings["loss_type"]) == (32, "dft")
    assert "num_generations" not in ce.settings
    assert len({run.hash("m") for run in (ce, base, other, dft)}) == 4
    assert plan.read(write(**TEXTS)).run(ce.row, 0).hash("m") != ce.hash("m")  # nothing held out


def test_a_file_of_pairs_is_known_by_what_it_holds(write, tmp_path):
    path = tmp_path / "pairs.jsonl"
    hashes = []
    for text in ("{}", "{} "):
        path.write_text(text)
        read = plan.read(write(**{**PAIRS, "dataset": str(path)}))
        hashes.append(read.run(read.rows[0], 0).hash("m"))
    assert hashes[0] != hashes[1]


def test_nothing_of_this_changes_what_a_run_of_grpo_is_called():
    """Published results are known by their hashes."""
    assert runs.Run(runs.PLAIN).hash("base") == runs.Run(runs.PLAIN, method="grpo").hash("base")
    assert runs.Run(runs.PLAIN).hash("expressions-tiny") == "bb68896b"


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"method": "sftt"}, "no method 'sftt'.*Did you mean 'sft'"),
        ({"method": "sft"}, "sft needs a dataset; row 'GRPO' has none.*prompt, completion"),
        ({"dataset": "x.y"}, "grpo learns from prompts and the reward.*method: sft"),
        ({"rows": {"a": {"dataset": "x.y"}}}, "grpo learns from prompts.*got dataset 'x.y'"),
        ({**TEXTS, "dataset": "none.jsonl"}, "needs to be a file; there is none"),
        ({**TEXTS, "dataset": "divreg.tasks.teacher.demos"}, "divreg.tasks.teacher"),
        ({**TEXTS, "held_out": "x.y"}, "held_out needs data sets by the head of their column"),
        ({**TEXTS, "rows": {"a": {"num_generations": 4}}}, "no key 'num_generations'"),
        ({**TEXTS, "rows": {"a": {"train": False, "seed": 1}}}, "got seed beside it"),
    ],
)
def test_wrong_data_are_refused_with_the_cure(write, changes, says):
    with pytest.raises(ValueError, match=says):
        plan.read(write(**changes))


@pytest.mark.parametrize("method", ["sft", "dpo"])
def test_the_plans_of_fine_tuning_have_every_loss(repo, method):
    from divreg.losses import LOSSES, OPTIONS

    read = plan.read(repo / "recipes" / "benchmarks" / f"expressions_{method}.yaml")
    text = str([row.divreg for row in read.rows])
    of_pairs = {"ddpo", "dorpo"}
    wanted = of_pairs | set(OPTIONS) if method == "dpo" else set(LOSSES) - of_pairs
    elsewhere = {"dft", "anchored"}  # TRL's own, among the baselines; recipes/glosses
    assert {f for f in wanted if f"'{f}'" not in text} <= elsewhere
    assert read.rows[0].name in read.baselines


@pytest.mark.parametrize("name", ["expressions", "expressions_hard", "countdown"])
def test_the_plans_of_the_recipes_have_every_method(repo, name):
    read = plan.read(repo / "recipes" / "benchmarks" / f"{name}.yaml")
    text = str([row.divreg for row in read.rows])
    assert {f for f in METHODS if f"'{f}'" not in text} <= {"entropy_bonus"}  # TRL's own, above
    assert read.rows[0].label == "GRPO"
    assert read.rows[0].name in read.baselines
