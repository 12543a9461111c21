"""Every shipped recipe is read from its real path, checked, built, and trained for a step."""

import re
from pathlib import Path

import pytest
import yaml

from divreg import spec
from divreg.trainers import recipe

RECIPES = Path(__file__).resolve().parents[2] / "recipes"
LAUNCHERS = sorted((RECIPES / "accelerate_configs").glob("*.yaml"))
PLANS = sorted((RECIPES / "benchmarks").glob("*.yaml"))  # read in tests/bench
SHIPPED = [p for p in sorted(RECIPES.rglob("*.yaml")) if p not in LAUNCHERS + PLANS]
TINY = [p for p in SHIPPED if p.parent.name == "tiny"]
OF_THE_DEMO = [p for p in TINY if not p.name.startswith(("sft_", "dpo_"))]
REAL = [p for p in SHIPPED if p.parent.name != "tiny"]
OF_PAIRS = [p for p in REAL if "ultrafeedback" in p.parts]
OF_TEXTS = [p for p in REAL if {"tulu3", "infinity_chat"} & set(p.parts)]
OF_KINDS = [p for p in REAL if "smollm2" in p.parts]
OF_ROLLOUTS = [p for p in REAL if p not in OF_PAIRS + OF_TEXTS + OF_KINDS]


def ids(path):
    return path.relative_to(RECIPES).as_posix()


def command(path):
    """The launch line that the recipe's header gives, on one line."""
    comments = [line.lstrip("# ") for line in path.read_text().splitlines() if line[:1] == "#"]
    text = " ".join(comments).replace("\\ ", "")
    return re.search(r"divreg (grpo|rloo|sft|dpo) --config (\S+)([^.]*)", text)


def test_there_are_recipes():
    assert len(TINY) >= 7
    assert len(REAL) >= 2


@pytest.mark.parametrize("path", SHIPPED, ids=ids)
def test_a_recipe_names_its_own_launch_line_and_parses(path):
    launch = command(path)
    assert launch, "the header gives the launch line"
    assert launch[2] == f"recipes/{ids(path)}"
    words = ["--config", str(path), "--use_cpu", "true", "--bf16", "false"]
    recipe.check_names(launch[1], recipe.read(launch[1], words).values)
    parsed = recipe.parse(launch[1], words)
    recipe.check_plan(launch[1], parsed.config)
    assert parsed.config.output_dir.startswith("runs/")


@pytest.mark.parametrize("path", SHIPPED, ids=ids)
def test_a_recipe_differs_from_its_baseline_in_what_divreg_does_only(path):
    prefix = next((p for p in ("rloo_", "sft_", "dpo_") if path.name.startswith(p)), "")
    baseline = yaml.safe_load((path.parent / f"{prefix}none.yaml").read_text())
    ours = yaml.safe_load(path.read_text())
    assert baseline["divreg"].pop("interventions") == []
    ours["divreg"].pop("interventions")
    ours["divreg"].pop("spl", None)
    for settings in (baseline, ours):
        settings.pop("output_dir")
    assert ours == baseline


@pytest.mark.parametrize("path", OF_THE_DEMO, ids=ids)
def test_a_tiny_recipe_has_the_settings_of_the_demo(path):
    from divreg.tasks import runs

    settings = runs.Run(runs.PLAIN).settings
    ours = yaml.safe_load(path.read_text())
    assert {key: ours[key] for key in settings} == settings


def train(path, tmp_path, monkeypatch, *words):
    monkeypatch.chdir(tmp_path)
    method = command(path)[1]
    parsed = recipe.parse(
        method,
        [
            *("--config", str(path), "--output_dir", str(tmp_path / "run"), "--use_cpu", "true"),
            *("--max_steps", "1", "--logging_steps", "1", "--save_strategy", "no"),
            *("--bf16", "false", *words),
        ],
    )
    trainer = recipe.build(method, parsed)
    trainer.train()
    return trainer


@pytest.mark.parametrize("path", TINY, ids=ids)
def test_a_tiny_recipe_trains(path, tiny_checkpoint, tmp_path, monkeypatch):
    words = ("--model_name_or_path", tiny_checkpoint, "--per_device_train_batch_size", "16")
    trainer = train(path, tmp_path, monkeypatch, *words)
    assert trainer.state.global_step == 1
    wanted = spec.load(path).interventions
    assert len(trainer.pipeline.methods) == len(wanted or [])
    assert (tmp_path / "run" / "divreg" / "events.jsonl").is_file()


def rows(split):
    """Two rows in the shape of openai/gsm8k, prepared as the recipe's data set prepares them."""
    from datasets import Dataset

    from divreg.tasks import gsm8k

    assert split == "train"
    raw = [
        {"question": "Tom has 3 apples and buys 4. How many?", "answer": "3+4=<<3+4=7>>7\n#### 7"},
        {"question": "What is 12 hundred?", "answer": "12*100=1200\n#### 1,200"},
    ]
    return Dataset.from_list([gsm8k.row(r) for r in raw])


@pytest.mark.parametrize("path", OF_ROLLOUTS, ids=ids)
def test_a_real_recipe_builds_and_steps(path, tiny_checkpoint, tmp_path, monkeypatch):
    """The recipe's own pipeline, rewards and prompts; a tiny model, and rows instead of the hub."""
    import divreg.tasks.gsm8k

    monkeypatch.setattr(divreg.tasks.gsm8k, "dataset", rows)
    words = ("--model_name_or_path", tiny_checkpoint, "--dtype", "float32")
    sizes = ("--per_device_train_batch_size", "8", "--gradient_accumulation_steps", "1")
    trainer = train(path, tmp_path, monkeypatch, *words, *sizes, "--max_completion_length", "8")
    assert trainer.reward_func_names[0] == "accuracy_reward"
    logged = [row for row in trainer.state.log_history if "reward" in row]
    assert logged[0]["reward"] == 0.0


def pairs():
    """Eight pairs in the shape of trl-lib/ultrafeedback_binarized."""
    from datasets import Dataset

    def talk(i, text):
        question = {"role": "user", "content": f"Name {i} animals."}
        return [question, {"role": "assistant", "content": text}]

    rows = [
        {
            "chosen": talk(i, "A cat. " * i),
            "rejected": talk(i, "No."),
            "score_chosen": 8.0,
            "score_rejected": 2.0,
        }
        for i in range(1, 9)
    ]
    return {"train": Dataset.from_list(rows), "test": Dataset.from_list(rows[:2])}


@pytest.mark.parametrize("path", OF_PAIRS, ids=ids)
def test_a_real_recipe_of_pairs_builds_and_steps(path, tiny_checkpoint, tmp_path, monkeypatch):
    import datasets

    asked = []
    monkeypatch.setattr(datasets, "load_dataset", lambda path, **_: asked.append(path) or pairs())
    words = ("--model_name_or_path", tiny_checkpoint, "--dtype", "float32")
    sizes = ("--per_device_train_batch_size", "4", "--gradient_accumulation_steps", "1")
    trainer = train(path, tmp_path, monkeypatch, *words, *sizes)
    assert asked == ["trl-lib/ultrafeedback_binarized"]
    logged = [row for row in trainer.state.log_history if "rewards/margins" in row]
    assert "diversity/top_mass_frac_chosen" in logged[0]
    assert trainer.beta == (0.15 if path.name == "spl.yaml" else 0.1)


def conversations():
    """Four rows in the shape of allenai/tulu-3-sft-mixture."""
    from datasets import Dataset

    rows = [
        {
            "id": str(i),
            "messages": [
                {"role": "user", "content": f"Name {i} animals."},
                {"role": "assistant", "content": "A cat. " * i},
            ],
            "source": "nobody",
        }
        for i in range(1, 5)
    ]
    return {"train": Dataset.from_list(rows)}


@pytest.mark.parametrize("path", OF_TEXTS, ids=ids)
def test_a_real_recipe_of_texts_builds_and_steps(path, tiny_checkpoint, tmp_path, monkeypatch):
    import datasets

    asked = []
    loaded = lambda path, **_: asked.append(path) or conversations()  # noqa: E731
    monkeypatch.setattr(datasets, "load_dataset", loaded)
    words = ("--model_name_or_path", tiny_checkpoint, "--dtype", "float32")
    sizes = ("--per_device_train_batch_size", "2", "--gradient_accumulation_steps", "1")
    trainer = train(path, tmp_path, monkeypatch, *words, *sizes)
    assert asked[0] in ("allenai/tulu-3-sft-mixture", "liweijiang/infinite-chats-taxonomy")
    logged = [row for row in trainer.state.log_history if "loss" in row]
    assert ("diversity/ce_nats" in logged[0]) == (path.name == "gem.yaml")


@pytest.mark.parametrize("path", OF_KINDS, ids=ids)
def test_a_stage_of_the_lineage_builds_and_steps(path, tiny_checkpoint, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(RECIPES.parent)
    words = ("--model_name_or_path", tiny_checkpoint, "--dtype", "float32")
    trainer = train(path, tmp_path, monkeypatch, *words, "--per_device_train_batch_size", "16")
    assert trainer.state.global_step == 1
    assert len(trainer.pipeline.methods) == len(spec.load(path).interventions or [])


def test_gold_and_completion_meet_in_math_verify():
    from trl.rewards import accuracy_reward

    solutions = rows("train")["solution"]
    texts = ["so \\boxed{7}", "that is $\\boxed{1{,}200}$"]
    completions = [[{"role": "assistant", "content": text}] for text in texts]
    assert accuracy_reward(completions, list(solutions)) == [1.0, 1.0]


@pytest.mark.parametrize("path", LAUNCHERS, ids=ids)
def test_accelerate_reads_every_launch_configuration(path, monkeypatch):
    from accelerate.commands.config.config_args import load_config_from_file

    monkeypatch.chdir(RECIPES.parent)
    config = load_config_from_file(str(path))
    text = path.read_text()
    assert config.num_processes == (1 if path.stem == "single_gpu" else 2)
    assert str(config.distributed_type).rpartition(".")[2] in text


def test_the_names_of_trl_are_shipped():
    assert {"single_gpu", "multi_gpu", "zero1", "zero2", "zero3"} <= {p.stem for p in LAUNCHERS}
