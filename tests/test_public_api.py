"""What users see: the names of the package, and that the README tells the truth about them."""

import importlib
import re
import subprocess
import sys
import time

import pytest

import divreg


def test_all_names_are_visible_and_few():
    assert len(divreg.__all__) <= 20
    assert sorted(divreg.__all__) == dir(divreg)
    for name in divreg.__all__:
        assert getattr(divreg, name) is not None


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'Colapse'"):
        divreg.Colapse  # noqa: B018


@pytest.fixture(scope="module")
def readme(repo):
    return (repo / "README.md").read_text(encoding="utf-8")


def test_dotted_paths_of_the_readme_resolve(readme):
    paths = set(re.findall(r"\bdivreg(?:\.\w+)+", readme))
    assert paths
    for path in paths:
        module, found = path.split("."), None
        for cut in range(len(module), 0, -1):
            try:
                found = importlib.import_module(".".join(module[:cut]))
            except ModuleNotFoundError:
                continue
            for name in module[cut:]:
                found = getattr(found, name)
            break
        assert found is not None, path


def test_imports_of_the_readme_work(readme):
    for names in re.findall(r"from divreg import ([\w, ]+)", readme):
        for name in names.split(","):
            assert name.strip() in divreg.__all__


def test_files_named_by_the_readme_exist(repo, readme):
    named = re.findall(r"\]\(((?!http)[^)#]+)", readme) + re.findall(r"recipes/[\w./-]+\w", readme)
    for path in named:
        assert (repo / path).exists(), path


def test_the_table_of_methods_is_current(readme):
    from divreg import catalogue

    between = re.search(r"<!-- methods -->\n(.*?)<!-- /methods -->", readme, re.DOTALL)
    assert between, "the README's table stands between <!-- methods --> and <!-- /methods -->"
    assert between[1] == catalogue.markdown(), "paste the output of `divreg methods --markdown`"


LIGHT = """
import sys
{code}
heavy = {{"torch", "transformers", "trl", "datasets", "sentence_transformers"}} & set(sys.modules)
assert not heavy, heavy
"""


@pytest.mark.parametrize(
    "code",
    [
        "import divreg",
        "import divreg.cli as c\ntry: c.main(['--help'])\nexcept SystemExit: pass",
        "import divreg.cli as c\nassert c.main(['report', {run!r}]) in (0, 3)",
    ],
    ids=["import", "help", "report"],
)
def test_light_commands_load_neither_torch_nor_trl(code, repo, tmp_path):
    import shutil

    run = shutil.copytree(repo / "tests" / "report" / "plain_trl" / "text", tmp_path / "run")
    source = LIGHT.format(code=code.format(run=str(run)))
    done = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_importing_divreg_is_fast():
    code = "import time; t = time.perf_counter(); import divreg; print(time.perf_counter() - t)"
    started = time.perf_counter()
    took = min(
        float(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout)
        for _ in range(3)
    )
    assert took < 0.2, f"{took:.3f} s; the test itself {time.perf_counter() - started:.1f} s"
