"""Imports point one way; heavy ones are late. Read from the source, nothing is run."""

import ast
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[1]
FORBIDDEN = {"utils", "util", "helpers", "misc", "common", "base", "core"}
HEAVY = {"torch", "transformers", "trl", "datasets", "accelerate", "sentence_transformers"}
LONGEST = 450  # lines: what does not fit on a few screens is two things

# What the page of a trace is drawn by: it reads trace.json and nothing else.
DRAWN = tuple(
    f"divreg.trace.{part}"
    for part in ("definitions", "lineage", "lost", "page", "spans", "stage_charts", "tables")
)

# What a part may import, at the top or inside a function: other packages, and parts of divreg.
MAY = {
    "divreg.compose": (set(), {"divreg.control"}),
    "divreg.control": (set(), set()),
    "divreg.methods": ({"torch", "jaxtyping"}, {"divreg.compose", "divreg.methods"}),
    "divreg.losses": (
        {"torch", "jaxtyping"},
        {"divreg.anchors.spans", "divreg.compose", "divreg.losses"},
    ),
    "divreg.anchors": (
        {"numpy", "torch", "jaxtyping", "transformers", "rich"},
        {
            *("divreg.anchors", "divreg.encoders.server", "divreg.measure.generations"),
            *("divreg.loglikelihood", "divreg.spec"),
        },
    ),
    "divreg.anchors.annotate": (
        set(),
        {"divreg.anchors", "divreg.measure.generations"},
    ),
    "divreg.anchors.drift": ({"numpy"}, set()),
    "divreg.anchors.spans": ({"torch", "jaxtyping"}, set()),
    "divreg.anchors.tags": (set(), set()),
    "divreg.anchors.texts": (set(), {"divreg.anchors.tags"}),
    "divreg.metrics": ({"numpy"}, {"divreg.metrics"}),
    "divreg.measure": (
        {"numpy", "pyarrow", "rich"},
        {
            *("divreg.encoders", "divreg.measure", "divreg.metrics", "divreg.plain_trl"),
            "divreg.graders.code",
        },
    ),
    "divreg.data": (
        {"numpy", "pyarrow", "rich", "datasets"},
        {"divreg.data", "divreg.encoders", "divreg.measure", "divreg.metrics"},
    ),
    "divreg.data.pairs": ({"numpy"}, {"divreg.metrics"}),
    **dict.fromkeys(DRAWN, ({"markupsafe"}, {"divreg.metrics", "divreg.report", *DRAWN})),
    "divreg.signals": (
        {"numpy", "torch", "jaxtyping"},
        {"divreg.compose", "divreg.metrics", "divreg.signals", "divreg_kernels"},
    ),
    "divreg.testing": (
        {"torch", "hypothesis"},
        {"divreg.compose", "divreg.signals"},
    ),
    "divreg.encoders": (
        {"numpy", "torch", "transformers", "sentence_transformers"},
        {"divreg.encoders"},
    ),
    "divreg.graders._child": (set(), set()),
    "divreg.graders.sandbox": (set(), {"divreg.graders._child"}),
    "divreg.graders.code": (set(), {"divreg.graders.sandbox"}),
    "divreg.graders.maths": ({"math_verify", "sympy"}, set()),
    "divreg.graders.instructions": ({"langdetect"}, set()),
    "divreg.rollouts": (set(), set()),
    "divreg.trace.families": (
        {"datasets"},
        {
            "divreg.graders",
            "divreg.tasks.gsm8k",
            "divreg.tasks.task",
            "divreg.trace.families",
        },
    ),
    "divreg.loglikelihood": ({"torch"}, set()),
    "divreg.pipeline": ({"torch"}, {"divreg.compose", "divreg.signals"}),
    "divreg_kernels": ({"torch", "triton", "numpy"}, {"divreg_kernels"}),
}

# What a part may not import at all.
MAY_NOT = {
    "divreg.report": HEAVY
    | {"divreg.trainers", "divreg.pipeline", "divreg.methods", "divreg.trace"},
    "divreg.records": HEAVY | {"divreg.trainers", "divreg.pipeline", "divreg.report"},
    "divreg.history": HEAVY | {"divreg.trainers", "divreg.pipeline", "divreg.report"},
    "divreg.plain_trl": HEAVY | {"divreg.trainers", "divreg.pipeline", "divreg.report"},
    "divreg.monitor.detect": HEAVY | {"divreg.trainers", "divreg.records"},
    "divreg.monitor.indicators": HEAVY | {"divreg.trainers", "divreg.records"},
    "divreg.monitor.refuse": HEAVY | {"divreg.trainers", "divreg.records"},
    "divreg.monitor.diagnose": HEAVY | {"divreg.trainers", "divreg.records"},
    "divreg.monitor.observe": HEAVY | {"divreg.trainers", "divreg.records"},
}

# The only parts that may know these packages.
ONLY = {
    "trl": (
        "divreg.trainers",
        "divreg.monitor.callback",
        "divreg.demo",
        "divreg.cli",
        "divreg.tasks",
    ),
    "transformers": (
        "divreg.trainers",
        "divreg.monitor.callback",
        "divreg.demo",
        "divreg.tasks",
        "divreg.encoders",
        "divreg.anchors.annotators",
        "divreg.trace",
    ),
    "math_verify": ("divreg.graders.maths",),
    "langdetect": ("divreg.graders.instructions",),
}

# What is loaded by `import divreg`, `--help`, `report` and the probe: heavy imports wait inside
# functions there.
LATE = (
    "divreg",
    *(f"divreg.anchors.{part}" for part in ("annotate", "annotators", "command", "drift")),
    *(f"divreg.anchors.{part}" for part in ("markers", "sample", "tags", "texts", "watch")),
    "divreg.calibrate",
    "divreg.cli",
    "divreg.compose",
    "divreg.control",
    "divreg.data",
    "divreg.encoders",
    "divreg.graders",
    "divreg.measure",
    "divreg.metrics",
    "divreg.report",
    "divreg.records",
    "divreg.history",
    "divreg.plain_trl",
    "divreg.rollouts",
    "divreg.rewards",
    "divreg.semantics",
    "divreg.spec",
    "divreg.trace",
)


class Import(NamedTuple):
    """One imported module, and whether it is loaded with the file that names it."""

    name: str
    line: int
    at_once: bool


def files() -> dict[str, Path]:
    """Every module of the two packages, by its dotted name."""
    found = {}
    for base in (ROOT, ROOT / "kernels"):
        for path in sorted(base.glob("divreg*/**/*.py")):
            parts = path.relative_to(base).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


FILES = files()


def imports(path: Path) -> Iterator[Import]:
    """Every import of a file, those for type checkers aside."""

    def walk(node: ast.AST, at_once: bool) -> Iterator[Import]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.dump(child.test):
                continue
            if isinstance(child, ast.Import):
                for alias in child.names:
                    yield Import(alias.name, child.lineno, at_once)
            elif isinstance(child, ast.ImportFrom):
                assert not child.level, f"{path}:{child.lineno}: relative import"
                for alias in child.names:
                    whole = f"{child.module}.{alias.name}"
                    name = whole if whole in FILES else str(child.module)
                    yield Import(name, child.lineno, at_once)
            else:
                late = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
                yield from walk(child, at_once and not late)

    yield from walk(ast.parse(path.read_text(encoding="utf-8")), True)


def within(name: str, parts: Iterable[str]) -> bool:
    """Whether a module is one of ``parts`` or inside one."""
    return any(name == part or name.startswith(f"{part}.") for part in parts)


def of(part: str) -> list[tuple[str, Path]]:
    return [(name, path) for name, path in FILES.items() if within(name, [part])]


def is_stdlib(name: str) -> bool:
    return name.partition(".")[0] in sys.stdlib_module_names


def test_a_planted_import_is_found(tmp_path):
    source = tmp_path / "planted.py"
    source.write_text(
        "import os.path\n"
        "from typing import TYPE_CHECKING\n"
        "from divreg.methods import darling\n"
        "if TYPE_CHECKING:\n    import datasets\n"
        "class A:\n    import torch.nn as nn\n"
        "def late():\n    from trl.trainer import grpo_trainer\n"
    )
    assert list(imports(source)) == [
        Import("os.path", 1, True),
        Import("typing", 2, True),
        Import("divreg.methods.darling", 3, True),
        Import("torch.nn", 7, True),
        Import("trl.trainer", 9, False),
    ]


@pytest.mark.parametrize("part", MAY)
def test_a_part_imports_what_it_may(part):
    packages, parts = MAY[part]
    for name, path in of(part):
        for found in imports(path):
            if not is_stdlib(found.name):
                assert within(found.name, packages | parts), f"{name}:{found.line} {found.name}"


@pytest.mark.parametrize("part", MAY_NOT)
def test_a_part_does_not_import_what_it_may_not(part):
    for name, path in of(part):
        for found in imports(path):
            assert not within(found.name, MAY_NOT[part]), f"{name}:{found.line} {found.name}"


@pytest.mark.parametrize("package", ONLY)
def test_only_the_trainers_know_the_host(package):
    for name, path in FILES.items():
        if not within(name, ONLY[package]):
            for found in imports(path):
                assert not within(found.name, [package]), f"{name}:{found.line} {found.name}"


@pytest.mark.parametrize("part", LATE)
def test_light_parts_import_heavy_packages_late(part):
    for name, path in [(part, FILES[part])] if part == "divreg" else of(part):
        for found in imports(path):
            heavy = within(found.name, HEAVY) or within(
                found.name,
                ["divreg.trainers", "divreg.methods", "divreg.losses", "divreg.signals"],
            )
            assert not (found.at_once and heavy), f"{name}:{found.line} {found.name}"


def test_nothing_but_the_commands_and_the_host_imports_the_trainers():
    for name, path in FILES.items():
        if not within(name, ONLY["trl"]):
            for found in imports(path):
                assert not within(found.name, ["divreg.trainers"]), f"{name}:{found.line}"


def test_no_module_is_a_drawer():
    assert not {name for name in FILES if set(name.split(".")) & FORBIDDEN}


def test_no_module_is_longer_than_a_few_screens():
    lines = {n: len(path.read_text(encoding="utf-8").splitlines()) for n, path in FILES.items()}
    assert not {name: n for name, n in lines.items() if n > LONGEST}


def test_every_module_says_what_it_is():
    for name, path in FILES.items():
        text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
        assert text, f"{name} needs a docstring"
        assert "TODO" not in text, f"{name} has a placeholder for a docstring"


@pytest.mark.parametrize(
    ("modules", "unloaded"),
    [
        ("divreg.compose, divreg.records, divreg.encoders, divreg.monitor.detect", HEAVY),
        ("divreg.trace.page", HEAVY),
        ("divreg.methods, divreg.losses, divreg.signals.example", HEAVY - {"torch"}),
    ],
)
def test_what_is_not_needed_is_not_loaded(modules, unloaded):
    code = f"import sys, {modules}; print(*sorted({unloaded!r} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert not done.stdout.split()
