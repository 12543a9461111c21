"""A training run that is killed and resumed: the same end, one history, a report that opens."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from divreg.history import read
from divreg.report import write_report

STEPS = 12
COUNTING = {
    "interventions": ["outcome_exploration"],
    "signals": {"answer": "string.capwords", "partition": "by_answer"},  # every text is an answer
}


@pytest.fixture
def command(repo, tiny_checkpoint):
    """``command(folder, *words)``: a launch line that saves a checkpoint every second step."""

    def line(folder, *words):
        settings = {
            "model_name_or_path": tiny_checkpoint,
            "output_dir": folder,
            "max_steps": STEPS,
            "save_steps": 2,
            "logging_steps": 1,
            "per_device_train_batch_size": 8,
            "num_generations": 4,
            "max_completion_length": 8,
        }
        return [
            *(sys.executable, "-m", "divreg", "grpo"),
            *("--config", str(repo / "recipes/expressions/tiny/outcome_exploration.yaml")),
            *(word for k, v in settings.items() for word in (f"--{k}", str(v))),
            *("--divreg", json.dumps(COUNTING), *words),
        ]

    return line


def finish(line):
    done = subprocess.run(line, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr[-3000:]


def kill_after(line, checkpoint):
    """Start a run and kill it once a step after ``checkpoint`` has been recorded."""
    run = subprocess.Popen(line, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    events = checkpoint.parent / "divreg" / "events.jsonl"
    step, deadline = int(checkpoint.name.split("-")[1]) + 1, time.time() + 200
    while not (events.exists() and f'"step":{step},' in events.read_text().replace(" ", "")):
        assert run.poll() is None, run.stderr.read().decode()[-3000:]
        assert time.time() < deadline
        time.sleep(0.002)
    os.kill(run.pid, signal.SIGKILL)
    run.wait()
    run.stderr.close()


def test_a_killed_run_resumes_from_its_checkpoint(command, tmp_path):
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    finish(command(whole))
    kill_after(command(cut), cut / "checkpoint-4")
    assert len(read(cut).steps) < STEPS
    events = cut / "divreg" / "events.jsonl"
    events.write_bytes(events.read_bytes() + b'{"v": 1, "event": "st')  # a line torn by the kill
    finish(command(cut, "--resume_from_checkpoint", str(cut / "checkpoint-4")))

    history = read(cut)
    assert [row["step"] for row in history.steps] == list(range(1, STEPS + 1))
    assert history.completion_steps == list(range(1, STEPS + 1))
    assert history.torn_lines == 1
    assert history.steps[-1]["signals"] == read(whole).steps[-1]["signals"]
    kept = [f / f"checkpoint-{STEPS}" / "divreg_state.json" for f in (whole, cut)]
    counts, expected = (json.loads(path.read_text()) for path in kept)
    assert counts == expected
    seen = counts["methods"]["outcome_exploration"]["counts"].values()
    assert sum(sum(answers.values()) for answers in seen) == 8 * STEPS
    result = write_report([cut], tmp_path / "report.html")
    assert "torn" in json.dumps(json.loads(result.json.read_text())).lower()
