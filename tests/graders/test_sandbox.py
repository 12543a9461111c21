"""The sandbox in use: what a program has, where it runs, what is refused."""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from divreg.graders import _child, sandbox
from divreg.graders.sandbox import Limits

REFUSED = sandbox.available() if sys.platform == "linux" else "not Linux"
shut_in = pytest.mark.skipif(REFUSED is not None, reason=str(REFUSED))
posix = pytest.mark.skipif(os.name != "posix", reason="needs rlimits")


@shut_in
def test_an_honest_program_has_what_it_needs():
    outcome = sandbox.run(
        "import asyncio, bz2, ctypes, decimal, hashlib, json, os, re, sqlite3, ssl, tempfile\n"
        "from dataclasses import dataclass\n"
        "@dataclass\nclass Point:\n    x: int\n"
        "async def later(): return 42\n"
        "with tempfile.TemporaryFile() as file: file.write(os.urandom(9))\n"
        "open('kept', 'w').write('1')\n"
        "print(asyncio.run(later()), Point(1), hashlib.md5(b'').hexdigest()[:4], __name__)"
    )
    assert (outcome.how, outcome.output) == ("passed", "42 Point(x=1) d41d program\n")
    assert sandbox.run("import os; assert os.listdir() == []").passed  # nothing is handed on


@shut_in
def test_a_failure_shows_its_line():
    outcome = sandbox.run("def f(x):\n    return x\n\nassert f(2) == 3, 'two'")
    assert "assert f(2) == 3, 'two'" in outcome.output
    assert outcome.output.endswith("AssertionError: two\n")


@shut_in
def test_many_run_at_once():
    programs = [f"assert {i} % 3" for i in range(24)]
    with ThreadPoolExecutor(8) as pool:
        passed = [outcome.passed for outcome in pool.map(sandbox.run, programs)]
    assert passed == [i % 3 != 0 for i in range(24)]


WHERE = """
from divreg.graders import sandbox
print(sandbox.available())
print(sandbox.run("import os; print(os.getuid()); open('x', 'w')"))
"""


@shut_in
def test_it_works_for_a_root_of_nothing_but_itself(repo):
    # As in a container that an ordinary user started: no other user is mapped.
    done = in_namespace(repo, WHERE)
    assert done.stdout.split("\n") == ["None", "Outcome(how='passed', output='1000\\n')", ""]


@shut_in
def test_mounts_inside_a_shown_folder_are_read_only_too(repo):
    folder = next(p for p in sorted(Path("/usr/lib").iterdir()) if p.is_dir())
    try_it = f"from divreg.graders import sandbox; print(sandbox.run(\"open('{folder}/x', 'w')\"))"
    done = in_namespace(repo, try_it, before=f"mount -t tmpfs -o mode=777 tmpfs {folder}")
    assert "Read-only file system" in done.stdout, done.stderr


@shut_in
def test_it_works_for_an_ordinary_user(repo):
    if os.geteuid() != 0:
        pytest.skip("an ordinary user runs all of these tests")
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        shutil.copytree(repo / "divreg" / "graders", Path(folder) / "divreg" / "graders")
        shutil.copy(repo / "divreg" / "__init__.py", Path(folder) / "divreg")
        for python in (os.path.realpath(sys.executable), *Path("/usr/bin").glob("python3.1[1-9]")):
            try:
                done = subprocess.run(
                    [python, "-c", WHERE],
                    cwd=folder,
                    env={},
                    user=65534,
                    group=65534,
                    extra_groups=[],
                    capture_output=True,
                    text=True,
                )
            except PermissionError:
                continue  # it lies in root's home
            assert done.stdout.startswith("None\nOutcome(how='passed', output='1000"), done
            return
    pytest.skip("no interpreter that another user may read")


@shut_in
def test_a_machine_without_namespaces_is_refused(repo):
    done = in_namespace(repo, WHERE, before="echo 0 > /proc/sys/user/max_user_namespaces")
    said = "Grading code needs a sandbox of Linux namespaces; got: unshare: No space left on device"
    assert done.returncode == 1
    assert done.stdout.startswith(said)
    assert f"ValueError: {said}" in done.stderr
    assert "type --unsandboxed (unsandboxed=True)" in done.stdout


def in_namespace(repo, code, before=":"):
    """Run Python as the root of a user namespace in which something was done before."""
    if shutil.which("unshare") is None:
        pytest.skip("no unshare: util-linux is not installed")
    return subprocess.run(
        ["unshare", "-Urm", "sh", "-c", f'{before} && exec "$0" -c "$1"', sys.executable, code],
        cwd=repo,
        capture_output=True,
        text=True,
        timeout=60,
    )


@posix
@pytest.mark.parametrize(
    ("program", "how"),
    [
        ("import os; assert not os.environ and os.listdir() == []", "passed"),
        ("assert False", "failed"),
        ("import os; os._exit(0)", "failed"),
        ("import time; time.sleep(99)", "timed out"),
        ("while True: pass", "timed out"),
        ("while True: print('x' * 999)", "killed"),
        ("import sys; assert sys.stdin.read() == ''", "passed"),
    ],
)
def test_without_the_sandbox_limits_hold(program, how):
    limits = Limits(seconds=1.0) if how == "timed out" else sandbox.USUAL
    assert sandbox.run(program, limits, unsandboxed=True).how == how


@pytest.mark.skipif(
    sys.platform != "linux" or os.uname().machine not in _child.MACHINES, reason="not Linux"
)
@pytest.mark.parametrize(
    "program",
    [
        "import os; os.fork()",
        "import socket; socket.socket()",
        "import os; os.execv('/bin/sh', ['sh'])",
        "bytearray(4 << 30)",
        "f = open('x', 'wb')\nfor _ in range(64): f.write(bytes(1 << 20))",
    ],
)
def test_without_the_sandbox_calls_are_refused_on_linux(program):
    assert sandbox.run(program, unsandboxed=True).how == "failed"


@pytest.mark.parametrize(
    ("machine", "header"),
    [("x86_64", "x86_64-linux-gnu/asm/unistd_64.h"), ("aarch64", "asm-generic/unistd.h")],
)
def test_numbers_of_system_calls_are_those_of_the_kernel(machine, header):
    path = Path("/usr/include") / header
    if not path.exists():
        pytest.skip(f"no {path}: the kernel's headers are not installed")
    known = dict(re.findall(r"#define __NR_(\w+)\s+(\d+)", path.read_text()))
    column = list(_child.MACHINES).index(machine)
    for name, numbers in _child.DENIED.items():
        assert str(numbers[column]) == known.get(name, "None"), name


@pytest.mark.parametrize(
    "wrong",
    [
        {"seconds": 0},
        {"seconds": float("inf")},
        {"cpu_seconds": 1.5},
        {"memory_mib": 8},
        {"file_mib": True},
        {"output_kib": -1},
    ],
)
def test_a_limit_out_of_range_is_refused(wrong):
    ((name, value),) = wrong.items()
    with pytest.raises(ValueError, match=rf"as {name}; got {re.escape(repr(value))}\. Use {name}="):
        Limits(**wrong)
