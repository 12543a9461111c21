"""Run a Python program that nobody has read, in a process that can reach nothing of the machine.

What holds it in (:func:`run`), with Linux alone and no right to administer it:

- namespaces of its own for users, mounts, processes, network, IPC and host name; started by root,
  it is nobody on the machine where root may become that; no capabilities, and none to be had;
- a root of its own: read-only libraries and the interpreter's own ``lib``, an empty ``/tmp`` in
  memory, ``/dev/null``, ``/dev/urandom``; no ``/proc``, no home, no other program; an empty
  environment, no open file but its output;
- one process with one thread, as system calls that make more are refused; so are those for
  sockets, other programs, tracing, mounting, memory beside the limits, and all that came with or
  after Linux 5.1;
- limits on time, memory, files and output (:class:`Limits`). With a single process they are limits
  on all that it does; buffers of pipes add some tens of MiB in the kernel.

It is not a virtual machine: a hole in the kernel is a way out. And a program that means to be
graded right can be: it runs in one interpreter with its tests, as in HumanEval's own harness, so it
can replace what they call, or read the token that says that the end was reached. What cannot
happen is that it passes by ending early, by its exit code, or by what it prints.
"""

import contextlib
import math
import os
import secrets
import selectors
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import IO, Literal

from divreg.graders._child import READY

# Imported, as a script is compiled anew at each start.
_START = (
    f"import sys; sys.path.append({str(Path(__file__).parent)!r}); import _child; _child.main()"
)

_GLANCE = 0.1  # seconds between two looks at whether the child is still there

How = Literal["passed", "failed", "timed out", "killed"]


@dataclass(frozen=True)
class Limits:
    """What a program may use.

    Args:
        seconds: Time on the clock, start of the interpreter included, > 0.
        cpu_seconds: Time on a processor, which a busy machine does not change, whole, >= 1.
        memory_mib: Address space, whole MiB, >= 64; an interpreter alone takes some 15.
        file_mib: All its files together, which lie in memory, whole MiB, >= 1; without the sandbox,
            each of them.
        output_kib: What it prints, whole KiB, >= 1; who prints more is killed.

    Raises:
        ValueError: If a limit is not such a number.
    """

    seconds: float = 10.0
    cpu_seconds: int = 5
    memory_mib: int = 512
    file_mib: int = 16
    output_kib: int = 256

    def __post_init__(self):
        for field in fields(self):
            value, least = getattr(self, field.name), 64 if field.name == "memory_mib" else 1
            whole = isinstance(value, int) and not isinstance(value, bool) and value >= least
            given = isinstance(value, float) and math.isfinite(value) and value > 0
            if not (whole or (given and field.name == "seconds")):
                what = "a number > 0" if field.name == "seconds" else f"an integer >= {least}"
                raise ValueError(
                    f"Limits needs {what} as {field.name}; got {value!r}. "
                    f"Use {field.name}={field.default}."
                )


USUAL = Limits()


@dataclass(frozen=True)
class Outcome:
    """How a program ended, and what it printed.

    Args:
        how: "passed": it came to its end. "failed": an exception, or an exit before the end.
            "timed out": on the clock or on the processor. "killed": by a signal, such as that for
            a broken memory access, or because it printed too much.
        output: What it wrote to stdout and stderr, at most ``output_kib``.
    """

    how: How
    output: str

    @property
    def passed(self) -> bool:
        """Whether the program came to its end."""
        return self.how == "passed"


def available() -> str | None:
    """Say why this machine cannot run a program in the sandbox: one sentence, or None if it can.

    It is tried, not guessed.
    """
    try:
        run("import math")
    except ValueError as error:
        return str(error)
    return None


def run(program: str, limits: Limits = USUAL, unsandboxed: bool = False) -> Outcome:
    """Run the text of a Python program with the standard library and nothing else.

    Safe to call from several threads at once. Its memory counts beside that of other programs.

    Args:
        program: Source; it runs as a module called "program", not as ``__main__``.
        limits: What it may use.
        unsandboxed: Run it as a process of the caller, who answers for it: in an empty folder, with
            an empty environment, the limits, and the refused system calls where there is Linux on
            x86_64 or aarch64. It can read all that the caller can, and write where the caller can.

    Raises:
        ValueError: If the sandbox is not to be had here, or the interpreter does not start.
    """
    if not unsandboxed and sys.platform != "linux":
        raise _refusal(f"this is {sys.platform}")
    if os.name != "posix":
        raise ValueError(f"A program's limits need Linux or macOS; got {sys.platform}. Use WSL.")
    token = secrets.token_hex(16).encode()
    with _started(program, token, limits, unsandboxed) as (process, verdict_pipe):
        deadline = time.monotonic() + limits.seconds
        output, verdict, cut = _read(process, verdict_pipe, deadline, limits.output_kib << 10)
    text = output.decode("utf-8", "replace")
    if cut is None and not verdict.startswith(READY):
        reason = " ".join(text.split()) or f"exit code {process.returncode}"
        if not unsandboxed:
            raise _refusal(reason)
        raise ValueError(f"A program needs an interpreter; got: {reason}. Check {sys.executable}.")
    return Outcome(cut or _how(process.returncode, verdict == READY + token), text)


def _refusal(reason: str) -> ValueError:
    return ValueError(
        f"Grading code needs a sandbox of Linux namespaces; got: {reason}. Allow user namespaces "
        f"(user.max_user_namespaces, kernel.apparmor_restrict_unprivileged_userns, the profile of "
        f"the container), or type --unsandboxed (unsandboxed=True) on a machine that has nothing "
        f"to lose."
    )


@contextlib.contextmanager
def _started(
    program: str, token: bytes, limits: Limits, unsandboxed: bool
) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """Start the child, and end it whatever happens; yields it and the pipe of its verdict."""
    with contextlib.ExitStack() as stack:
        folder = "/"
        if unsandboxed:
            temporary = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
            folder = stack.enter_context(temporary)
        request: IO[bytes] = stack.enter_context(tempfile.TemporaryFile())
        request.write(token + b"\n" + program.encode("utf-8", "surrogatepass"))
        request.seek(0)
        reading, writing = os.pipe()
        stack.callback(os.close, reading)
        numbers = (
            *(int(not unsandboxed), writing, os.getpid(), math.ceil(limits.seconds) + 5),
            *(limits.cpu_seconds, limits.memory_mib, limits.file_mib),
        )
        try:
            process = subprocess.Popen(
                [sys.executable, "-I", "-S", "-B", "-c", _START, *map(str, numbers)],
                stdin=request,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                env={},
                cwd=folder,
                pass_fds=[writing],
                start_new_session=True,
            )
        finally:
            os.close(writing)
        stack.enter_context(process)
        stack.callback(_end, process, unsandboxed)
        yield process, reading


def _read(
    process: subprocess.Popen[bytes], verdict: int, deadline: float, most: int
) -> tuple[bytes, bytes, How | None]:
    """Read both pipes to their ends, or until time or output is used up.

    Returns:
        Output, verdict, and why it was cut short, or None.
    """
    assert process.stdout is not None
    output = process.stdout.fileno()
    read = {output: bytearray(), verdict: bytearray()}
    cut: How | None = None
    with selectors.DefaultSelector() as selector:
        for pipe in read:
            selector.register(pipe, selectors.EVENT_READ)
        while cut is None and selector.get_map():
            left = deadline - time.monotonic()
            over = process.poll() is not None
            ready = selector.select(0 if over else min(max(left, 0), _GLANCE))
            if over and not ready:  # whatever the caller forked meanwhile has the pipes open too
                break
            for key, _ in ready:
                chunk = os.read(key.fd, 1 << 16)
                read[key.fd] += chunk
                if not chunk:
                    selector.unregister(key.fd)
            if sum(map(len, read.values())) > most:
                cut = "killed"
            elif left <= 0:
                cut = "timed out"
    return bytes(read[output][:most]), bytes(read[verdict]), cut


def _end(process: subprocess.Popen[bytes], unsandboxed: bool) -> None:
    """End a child and all that it started; return when nothing of it is left.

    In the sandbox the launcher is asked, as it can wait for the last process: it is out of the
    program's reach.
    """
    if not unsandboxed:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.terminate()
            process.wait(5)
            return
    with contextlib.suppress(ProcessLookupError, PermissionError):  # it has ended by itself
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _how(code: int, at_the_end: bool) -> How:
    if at_the_end and code == 0:
        return "passed"
    stopped_by = -code if code < 0 else code - 128
    if stopped_by == signal.SIGXCPU:
        return "timed out"
    return "killed" if stopped_by > 0 else "failed"
