"""The sandbox, attacked: every attack is a program that comes to its end only if it succeeds."""

import ctypes
import os
import re
import signal
import socket
import string
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import pytest

from divreg.graders import sandbox
from divreg.graders.sandbox import Limits

REFUSED = sandbox.available() if sys.platform == "linux" else "not Linux"
pytestmark = pytest.mark.skipif(REFUSED is not None, reason=str(REFUSED))

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
    "memory that others share": (
        "$call\nlibc.shmat.restype = ctypes.c_void_p\n"
        "assert libc.shmat($segment, None, 0) != ctypes.c_void_p(-1).value",
        "AssertionError",
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
    "the environment in its own memory": (  # which lies before the name of the interpreter
        "$call\nlibc.getauxval.restype = ctypes.c_void_p\nend = libc.getauxval(31)\n"
        "assert b'DIVREG_' b'TOKEN=' in ctypes.string_at(end - 9999, 9999)",
        "AssertionError",
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
    "the old root": (
        "import os; assert any(os.path.exists(f'/{top}/etc/passwd') for top in os.listdir('/'))",
        "failed",
        "AssertionError",
    ),
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
    home = Path.home()
    with (
        socket.create_server(("127.0.0.1", 0)) as tcp,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp,
        socket.socket(socket.AF_UNIX) as abstract,
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as datagrams,
        tempfile.NamedTemporaryFile() as file,
        tempfile.NamedTemporaryFile(dir=home if os.access(home, os.W_OK) else None) as at_home,
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
        libc = ctypes.CDLL(None)
        segment = libc.shmget(0, 4096, 0o1666)  # private, new, for all to read and write
        assert segment >= 0
        yield {
            "segment": segment,
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
        libc.shmctl(segment, 0, None)  # remove it


def children(parent):
    """Processes of the sandbox that a process started: it is named among their arguments."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().split(b"\0")
        except OSError:
            continue
        if any(b"_child." in word for word in words) and str(parent).encode() in words:
            found.append(int(path.parent.name))
    return found


@pytest.mark.parametrize("name", REACHES)
def test_it_cannot_reach(name, targets):
    source, refusal = REACHES[name]
    program = string.Template(source).substitute(targets)
    outside = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert outside.returncode == 0, f"no attack: {outside.stderr}"
    outcome = sandbox.run(program)
    assert outcome.how == "failed"
    assert refusal in outcome.output


@pytest.mark.parametrize("name", ATTACKS)
def test_it_withstands(name, targets):
    source, how, says = ATTACKS[name]
    outcome = sandbox.run(string.Template(source).substitute(targets))
    assert outcome.how == how, outcome
    assert re.search(says, outcome.output), outcome
    assert len(outcome.output) <= sandbox.USUAL.output_kib * 1024
    assert not children(os.getpid())


@pytest.mark.parametrize("name", ENDLESS)
def test_it_ends(name, targets):
    program = string.Template(ENDLESS[name]).substitute(targets)
    assert sandbox.run(program, SHORT).how == "timed out"
    assert not children(os.getpid())


@pytest.mark.parametrize(
    ("deaf", "how"),
    [("", "timed out"), ("import signal; signal.signal(signal.SIGXCPU, signal.SIG_IGN)", "killed")],
)
def test_time_on_the_processor_is_limited_too(deaf, how):
    limits = Limits(seconds=60.0, cpu_seconds=1)
    assert sandbox.run(f"{deaf}\nwhile True: pass", limits).how == how


@pytest.mark.parametrize("victim", ["caller", "launcher"])
def test_nothing_is_left_when_somebody_is_killed(victim):
    sleep = (
        "from divreg.graders import sandbox\n"
        "sandbox.run('import time; time.sleep(999)', sandbox.Limits(seconds=999))"
    )
    command = [sys.executable, "-c", sleep]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as caller:
        try:
            assert until(lambda: len(children(caller.pid)) == 3)  # launcher, process 1, program
            launcher = next(p for p in children(caller.pid) if parent_of(p) == caller.pid)
            os.kill(caller.pid if victim == "caller" else launcher, signal.SIGKILL)
            assert until(lambda: not children(caller.pid))
        finally:
            caller.kill()


def parent_of(process):
    (parent,) = re.findall(r"^PPid:\t(\d+)", Path(f"/proc/{process}/status").read_text(), re.M)
    return int(parent)


def test_a_process_that_the_caller_forks_meanwhile_does_not_hold_it_up():
    outcomes = []
    program = "import time; time.sleep(1)"
    run = threading.Thread(target=lambda: outcomes.append(sandbox.run(program, Limits(seconds=60))))
    run.start()
    assert until(lambda: children(os.getpid()))
    time.sleep(0.3)  # `Popen` itself waits for who is forked while it starts a process
    forked = os.fork()
    if forked == 0:
        time.sleep(99)  # with a copy of the pipes
        os._exit(0)
    run.join()
    os.kill(forked, signal.SIGKILL)
    os.waitpid(forked, 0)
    assert outcomes[0].passed


def until(happened):
    """Wait for something to happen, ten seconds at most."""
    return any(happened() or time.sleep(0.02) for _ in range(500))
