"""Probes leave training alone on one process, two, and sharded ZeRO-3; numbers are global."""

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name("scenarios.py")
FORMATS = {"digit": "^[0-9]", "letter": "^[a-z]"}
PROBED = {
    "probe_prompts": ["Name a number: ", "2 plus 2? ", "A cat. "],
    "probe_every": 2,
    "formats": FORMATS,
}
SFT = {"kind": "SFT"}
DPO = {"kind": "DPO"}
STRADDLING = {"kind": "GRPO", "monitor": {"formats": FORMATS}, "probe": True}
DEEPSPEED = {"use_cpu": False, "ddp_backend": "gloo"}


def watched(scenario, **args):
    """The scenario without and with probes."""
    plain = {**scenario, "args": args}
    return [plain, {**plain, "monitor": {**PROBED, "probe_tokens": 8}}]


@pytest.fixture(scope="session")
def scenarios():
    spec = importlib.util.spec_from_file_location("monitor_scenarios", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def launch(tiny_checkpoint, tmp_path_factory, repo):
    """``launch(scenarios, launcher)``: a list per process of the results of one launch."""

    def go(listed, launcher):
        folder = tmp_path_factory.mktemp("launch")
        spec, out = folder / "spec.json", folder / "out.json"
        spec.write_text(
            json.dumps({"folder": tiny_checkpoint, "output_dir": str(folder), "scenarios": listed})
        )
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
        done = subprocess.run(
            [*launcher, str(SCRIPT), str(spec), str(out)],
            env=environment,
            cwd=repo,
            capture_output=True,
            text=True,
            timeout=500,
        )
        parts = sorted(folder.glob("out.*.json"))
        assert len(parts) == 2, done.stdout[-2000:] + done.stderr[-6000:]
        return [json.loads(part.read_text()) for part in parts], folder

    return go


@pytest.fixture(scope="session")
def gloo(launch):
    """Two plain processes; all scenarios share one launch."""
    listed = [
        *watched(SFT),
        *watched(DPO),
        {**STRADDLING, "args": {"per_device_train_batch_size": 2}},
    ]
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    return launch(listed, [*torchrun, "--nproc_per_node", "2"])


@pytest.fixture(scope="session")
def zero3(launch, repo):
    """Two DeepSpeed processes with every parameter sharded."""
    pytest.importorskip("deepspeed")
    if shutil.which("g++") is None:
        pytest.skip("DeepSpeed needs a C++ compiler: g++ was not found")
    config = repo / "recipes" / "accelerate_configs" / "cpu2_zero3_sharded.yaml"
    launcher = [sys.executable, "-m", "accelerate.commands.launch", "--config_file", str(config)]
    return launch([*watched(SFT, **DEEPSPEED), *watched(DPO, **DEEPSPEED)], launcher)


def assert_undisturbed(plain, probed, scenarios):
    assert plain["digest"] == probed["digest"]
    assert plain["logs"] == scenarios.theirs(probed["logs"])
    assert plain["modes"] == probed["modes"]
    assert any("diversity/distinct_classes" in row for row in probed["logs"])
    assert probed["detector"]["series"]["distinct_classes"]["n"] == 3  # steps 0, 2 and 4


@pytest.mark.parametrize("scenario", [SFT, DPO], ids=["sft", "dpo"])
def test_probes_leave_one_process_alone(scenario, scenarios, tiny_checkpoint, tmp_path):
    results = [
        scenarios.run(tiny_checkpoint, s, tmp_path / str(i))
        for i, s in enumerate(watched(scenario))
    ]
    assert_undisturbed(*results, scenarios)
    from divreg.history import read

    history = read(tmp_path / "1")
    assert [row["step"] for row in history.steps] == [0, 2, 4]
    assert history.mode == "probe"
    assert len(history.completions(2)["completion"]) == 24
    first, *_, last = (row["signals"] for row in history.steps)
    assert first["new_answers"] == first["explored_answers"] == first["distinct_classes"]
    assert last["explored_answers"] >= first["explored_answers"]
    assert 0 <= last["format_share_letter"] <= 1


@pytest.mark.parametrize("first", [0, 2], ids=["sft", "dpo"])
def test_probes_leave_two_processes_alone(first, gloo, scenarios):
    for process in gloo[0]:
        assert process[first]["world"] == 2
        assert_undisturbed(process[first], process[first + 1], scenarios)
    ours, other = (process[first + 1]["detector"] for process in gloo[0])
    assert ours == other


@pytest.mark.parametrize("first", [0, 2], ids=["sft", "dpo"])
def test_probes_leave_sharded_zero3_alone(first, zero3, scenarios):
    for process in zero3[0]:
        assert process[first]["sharded"]
        assert_undisturbed(process[first], process[first + 1], scenarios)
    ours, other = (process[first + 1]["detector"] for process in zero3[0])
    assert ours == other


def test_numbers_are_global_where_groups_straddle_processes(gloo):
    """Groups of four over two processes of two: the callback, and the probe reward function."""
    from divreg.history import read

    (ours, other), folder = gloo[0], gloo[1]
    assert ours[4]["detector"] == other[4]["detector"]
    assert ours[4]["memory"] == other[4]["memory"]
    assert sum(ours[4]["memory"]["explored"]["counts"].values()) > 0
    directory = folder / "4"
    runs = [json.loads(x) for x in (directory / "divreg/events.jsonl").read_text().splitlines()]
    assert {e["trainer"] for e in runs if e["event"] == "run"} == {
        "GRPOTrainer",
        "divreg.rewards.probe",
    }
    history = read(directory)
    assert not history.torn_lines
    steps = [e for e in runs if e["event"] == "step"]
    assert all(row["groups"]["size"] == [4] for row in steps)
    by_run = {}
    for row in steps:
        by_run.setdefault(row["run"], []).append(row["signals"]["distinct_classes"])
    callback, probe = by_run.values()
    assert callback == probe
