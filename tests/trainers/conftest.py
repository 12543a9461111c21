"""Trainer tests share one file of scenarios, which launchers start as a script."""

import contextlib
import importlib.util
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name("scenarios.py")


@pytest.fixture(scope="session")
def scenarios():
    """The module ``scenarios.py``."""
    spec = importlib.util.spec_from_file_location("scenarios", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def train(scenarios, tiny_checkpoint, tmp_path):
    """``train(trainer, **scenario)``: the result of one scenario in this process."""
    count = iter(range(1000))

    def go(trainer, output_dir=None, **scenario):
        where = output_dir or tmp_path / f"run{next(count)}"
        return scenarios.run(tiny_checkpoint, {"trainer": trainer, **scenario}, where)

    return go


@pytest.fixture(scope="session")
def deepspeed_launcher(repo):
    """``deepspeed_launcher(stage)``: the launch line of the recipes for two CPU processes."""
    if shutil.which("g++") is None:
        pytest.skip("DeepSpeed needs a C++ compiler: g++ was not found")

    def line(stage):
        name = {2: "cpu2_zero2.yaml", 3: "cpu2_zero3_sharded.yaml"}[stage]
        config = repo / "recipes" / "accelerate_configs" / name
        launcher = [sys.executable, "-m", "accelerate.commands.launch"]
        return [*launcher, "--config_file", str(config)]

    return line


@pytest.fixture(scope="session")
def launch(tiny_checkpoint, tmp_path_factory):
    """``launch(list_of_scenarios, *launcher)``: results of one launch, two gloo processes."""

    def go(listed, launcher=None, timeout=400):
        folder = tmp_path_factory.mktemp("launch")
        spec, out = folder / "spec.json", folder / "out.json"
        spec.write_text(
            json.dumps({"folder": tiny_checkpoint, "output_dir": str(folder), "scenarios": listed})
        )
        command = launcher or [
            *(sys.executable, "-m", "torch.distributed.run"),
            *("--standalone", "--nproc_per_node", "2"),
        ]
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
        done = subprocess.run(
            [*command, str(SCRIPT), str(spec), str(out)],
            env=environment,
            cwd=SCRIPT.parents[2],
            capture_output=True,
            text=True,
            timeout=timeout,
        )
        assert out.exists(), done.stdout[-2000:] + done.stderr[-6000:]
        return json.loads(out.read_text())

    return go


@pytest.fixture(scope="session")
def refused():
    """``with refused(message):`` an error of one short sentence or two that matches."""

    @contextlib.contextmanager
    def go(message):
        with pytest.raises((ValueError, TypeError), match=message) as caught:
            yield
        text = str(caught.value)
        assert "\n" not in text
        assert len(text) < 400

    return go


@pytest.fixture(scope="session")
def batch():
    """``batch(trainer)``: one micro-batch of the trainer's data."""

    def go(trainer):
        trainer.model.train()
        trainer.current_gradient_accumulation_steps = trainer.args.gradient_accumulation_steps
        return trainer._prepare_inputs(next(iter(trainer.get_train_dataloader())))

    return go


@pytest.fixture(scope="session")
def gradient():
    """``gradient(trainer, loss)``: a loss and its gradient, as one vector."""
    import torch

    def go(trainer, loss):
        trainer.model.zero_grad()
        loss.backward()
        parts = [p.grad.flatten() for p in trainer.model.parameters() if p.grad is not None]
        return loss.item(), torch.cat(parts)

    return go
