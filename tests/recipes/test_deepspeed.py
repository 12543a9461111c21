"""A recipe with a method at every stage and its launch line: DeepSpeed equals two processes."""

import json
import os
import shutil
import subprocess
import sys

import pytest
import torch

SETTINGS = {
    "per_device_train_batch_size": 2,  # a group of four straddles the two processes
    "num_generations": 4,
    "num_iterations": 2,
    "max_steps": 4,
    "max_completion_length": 8,
    "logging_steps": 1,
    "ddp_backend": "gloo",
}


@pytest.fixture(scope="module")
def losses(repo, tiny_checkpoint, tmp_path_factory):
    """``losses(configuration, *words)``: loss and gradient norm of each step of one launch."""

    def go(configuration, *words):
        folder = tmp_path_factory.mktemp(configuration)
        settings = {**SETTINGS, "model_name_or_path": tiny_checkpoint, "output_dir": folder}
        command = [
            *(sys.executable, "-m", "divreg", "grpo"),
            *("--config", "recipes/expressions/tiny/every_stage.yaml"),
            *("--accelerate_config", f"recipes/accelerate_configs/{configuration}.yaml"),
            *(word for k, v in settings.items() for word in (f"--{k}", str(v))),
            *words,
        ]
        done = subprocess.run(
            command, cwd=repo, env={**os.environ}, capture_output=True, text=True, timeout=400
        )
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-6000:]
        events = [json.loads(x) for x in (folder / "divreg" / "events.jsonl").open()]
        logs = [e["logs"] for e in events if e["event"] == "log" and "loss" in e["logs"]]
        return torch.tensor([[row["loss"], row["grad_norm"]] for row in logs])

    return go


def test_a_recipe_under_zero2_and_sharded_zero3_gives_the_losses_of_two_processes(losses):
    if shutil.which("g++") is None:
        pytest.skip("DeepSpeed needs a C++ compiler: g++ was not found")
    plain = losses("cpu2")
    assert plain.shape == (4, 2)
    assert plain[:, 1].min() > 0
    for configuration in ("cpu2_zero2", "cpu2_zero3_sharded"):
        sharded = losses(configuration, "--use_cpu", "false")
        torch.testing.assert_close(sharded, plain, rtol=1e-4, atol=1e-5)
