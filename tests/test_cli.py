"""The command line as a user types it: exit codes, one-sentence errors, and a real small run."""

import json
import os
import subprocess
import sys

import pytest
import yaml

from divreg import cli


def divreg(*words, capsys):
    """Run a command in this process: exit code, what it said on stdout, and on stderr."""
    try:
        code = cli.main([str(w) for w in words])
    except SystemExit as stop:
        code = stop.code
    said = capsys.readouterr()
    return code, said.out, said.err


def test_help_lists_the_commands(capsys):
    for words in ([], ["--help"]):
        code, out, _ = divreg(*words, capsys=capsys)
        assert code == 0
        names = ["check", "demo", "grpo", "rloo", "sft", "dpo", "report", "calibrate", "pairs"]
        names += ["annotate", "methods", "env"]
        for command in names:
            assert f"\n    {command}" in out


@pytest.mark.parametrize(
    "command", ["demo", "report", "calibrate", "pairs", "annotate", "methods", "env"]
)
def test_every_command_has_help(command, capsys):
    code, out, _ = divreg(command, "--help", capsys=capsys)
    assert code == 0
    assert out.startswith(f"usage: divreg {command}")


def test_an_unknown_command_is_bad_input_with_a_suggestion(capsys):
    code, _, err = divreg("reprot", "x", capsys=capsys)
    assert code == 2
    assert "Did you mean 'report'?" in err


def test_an_unknown_option_is_bad_input(capsys):
    code, _, err = divreg("methods", "--markdwon", capsys=capsys)
    assert code == 2
    assert err.count("\n") == 1


def test_methods_shows_every_method(capsys):
    from divreg.losses import LOSSES, OPTIONS
    from divreg.methods import METHODS

    code, out, _ = divreg("methods", "--markdown", capsys=capsys)
    assert code == 0
    for name in (*METHODS, *LOSSES, *OPTIONS):
        assert f"| `{name}` |" in out
    assert all(line.count("|") == 6 for line in out.strip().splitlines())
    code, out, _ = divreg("methods", capsys=capsys)
    assert code == 0
    assert "darling" in out


def test_env_names_versions_and_the_tested_range(capsys):
    code, out, _ = divreg("env", capsys=capsys)
    assert code == 0
    for name in ("divreg: 0.1.0", "torch: ", "trl: ", "trl, tested: 1.16", "devices: "):
        assert f"- {name}" in out


def test_a_report_on_nothing_is_bad_input(tmp_path, capsys):
    for path in (tmp_path, tmp_path / "missing"):
        code, _, err = divreg("report", path, capsys=capsys)
        assert code == 2
        assert err.startswith("divreg")
        assert err.count("\n") == 1


@pytest.fixture
def recipe(tmp_path, tiny_checkpoint, monkeypatch):
    """``recipe(**keys)``: a recipe file in the working directory, with a module of rewards."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine_for_cli.py").write_text(
        "def data(split):\n"
        "    from datasets import Dataset\n"
        "    return Dataset.from_dict({'prompt': [f'{split} {i} ' for i in range(8)]})\n\n\n"
        "def even(completions, **kwargs):\n"
        "    return [float(len(c) % 2) for c in completions]\n"
    )

    def write(**keys):
        base = {
            "model_name_or_path": tiny_checkpoint,
            "dataset_name": "mine_for_cli.data",
            "reward_funcs": ["mine_for_cli.even"],
            "output_dir": str(tmp_path / "run"),
            "use_cpu": True,
            "bf16": False,
            "max_steps": 1,
            "logging_steps": 1,
            "per_device_train_batch_size": 4,
            "num_generations": 4,
            "max_completion_length": 6,
            "report_to": "none",
            "save_strategy": "no",
        }
        path = tmp_path / "recipe.yaml"
        path.write_text(yaml.safe_dump({**base, **keys}))
        return path

    return write


MISTAKES = {
    "key": ({"learnin_rate": 1e-3}, (), "Did you mean 'learning_rate'?"),
    "argument": ({}, ("--learnin_rate", "1"), "Did you mean 'learning_rate'?"),
    "value": ({"learning_rate": "fast"}, (), "invalid float value"),
    "method": ({"divreg": {"interventions": ["darlin"]}}, (), "Did you mean 'darling'?"),
    "block": ({"divreg": {"interventoins": []}}, (), "Did you mean 'interventions'?"),
    "missing signal": (
        {"divreg": {"interventions": ["darling"], "signals": {"partition": "by_answer"}}},
        (),
        "'answer'",
    ),
    "group of one": ({"num_generations": 1}, (), "at least 2 generations per prompt"),
    "aggregation": (
        {
            "divreg": {"interventions": ["darling"]},
            "multi_objective_aggregation": "normalize_then_sum",
        },
        (),
        "sum_then_normalize",
    ),
    "reward": ({"reward_funcs": ["acuracy_reward"]}, (), "Did you mean 'accuracy_reward'?"),
    "reward's name": ({"reward_funcs": ["mine_for_cli.evn"]}, (), "Did you mean 'even'?"),
    "no reward": ({"reward_funcs": None}, (), "needs a reward"),
    "no data": ({"dataset_name": None}, (), "needs data"),
    "no model": ({"model_name_or_path": None}, (), "needs a model"),
    "half a name": ({}, ("--learning_rat", "3"), "Did you mean 'learning_rate'?"),
    "launcher": ({}, ("--accelerate_config", "zero22"), "Did you mean 'zero2'?"),
}


@pytest.mark.parametrize(("keys", "words", "cure"), MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_in_a_recipe_is_one_sentence_before_training(keys, words, cure, recipe, capsys):
    code, _, err = divreg("grpo", "--config", recipe(**keys), *words, capsys=capsys)
    assert code == 2
    assert cure in err
    assert err.startswith("divreg: ")
    assert err.count("\n") == 1


def test_config_without_a_path_is_bad_input(capsys):
    code, _, err = divreg("rloo", "--config", capsys=capsys)
    assert code == 2
    assert "--config needs a path" in err


def test_overrides_win_over_the_recipe(recipe):
    from divreg.trainers.recipe import parse

    path = recipe(learning_rate=1e-3, divreg={"interventions": []})
    words = ["--config", str(path), "--learning_rate", "0.5", "--divreg", '{"monitor": true}']
    parsed = parse("grpo", words)
    assert parsed.config.learning_rate == 0.5
    assert parsed.config.divreg == {"monitor": True}
    assert parsed.config.max_steps == 1


def test_arguments_of_the_launcher_are_told_from_trls(recipe, repo):
    from divreg.trainers.recipe import read

    zero2 = repo / "recipes" / "accelerate_configs" / "zero2.yaml"
    path = recipe(num_processes=2, accelerate_config="zero3", multi_gpu=True, debug=False)
    words = ["--config", str(path), "--accelerate_config", str(zero2), "--num_processes", "4"]
    names = read("grpo", words)
    chosen = ["--config_file", str(zero2), "--multi_gpu", "--num_processes", "2"]
    assert names.launch == [*chosen, "--num_processes", "4"]
    assert names.passed == ["--config", str(path)]


def test_names_of_trls_launch_configurations_work(recipe):
    from divreg.trainers.recipe import read

    names = read("rloo", ["--config", str(recipe()), "--accelerate_config", "zero2"])
    assert names.launch[0] == "--config_file"
    assert names.launch[1].endswith("zero2.yaml")


@pytest.mark.parametrize("method", ["grpo", "rloo"])
def test_a_recipe_trains_in_this_process(method, recipe, tmp_path, capsys):
    path = recipe(divreg={"interventions": ["darling"], "monitor": True})
    code, out, err = divreg(method, "--config", path, capsys=capsys)
    assert code == 0, err
    assert (tmp_path / "run" / "model.safetensors").is_file()
    assert (tmp_path / "run" / "divreg" / "events.jsonl").is_file()
    assert "divreg report" in out


def test_a_recipe_of_texts_trains_in_this_process(recipe, tmp_path, capsys):
    folder = tmp_path / "data"
    folder.mkdir()
    rows = [json.dumps({"prompt": f"{i}+1=", "completion": str(i + 1)}) for i in range(8)]
    (folder / "train.jsonl").write_text("\n".join(rows))
    theirs = dict.fromkeys(("reward_funcs", "num_generations", "max_completion_length"))
    monitor = {"probe_prompts": ["1+1="], "probe_samples": 2, "probe_tokens": 4}
    divregs = {"interventions": [{"gem": {"beta": 0.8}}], "monitor": monitor}
    path = recipe(dataset_name=str(folder), divreg=divregs, **theirs)
    code, out, err = divreg("sft", "--config", path, capsys=capsys)
    assert code == 2
    assert "divreg sft has no argument 'max_completion_length'" in err
    keys = {k: v for k, v in yaml.safe_load(path.read_text()).items() if k not in theirs}
    path.write_text(yaml.safe_dump(keys))
    code, out, err = divreg("sft", "--config", path, capsys=capsys)
    assert code == 0, err
    assert "divreg report" in out


def test_a_local_folder_and_lora_work_as_in_trl(recipe, tmp_path, capsys):
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / "train.jsonl").write_text('{"prompt": "1+1="}\n{"prompt": "1+2="}\n')
    lora = {"use_peft": True, "lora_r": 2, "lora_target_modules": ["q_proj", "v_proj"]}
    path = recipe(dataset_name=str(folder), **lora)
    code, _, err = divreg("grpo", "--config", path, capsys=capsys)
    assert code == 0, err
    assert (tmp_path / "run" / "adapter_model.safetensors").is_file()


@pytest.mark.parametrize("method", ["grpo", "rloo", "sft", "dpo"])
def test_training_help_lists_trls_arguments_and_ours(method, capsys):
    code, out, _ = divreg(method, "--help", capsys=capsys)
    assert code == 0
    assert f"usage: divreg {method}" in out
    for name in ("--divreg", "--learning_rate", "--accelerate_config"):
        assert name in out
    assert ("--reward_funcs" in out) == (method in ("grpo", "rloo"))


def test_two_processes_train_through_the_launcher(recipe, tmp_path, repo):
    launch = repo / "recipes" / "accelerate_configs" / "cpu2.yaml"
    split = {"num_generations": 8}  # a group straddles the two processes
    path = recipe(divreg={"interventions": ["darling"], "monitor": True}, **split)
    words = ["grpo", "--config", str(path), "--accelerate_config", str(launch)]
    done = subprocess.run(
        [sys.executable, "-m", "divreg", *words],
        cwd=tmp_path,
        env={**os.environ, "COLUMNS": "100"},
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    events = (tmp_path / "run" / "divreg" / "events.jsonl").read_text()
    assert '"world_size":2' in events.replace(" ", "")
