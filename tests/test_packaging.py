"""The wheel holds all that divreg needs, and nothing that stands in others' way."""

import os
import shutil
import subprocess
import sys
import zipfile

import pytest

SHIPPED = ("divreg", "kernels", "pyproject.toml", "README.md", "LICENSE")


@pytest.fixture(scope="module")
def wheel(repo, tmp_path_factory):
    """The wheel, built from a copy of what is shipped: the build leaves nothing in the checkout."""
    source = tmp_path_factory.mktemp("source")
    for name in SHIPPED:
        if (repo / name).is_dir():
            ignored = shutil.ignore_patterns("__pycache__", "*.egg-info", "build")
            shutil.copytree(repo / name, source / name, ignore=ignored)
        else:
            shutil.copy(repo / name, source / name)
    out = tmp_path_factory.mktemp("wheel")
    pip("wheel", "--no-build-isolation", "--no-deps", "--wheel-dir", out, source)
    (built,) = out.glob("divreg-*.whl")
    return built


def pip(command, *arguments):
    subprocess.run(
        [sys.executable, "-m", "pip", command, "--quiet", "--no-index", *map(str, arguments)],
        check=True,
        capture_output=True,
        text=True,
    )


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """A folder elsewhere that holds what the wheel installs."""
    target = tmp_path_factory.mktemp("installed")
    pip("install", "--no-deps", "--target", target, wheel)
    return target


def python(installed, cwd, *arguments):
    """Run Python with the installed divreg before every other one."""
    return subprocess.run(
        [sys.executable, *map(str, arguments)],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(installed), "COLUMNS": "100"},
        capture_output=True,
        text=True,
        timeout=300,
    )


def test_the_wheel_holds_two_packages_and_their_data(wheel, repo):
    names = zipfile.ZipFile(wheel).namelist()
    tops = {name.split("/")[0] for name in names}
    assert {t for t in tops if not t.endswith(".dist-info")} == {"divreg", "divreg_kernels"}
    data = [
        path.relative_to(repo).as_posix()
        for path in (repo / "divreg").rglob("*")
        if path.is_file() and path.suffix not in (".py", ".pyc") and path.suffix != ".md"
    ]
    assert "divreg/py.typed" in data
    assert set(data) <= set(names), "add the missing files to [tool.setuptools.package-data]"


def test_report_runs_from_the_wheel_elsewhere(installed, repo, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(repo / "tests" / "report" / "plain_trl" / "text", run)
    where = python(installed, tmp_path, "-c", "import divreg; print(divreg.__file__)")
    assert where.stdout.startswith(str(installed))
    done = python(installed, tmp_path, "-m", "divreg", "report", run)
    assert done.returncode in (0, 3), done.stderr
    (page,) = run.rglob("report.html")
    assert page.stat().st_size > 10_000


def test_the_embedded_rows_are_read_from_the_wheel_elsewhere(installed, tmp_path):
    code = "from divreg.trace.families import NAMES, family; print(family.__file__)"
    code += "; print(*(len(family.embedded_rows(name)) for name in NAMES))"
    file, counts = python(installed, tmp_path, "-c", code).stdout.splitlines()
    assert file.startswith(str(installed))
    assert counts.split() == ["5"] * 15


def test_the_console_script_is_declared(wheel):
    archive = zipfile.ZipFile(wheel)
    (entry,) = [n for n in archive.namelist() if n.endswith("entry_points.txt")]
    assert "divreg = divreg.cli:main" in archive.read(entry).decode()


def test_kernels_is_a_directory_and_no_package(repo):
    assert (repo / "kernels" / "divreg_kernels" / "__init__.py").is_file()
    assert not (repo / "kernels" / "__init__.py").exists()


def test_our_kernels_never_stand_before_those_of_hugging_face(repo, tmp_path):
    theirs = tmp_path / "kernels"
    theirs.mkdir()
    (theirs / "__init__.py").write_text("WHOSE = 'theirs'\n")
    code = f"import sys; sys.path.append({str(tmp_path)!r}); import kernels; print(kernels.WHOSE)"
    # From the root of the repository, with that root first on the path: the worst case.
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=repo, capture_output=True, text=True, timeout=60
    )
    assert done.stdout.strip() == "theirs", done.stderr


def test_naming_a_kernel_loads_neither_torch_nor_triton(repo):
    code = "import sys, divreg_kernels; print({'torch', 'triton'} & {*sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == "set()", done.stderr


def test_constraints_pin_what_the_project_requires(repo):
    import tomllib

    from packaging.requirements import Requirement

    lines = (repo / "constraints.txt").read_text().splitlines()
    pinned = dict(line.lower().split("==") for line in lines if line and line[0] != "#")
    project = tomllib.loads((repo / "pyproject.toml").read_text())["project"]
    wanted = project["dependencies"] + project["optional-dependencies"]["test"]
    for requirement in map(Requirement, wanted):
        version = pinned.get(requirement.name.lower())
        assert version is not None, f"{requirement.name} is missing in constraints.txt"
        assert version in requirement.specifier
