"""The sandbox, attacked: every attack is a program that comes to its end only if it succeeds."""

import os
import re
import shutil
import signal
import socket
import string
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from divreg.graders import _child, sandbox
from divreg.graders.sandbox import Limits

REFUSED = sandbox.available() if sys.platform == "linux" else "not Linux"
shut_in = pytest.mark.skipif(REFUSED is not None, reason=str(REFUSED))
posix = pytest.mark.skipif(os.name != "posix", reason="needs rlimits")

# What a program must not reach. Each of these succeeds outside, which is checked too.
REACHES = {
    "a server on this machine": (
        "import socket; socket.create_connection(('127.0.0.1', $tcp), 2)",
        "PermissionError",
    ),
    "a datagram to this machine": (
        "import socket as s; s.socket(s.AF_INET, s.SOCK_DGRAM).sendto(b'x', ('127.0.0.1', $udp))",
        "PermissionError",
    ),
    "an abstract socket": (
        "import socket as s; s.socket(s.AF_UNIX).connect('\\0$abstract')",
        "PermissionError",
    ),
    "an abstract socket, from half of a pair": (
        "import socket as s\n"
        "s.socketpair(s.AF_UNIX, s.SOCK_DGRAM)[0].sendto(b'x', '\\0$datagrams')",
        "ConnectionRefusedError",
    ),
    "the accounts": ("open('/etc/passwd').read()", "FileNotFoundError"),
    "a file in the home folder": ("open('$at_home').read()", "FileNotFoundError"),
    "a file of the tests": ("open('$file').read()", "FileNotFoundError"),
    "the repository": ("open('$repo/pyproject.toml').read()", "FileNotFoundError"),
    "a token in the environment": ("import os; os.environ['DIVREG_TOKEN']", "KeyError"),
    "the environment at the start": (
        "assert b'DIVREG_TOKEN' in open('/proc/self/environ', 'rb').read()",
        "FileNotFoundError",
    ),
    "the list of processes": ("import os; os.listdir('/proc')", "FileNotFoundError"),
    "the devices": ("open('/dev/zero', 'rb').read(1)", "FileNotFoundError"),
    "the name of the machine": (
        "import os; assert os.uname().nodename == '$host'",
        "AssertionError",
    ),
    "a signal to whoever runs it": ("import os; os.kill($pid, 0)", "ProcessLookupError"),
    "a second process": ("import os\nif os.fork() == 0: os._exit(0)", "PermissionError"),
    "a second thread": ("import threading; threading.Thread(target=int).start()", "RuntimeError"),
    "a command": (
        "import subprocess; subprocess.run([$python, '-c', ''], check=True)",
        "Permission",
    ),
    "another program in its place": (
        "import os; os.execv($python, [$python, '-c', ''])",
        "PermissionError",
    ),
    "memory without a limit": ("import os; os.memfd_create('x')", "PermissionError"),
    "a debugger's call": ("$call\ncall('ptrace', 0, 0, 0, 0)", "Operation not permitted"),
    "its own namespaces": ("$call\ncall('unshare', 0x10000000)", "Operation not permitted"),
    "another personality": ("$call\ncall('personality', 0x0040000)", "Operation not permitted"),
}

CALL = """
import ctypes, os
libc = ctypes.CDLL(None, use_errno=True)
def call(name, *arguments):
    if getattr(libc, name)(*arguments) < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
"""

# What would do harm outside, or is no attack there.
ATTACKS = {
    "a name server": ("import socket; socket.getaddrinfo('example.org', 80)", "failed", "gaierror"),
    "the host of a virtual machine": (
        "import socket as s; s.socket(s.AF_VSOCK).connect((2, 1))",
        "failed",
        "PermissionError",
    ),
    "the shadow file": ("open('/etc/shadow').read()", "failed", "FileNotFoundError"),
    "the environment of process 1": (
        "open('/proc/1/environ').read()",
        "failed",
        "FileNotFoundError",
    ),
    "a file that is open in the caller": (
        "import os\n"
        "def read(fd):\n"
        "    try: return os.read(fd, 99)\n"
        "    except OSError: return b''\n"
        "assert any(map(read, range(256)))",
        "failed",
        "AssertionError",
    ),
    "a write outside /tmp": (
        "import os, sys\n"
        "def write(folder):\n"
        "    try: open(folder + '/x', 'w')\n"
        "    except OSError: return False\n"
        "    return True\n"
        "folders = ['/', '/dev', '/etc', '/usr', '/lib', '/usr/lib', *sys.path]\n"
        "assert any(map(write, folders))",
        "failed",
        "AssertionError",
    ),
    "the mode of /dev/null": ("import os; os.chmod('/dev/null', 0)", "failed", "Read-only"),
    "a file system": ("$call\ncall('mount', b'x', b'/tmp', b'tmpfs', 0, 0)", "failed", "Errno 1"),
    "the system calls of new mounts": (
        "$call\ncall('syscall', 430, b'tmpfs', 0)",
        "failed",
        "Errno 38",
    ),
    "io_uring": ("$call\ncall('syscall', 425, 1, bytes(120))", "failed", "Errno 38"),
    "clone3": ("$call\ncall('syscall', 435, bytes(88), 88)", "failed", "Errno 38"),
    "root": ("import os; os.setuid(0)", "failed", "OSError|PermissionError"),
    "the way out of a chroot": (
        "import os\nos.mkdir('x'); os.chroot('x'); os.chdir('../../../..'); os.chroot('.')",
        "failed",
        "PermissionError",
    ),
    "the memory of process 1": (
        "$call\ncall('process_vm_readv', 1, bytes(16), 1, bytes(16), 1, 0)",
        "failed",
        "Errno 1",
    ),
    "a fork bomb": ("import os\nwhile True: os.fork()", "failed", "PermissionError"),
    "4 GiB": ("bytearray(4 << 30)", "failed", "MemoryError"),
    "4 GiB, bit by bit": ("x = [bytearray(1 << 20) for _ in range(4096)]", "failed", "MemoryError"),
    "4 GiB, shared": ("import mmap; mmap.mmap(-1, 4 << 30)", "failed", "OSError"),
    "memory of System V": ("$call\ncall('shmget', 0, 1 << 20, 0o1600)", "failed", "Errno 1"),
    "a large file": (
        "f = open('/tmp/x', 'wb')\nfor _ in range(64): f.write(bytes(1 << 20))",
        "failed",
        "File too large|No space left",
    ),
    "many large files": (
        "for i in range(8): open(f'/tmp/{i}', 'wb').write(bytes(8 << 20))",
        "failed",
        "No space left",
    ),
    "many small files": (
        "for i in range(9999): open(f'/tmp/{i}', 'wb').close()",
        "failed",
        "No space left",
    ),
    "many open files": ("x = [open('/dev/null') for _ in range(99)]", "failed", "Too many open"),
    "a higher limit": (
        "import resource as r; r.setrlimit(r.RLIMIT_AS, (4 << 30, 4 << 30))",
        "failed",
        "ValueError|PermissionError",
    ),
    "printing forever": ("while True: print('x' * 999)", "killed", "x"),
    "killing all it can": (
        "import os\ntry: os.kill(-1, 9)\nfinally: os.kill(0, 9)",
        "killed",
        "",
    ),
    "a broken memory access": ("import ctypes; ctypes.string_at(0)", "killed", ""),
    "leaving early": ("import sys; sys.exit(0)", "failed", "SystemExit"),
    "leaving early and at once": ("import os; os._exit(0)", "failed", ""),
    "an interrupt": ("raise KeyboardInterrupt", "failed", "KeyboardInterrupt"),
    "a verdict of its own": (
        "import os\n"
        "for fd in range(3, 256):\n"
        "    try: os.write(fd, b'ready' + b'0' * 32)\n"
        "    except OSError: pass\n"
        "os._exit(0)",
        "failed",
        "",
    ),
    "a verdict before the true one": (
        "import os\n"
        "for fd in range(3, 256):\n"
        "    try: os.write(fd, b'ready')\n"
        "    except OSError: pass",
        "failed",
        "",
    ),
    "verdicts forever": (
        "import os\n"
        "while True:\n"
        "    for fd in range(3, 256):\n"
        "        try: os.write(fd, bytes(4096))\n"
        "        except OSError: pass",
        "killed",
        "",
    ),
}

# What would never end by itself.
ENDLESS = {
    "spinning": "while True: pass",
    "sleeping": "import time; time.sleep(999)",
    "sleeping, deaf to all signals": (
        "import signal, time\n"
        "for s in signal.valid_signals() - {9, 19}: signal.signal(s, signal.SIG_IGN)\n"
        "time.sleep(999)"
    ),
    "stopping itself": "import os, signal; os.kill(os.getpid(), signal.SIGSTOP)",
    "a daemon": (
        "$call\nimport time\ncall('prctl', 1, 0, 0, 0, 0)  # no signal when its parent dies\n"
        "try: os.setsid()\nexcept OSError: pass\nos.closerange(0, 64)\ntime.sleep(999)"
    ),
}
SHORT = Limits(seconds=1.0)


@pytest.fixture(scope="module")
def targets(repo):
    """What is worth attacking: servers that listen, files that can be read."""
    with (
        socket.create_server(("127.0.0.1", 0)) as tcp,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp,
        socket.socket(socket.AF_UNIX) as abstract,
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as datagrams,
        tempfile.NamedTemporaryFile() as file,
        tempfile.NamedTemporaryFile(dir=Path.home()) as at_home,
        pytest.MonkeyPatch.context() as patch,
    ):
        udp.bind(("127.0.0.1", 0))
        abstract.bind(f"\0divreg-{os.getpid()}")
        abstract.listen()
        datagrams.bind(f"\0divreg-{os.getpid()}-datagrams")
        file.write(b"secret")
        file.flush()
        os.set_inheritable(file.fileno(), True)
        file.seek(0)
        patch.setenv("DIVREG_TOKEN", "secret")
        yield {
            "tcp": tcp.getsockname()[1],
            "udp": udp.getsockname()[1],
            "abstract": f"divreg-{os.getpid()}",
            "datagrams": f"divreg-{os.getpid()}-datagrams",
            "file": file.name,
            "at_home": at_home.name,
            "repo": repo,
            "host": os.uname().nodename,
            "pid": os.getpid(),
            "python": repr(sys.executable),
            "call": CALL,
        }


def children(parent):
    """Processes of the sandbox that a process started: it is named among their arguments."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().split(b"\0")
        except OSError:
            continue
        if any(b"_child." in word for word in words) and str(parent).encode() in words:
            found.append(path.parent.name)
    return found


@shut_in
@pytest.mark.parametrize("name", REACHES)
def test_it_cannot_reach(name, targets):
    source, refusal = REACHES[name]
    program = string.Template(source).substitute(targets)
    outside = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert outside.returncode == 0, f"no attack: {outside.stderr}"
    outcome = sandbox.run(program)
    assert outcome.how == "failed"
    assert refusal in outcome.output


@shut_in
@pytest.mark.parametrize("name", ATTACKS)
def test_it_withstands(name, targets):
    source, how, says = ATTACKS[name]
    outcome = sandbox.run(string.Template(source).substitute(targets))
    assert outcome.how == how, outcome
    assert re.search(says, outcome.output), outcome
    assert len(outcome.output) <= sandbox.USUAL.output_kib * 1024
    assert not children(os.getpid())


@shut_in
@pytest.mark.parametrize("name", ENDLESS)
def test_it_ends(name, targets):
    program = string.Template(ENDLESS[name]).substitute(targets)
    assert sandbox.run(program, SHORT).how == "timed out"
    assert not children(os.getpid())


@shut_in
@pytest.mark.parametrize(
    ("deaf", "how"),
    [("", "timed out"), ("import signal; signal.signal(signal.SIGXCPU, signal.SIG_IGN)", "killed")],
)
def test_time_on_the_processor_is_limited_too(deaf, how):
    limits = Limits(seconds=60.0, cpu_seconds=1)
    assert sandbox.run(f"{deaf}\nwhile True: pass", limits).how == how


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


@shut_in
def test_nothing_is_left_when_the_caller_is_killed():
    forever = "from divreg.graders import sandbox; sandbox.run('import time; time.sleep(99)')"
    with subprocess.Popen([sys.executable, "-c", forever]) as caller:
        assert until(lambda: len(children(caller.pid)) == 3)  # launcher, process 1, program
        caller.kill()
    assert until(lambda: not children(caller.pid))


@shut_in
def test_nothing_is_left_when_the_launcher_is_killed():
    forever = "from divreg.graders import sandbox; sandbox.run('import time; time.sleep(99)')"
    with subprocess.Popen([sys.executable, "-c", forever]) as caller:
        assert until(lambda: len(children(caller.pid)) == 3)
        os.kill(min(map(int, children(caller.pid))), signal.SIGKILL)
        assert until(lambda: not children(caller.pid))
        assert caller.wait(10) == 0  # "killed" is an outcome


def until(happened):
    """Wait for something to happen, ten seconds at most."""
    return any(happened() or time.sleep(0.02) for _ in range(500))


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


@posix
def test_a_machine_without_namespaces_is_refused(repo):
    if shutil.which("unshare") is None or REFUSED is not None:
        reason = REFUSED if sys.platform == "linux" else sandbox.available()
        assert reason is not None
        assert "--unsandboxed" in reason
        return
    done = in_namespace(repo, WHERE, before="echo 0 > /proc/sys/user/max_user_namespaces")
    said = "Grading code needs a sandbox of Linux namespaces; got: unshare: No space left on device"
    assert done.returncode == 1
    assert done.stdout.startswith(said)
    assert f"ValueError: {said}" in done.stderr
    assert "type --unsandboxed (unsandboxed=True)" in done.stdout


def in_namespace(repo, code, before=":"):
    """Run Python as the root of a user namespace in which something was done before."""
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
    assert sandbox.run(program, SHORT, unsandboxed=True).how == how


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
    ],
)
def test_without_the_sandbox_calls_are_refused_on_linux(program):
    assert sandbox.run(program, SHORT, unsandboxed=True).how == "failed"


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
def test_a_limit_that_is_none_is_refused(wrong):
    ((name, value),) = wrong.items()
    with pytest.raises(ValueError, match=rf"as {name}; got {re.escape(repr(value))}\. Use {name}="):
        Limits(**wrong)
