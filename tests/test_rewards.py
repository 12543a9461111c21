"""The zero-weight probe: alone, and named on the command line of a real ``trl grpo`` process."""

import json
import logging
import os
import sqlite3
import subprocess
import sys

import pytest

from divreg import rewards
from divreg.history import read
from divreg.rewards import Watcher, probe


@pytest.fixture(autouse=True)
def fresh(monkeypatch, tmp_path):
    monkeypatch.setattr(rewards, "_WATCHERS", {})
    monkeypatch.setenv("DIVREG_OUTPUT", str(tmp_path / "out"))
    monkeypatch.delenv("DIVREG_GROUP", raising=False)


class State:
    def __init__(self, step, logging_steps=1):
        self.global_step, self.logging_steps = step, logging_steps


def rollout(*groups):
    texts = [g.split() for g in groups]
    return [f"p{i}" for i, g in enumerate(texts) for _ in g], [t for g in texts for t in g]


def test_it_rewards_nothing_and_logs():
    logged = {}
    prompts, completions = rollout("a b c d", "e e e e")
    assert probe(prompts, completions, log_metric=logged.__setitem__) == [None] * 8
    assert logged["diversity/distinct_classes"] == 2.5
    assert logged["monitor/health"] == 0


def test_records_are_read_by_the_report(tmp_path):
    for step in range(3):
        prompts, completions = rollout("a b c d", "e e f e")
        probe(prompts, completions, [[1, 2]] * 8, State(step))
    history = read(tmp_path / "out")
    assert [row["step"] for row in history.steps] == [1, 2, 3]
    assert history.completion_steps == [1, 2, 3]
    assert history.steps[0]["signals"]["mean_length_tokens"] == 2


def test_runs_of_equal_prompts_tell_the_group_size():
    watcher = Watcher("unused")
    assert watcher.group_size(["a"] * 4 + ["b"] * 4) == 4
    assert watcher.group_size(["a"] * 8) == 4  # the same prompt twice


def test_it_never_guesses_when_runs_disagree(caplog, monkeypatch):
    mixed = ["a"] * 4 + ["b"] * 8
    with caplog.at_level(logging.WARNING, logger="divreg"):
        assert probe(mixed, ["x"] * 12) == [None] * 12
        assert probe(mixed, ["x"] * 12) == [None] * 12
    assert caplog.text.count("Set DIVREG_GROUP") == 1
    monkeypatch.setattr(rewards, "_WATCHERS", {})
    monkeypatch.setenv("DIVREG_GROUP", "4")
    logged = {}
    probe(mixed, ["x"] * 12, log_metric=logged.__setitem__)
    assert logged["diversity/distinct_frac"] == 0.25


def test_a_group_size_that_is_none_is_refused(monkeypatch):
    monkeypatch.setenv("DIVREG_GROUP", "many")
    with pytest.raises(ValueError, match="DIVREG_GROUP=8"):
        probe(["a"], ["b"])


def test_alerts_name_the_evidence_that_is_missing(caplog, tmp_path):
    varied = "abcdefgh"
    with caplog.at_level(logging.WARNING, logger="divreg"):
        for step in range(40):
            texts = " ".join(varied) if step < 12 else " ".join("aaaaaaaa")
            probe(*rollout(texts), None, State(step))
    assert "collapsed" in caplog.text
    assert "not known: token entropy, pass@1 and pass@k" in caplog.text
    assert [a["kind"] for a in read(tmp_path / "out").alerts] == ["narrowing", "collapsed"]


def test_importing_it_loads_no_torch(repo):
    code = "import sys, divreg.rewards; assert not {'torch', 'trl'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=repo)


REWARD = """
def letters(completions, **_):
    return [float(c[:1].isalpha()) for c in completions]
"""


def test_a_real_trl_grpo_process(tiny_checkpoint, tmp_path, repo):
    """No line of code: TensorBoard's event files, trackio's store and our records, read back."""
    accumulator = pytest.importorskip(
        "tensorboard.backend.event_processing.event_accumulator"
    ).EventAccumulator
    pytest.importorskip("trackio")
    (tmp_path / "my_rewards.py").write_text(REWARD)
    data = tmp_path / "data"
    data.mkdir()
    lines = [json.dumps({"prompt": f"What is {i} plus {i}? "}) for i in range(16)]
    (data / "train.jsonl").write_text("\n".join(lines))
    out = tmp_path / "run"
    recipe = {
        "model_name_or_path": tiny_checkpoint,
        "dataset_name": str(data),
        "reward_funcs": ["my_rewards.letters", "divreg.rewards.probe"],
        "output_dir": str(out),
        "use_cpu": True,
        "bf16": False,
        "dtype": "float32",
        "max_steps": 3,
        "logging_steps": 1,
        "per_device_train_batch_size": 8,
        "num_generations": 4,
        "max_completion_length": 8,
        "report_to": ["tensorboard", "trackio"],
        "run_name": "probed",
        "project": "mine",
        "save_strategy": "no",
    }
    (tmp_path / "grpo.yaml").write_text(json.dumps(recipe))
    trl = "import sys; from trl.cli import main; sys.argv[0] = 'trl'; sys.exit(main())"
    command = [sys.executable, "-c", trl, "grpo", "--config", str(tmp_path / "grpo.yaml")]
    environment = {
        **{k: v for k, v in os.environ.items() if not k.startswith("DIVREG_")},
        "PYTHONPATH": f"{tmp_path}{os.pathsep}{repo}",
        "TENSORBOARD_LOGGING_DIR": str(tmp_path / "board"),
        "TRACKIO_DIR": str(tmp_path / "trackio"),
        "CUDA_VISIBLE_DEVICES": "",
    }
    done = subprocess.run(
        command, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=400
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-6000:]
    history = read(out)  # the trainer's own output_dir, without being told
    assert [row["step"] for row in history.steps] == [1, 2, 3]
    assert history.run["config"]["num_generations"] == 4
    board = accumulator(str(next((tmp_path / "board").rglob("events.*")).parent))
    board.Reload()
    assert len(board.Scalars("train/diversity/distinct_classes")) == 3
    assert "train/monitor/health" in board.Tags()["scalars"]
    with sqlite3.connect(next((tmp_path / "trackio").glob("*.db"))) as store:
        rows = [json.loads(m) for (m,) in store.execute("select metrics from metrics")]
    assert any("train/diversity/distinct_classes" in row for row in rows)
    assert all("train/reward" not in row or row["train/reward"] is not None for row in rows)
