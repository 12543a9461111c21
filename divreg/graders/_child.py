"""Shut this process in and run one program: what :mod:`divreg.graders.sandbox` starts.

It is loaded by an interpreter of its own, ``python -I -S -B``, that knows the standard library
alone. There are three processes. The *launcher* leaves the machine's namespaces, builds a root of
its own, and ends the rest when it is told to. *Process 1* of the new process namespace is a child
of it and waits; when it ends, the kernel kills whatever is left in there. The *program* is a child
of process 1, gives up every right before its first line, and cannot make another process.
"""

import ctypes
import os
import signal
import struct
import sys
from collections.abc import Callable
from types import ModuleType

READY = b"ready"
"""Written to the verdict's pipe before the program's first line; its token, after the last."""

LINUX = sys.platform == "linux"
MIB = 1 << 20
ROOT, PROGRAM, NOBODY = 0, 1000, 65534  # user and group inside; inside; on the machine

# linux/sched.h, linux/mount.h, linux/prctl.h, linux/filter.h, linux/seccomp.h, asm/errno.h
NEW_NAMESPACES = 0x10000000 | 0x20000 | 0x20000000 | 0x40000000 | 0x8000000 | 0x4000000
"""User, mount, process, network, IPC and host name."""
MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_REMOUNT, MS_BIND = 1, 2, 4, 8, 32, 4096
MS_REC, MS_PRIVATE, MNT_DETACH = 1 << 14, 1 << 18, 2
PDEATHSIG, SET_SECCOMP, CAPBSET_DROP, SET_NO_NEW_PRIVS = 1, 22, 24, 38
LOAD, EQUAL, AT_LEAST, RETURN = 0x20, 0x15, 0x35, 0x06
KILL, ALLOW, ERRNO = 0x80000000, 0x7FFF0000, 0x50000
EPERM, EINVAL, ENOSYS = 1, 22, 38

MACHINES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
DENIED = {  # numbers on x86_64 and on aarch64
    # another process or thread, another program
    "clone": (56, 220),
    "fork": (57, None),
    "vfork": (58, None),
    "execve": (59, 221),
    "execveat": (322, 281),
    # the inside of another process
    "ptrace": (101, 117),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "kcmp": (312, 272),
    # the network: a new namespace does not stop AF_VSOCK; socketpair stays, for asyncio
    "socket": (41, 198),
    # other namespaces, other roots, files by handle
    "unshare": (272, 97),
    "setns": (308, 268),
    "mount": (165, 40),
    "umount2": (166, 39),
    "pivot_root": (155, 41),
    "chroot": (161, 51),
    "name_to_handle_at": (303, 264),
    "open_by_handle_at": (304, 265),
    # memory that no limit of a process counts
    "memfd_create": (319, 279),
    "shmget": (29, 194),
    "msgget": (68, 186),
    "semget": (64, 190),
    "mq_open": (240, 180),
    "vmsplice": (278, 75),
    "io_setup": (206, 0),
    # parts of the kernel that are known for their holes
    "bpf": (321, 280),
    "perf_event_open": (298, 241),
    "userfaultfd": (323, 282),
    "add_key": (248, 217),
    "request_key": (249, 218),
    "keyctl": (250, 219),
    "personality": (135, 92),
    "modify_ldt": (154, None),
    # the kernel's own messages
    "syslog": (103, 116),
}
SINCE_LINUX_5_1 = 424
"""From here on numbers are the same everywhere; all are refused, as an older kernel would: mounts
by file descriptor, io_uring, clone3, pidfd, and whatever is still to come."""
OLD = "/.old"
"""Where the machine's root is, while the new one is built."""


def main() -> None:
    """Read how and what to run from the arguments and from stdin, run it, exit as it did."""
    try:
        launch(*map(int, sys.argv[1:]))
    except OSError as refused:
        sys.exit(str(refused))


def launch(
    shut_in: int, verdict: int, parent: int, seconds: int, cpu_seconds: int, memory: int, files: int
) -> None:
    """Start the program, shut in or not, and exit as it did.

    Args:
        shut_in: Whether to leave the machine's namespaces.
        verdict: File descriptor of the pipe for ``READY`` and the token.
        parent: Process that must still be there.
        seconds: When process 1 gives up, should nobody be left to end it.
        cpu_seconds: See :class:`divreg.graders.sandbox.Limits`, as the two that follow.
        memory: MiB.
        files: MiB.
    """
    sys.path.pop()  # where this file was found
    libc = ctypes.CDLL(None, use_errno=True)
    if LINUX:
        libc.prctl.argtypes = [ctypes.c_int, *[ctypes.c_ulong] * 4]
        die_with_parent(libc, signal.SIGTERM if shut_in else signal.SIGKILL)
    if os.getppid() != parent:
        sys.exit("whoever started it is gone")
    token, source = sys.stdin.buffer.readline().strip(), sys.stdin.buffer.read()
    os.dup2(os.open(os.devnull, os.O_RDWR), 0)
    os.closerange(3, verdict)
    os.closerange(verdict + 1, verdict + 64)

    def program() -> None:
        set_limits(cpu_seconds, memory, files)
        if shut_in or (LINUX and os.uname().machine in MACHINES):
            filter_calls(libc)
        execute(source.decode("utf-8", "surrogatepass"), token, verdict)

    if not shut_in:
        program()
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # ignored, it would hide how a child ended
    leave_the_machine(libc)
    build_a_root(libc, files)
    heard = {signal.SIGTERM, signal.SIGCHLD}  # from whoever started us, and from process 1
    signal.pthread_sigmask(signal.SIG_BLOCK, heard)

    def shut_in_program() -> None:
        os.chdir("/tmp")
        give_up_rights(libc)
        program()

    def process_1() -> None:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, heard)
        signal.signal(signal.SIGALRM, lambda *_: os._exit(1))
        signal.alarm(seconds)  # in case that the launcher was killed before the next line
        die_with_parent(libc, signal.SIGKILL)
        os.setsid()
        os._exit(ended(in_child(shut_in_program)))

    child = in_child(process_1)
    if signal.sigwait(heard) == signal.SIGTERM:
        os.kill(child, signal.SIGKILL)
    os._exit(ended(child))


def in_child(run: Callable[[], None]) -> int:
    """Run a function in a child process, and never return there."""
    child = os.fork()
    if child:
        return child
    try:
        run()
    except BaseException as error:
        os.write(2, f"{error}\n".encode(errors="replace"))
    os._exit(1)


def ended(child: int) -> int:
    """Wait for a child and return how it ended: its code, or 128 and the signal."""
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return code if code >= 0 else 128 - code


def check(result: int, what: str) -> None:
    """Raise OSError if a call of the C library failed."""
    if result < 0:
        raise OSError(f"{what}: {os.strerror(ctypes.get_errno())}")


def die_with_parent(libc: ctypes.CDLL, how: signal.Signals) -> None:
    """Have the kernel send a signal when the parent of this process ends."""
    check(libc.prctl(PDEATHSIG, how, 0, 0, 0), "PR_SET_PDEATHSIG")


def leave_the_machine(libc: ctypes.CDLL) -> None:
    """Enter namespaces of our own; the program will be nobody on the machine if root starts it."""
    unshared, told = os.pipe()
    launcher, user, group = os.getpid(), os.geteuid(), os.getegid()

    def map_ids() -> None:  # out here, as only who stayed may map more than itself
        os.close(told)
        os._exit(0 if os.read(unshared, 1) and _mapped(f"/proc/{launcher}", user, group) else 1)

    helper = in_child(map_ids)
    check(libc.unshare(NEW_NAMESPACES), "unshare")
    os.write(told, b".")
    if ended(helper):
        raise OSError("uid_map: the kernel refuses it")
    os.close(told)
    os.close(unshared)
    check(libc.sethostname(b"sandbox", 7), "sethostname")


def _mapped(process: str, user: int, group: int) -> bool:
    """Write whom the ids of a process's new namespace stand for; False if the kernel refuses."""
    both = f"{ROOT} {user} 1\n{PROGRAM} {NOBODY} 1", f"{ROOT} {group} 1\n{PROGRAM} {NOBODY} 1"
    mine = f"{PROGRAM} {user} 1", f"{PROGRAM} {group} 1"
    for users, groups in [both, mine] if user == 0 else [mine]:
        try:
            if groups == mine[1]:  # whoever may map only itself must not leave its groups
                _write(f"{process}/setgroups", "deny")
            _write(f"{process}/uid_map", users)
            _write(f"{process}/gid_map", groups)
            return True
        except OSError:
            continue
    return False


def _write(path: str, text: str) -> None:
    with open(path, "w", encoding="ascii") as file:
        file.write(text)


def build_a_root(libc: ctypes.CDLL, files: int) -> None:
    """Replace the root by an empty one, with what the interpreter loads, all of it read-only.

    Args:
        libc: The C library.
        files: Size of its ``/tmp``, the only place to write to, MiB.
    """

    def mount(
        source: str | None, target: str, kind: str | None, flags: int, data: str = ""
    ) -> None:
        encoded = [os.fsencode(x) if x else None for x in (source, target, kind)]
        check(libc.mount(*encoded, ctypes.c_ulong(flags), data.encode()), f"mount {target}")

    libraries = [f"{prefix}/{lib}" for prefix in ("", "/usr") for lib in ("lib", "lib64")]
    own = [f"{prefix}/lib" for prefix in (sys.base_prefix, sys.base_exec_prefix)]
    shown = [*libraries, *own, *sys.path, "/etc/ld.so.cache", "/dev/null", "/dev/urandom"]
    real = {path: os.path.realpath(path) for path in shown if os.path.exists(path)}
    links = {path: os.readlink(path) for path in libraries if os.path.islink(path)}

    mount(None, "/", None, MS_REC | MS_PRIVATE)
    mount("tmpfs", "/tmp", "tmpfs", MS_NOSUID | MS_NODEV, "size=64k,nr_inodes=512,mode=755")
    os.mkdir(f"/tmp{OLD}")
    check(libc.pivot_root(b"/tmp", f"/tmp{OLD}".encode()), "pivot_root")
    os.chdir("/")
    os.mkdir("/tmp")
    closed = MS_NOSUID | MS_NODEV | MS_NOEXEC
    mount("tmpfs", "/tmp", "tmpfs", closed, f"size={files}m,nr_inodes=4096,mode=1777")
    for path, source in real.items():
        if path in links:
            os.symlink(links[path], path)
        elif not os.path.exists(path):
            folder = os.path.isdir(OLD + source)
            os.makedirs(path if folder else os.path.dirname(path), exist_ok=True)
            if not folder:
                os.close(os.open(path, os.O_CREAT | os.O_WRONLY))
            mount(OLD + source, path, None, MS_BIND | MS_REC)
    points = _mount_points(f"{OLD}/proc/self/mountinfo")
    check(libc.umount2(OLD.encode(), MNT_DETACH), "umount2")
    os.rmdir(OLD)
    for point in points:
        if point not in ("/tmp", OLD) and not point.startswith(f"{OLD}/"):
            # What the machine's own mount forbids has to stay forbidden.
            kept = os.statvfs(point).f_flag & (MS_NODEV | MS_NOEXEC)
            kept |= MS_NOSUID if point.startswith("/dev/") else MS_NOSUID | MS_NODEV
            mount(None, point, None, MS_BIND | MS_REMOUNT | MS_RDONLY | kept)


def _mount_points(path: str) -> list[str]:
    """Read where something is mounted; a blank is written as an octal number there."""
    with open(path, "rb") as file:
        points = [line.split()[4].decode("unicode_escape") for line in file]
    return [os.fsdecode(point.encode("latin-1")) for point in points]


def give_up_rights(libc: ctypes.CDLL) -> None:
    """Become a user without any capability, in this process and in all that it could become."""
    for capability in range(64):
        dropped = libc.prctl(CAPBSET_DROP, capability, 0, 0, 0)
        if dropped < 0 and ctypes.get_errno() == EINVAL:
            break  # it was the last one that the kernel knows
        check(dropped, "PR_CAPBSET_DROP")
    if os.getuid() == ROOT:
        os.setgroups([])
    os.setresgid(PROGRAM, PROGRAM, PROGRAM)
    os.setresuid(PROGRAM, PROGRAM, PROGRAM)
    none = struct.pack("6I", *[0] * 6)
    check(libc.capset(struct.pack("Ii", 0x20080522, 0), none), "capset")


def set_limits(cpu_seconds: int, memory: int, files: int) -> None:
    """Limit the time, memory (MiB) and files (MiB) of this process, for good."""
    import resource  # not at the top: Windows lacks it, where this file is read but never run

    limits = {"CORE": 0, "FSIZE": files * MIB, "NOFILE": 64}
    if LINUX:  # elsewhere these are missing, refused, or count what others run
        limits |= {"AS": memory * MIB, "NPROC": 1, "MEMLOCK": 0, "MSGQUEUE": 0, "SIGPENDING": 64}
    pairs = {name: (most, most) for name, most in limits.items()}
    pairs["CPU"] = (cpu_seconds, cpu_seconds + 1)  # SIGXCPU, then SIGKILL
    for name, pair in pairs.items():
        limit = getattr(resource, f"RLIMIT_{name}")
        allowed = resource.getrlimit(limit)[1]
        if allowed != resource.RLIM_INFINITY:  # a limit is never raised
            pair = min(pair[0], allowed), min(pair[1], allowed)
        resource.setrlimit(limit, pair)


def filter_calls(libc: ctypes.CDLL) -> None:
    """Have the kernel refuse the system calls of ``DENIED`` and the young ones, for good."""
    machine = os.uname().machine
    if machine not in MACHINES:
        raise OSError(f"the system calls of {machine} are not known, only {', '.join(MACHINES)}")
    column = list(MACHINES).index(machine)

    def refuse(which: int, number: int, error: int) -> list[tuple[int, int, int, int]]:
        return [(which, 0, 1, number), (RETURN, 0, 0, ERRNO | error)]

    code = [(LOAD, 0, 0, 4), (EQUAL, 1, 0, MACHINES[machine]), (RETURN, 0, 0, KILL)]
    code.append((LOAD, 0, 0, 0))  # in place of the kind of machine, the number of the call
    code += refuse(AT_LEAST, SINCE_LINUX_5_1, ENOSYS)
    for numbers in DENIED.values():
        if numbers[column] is not None:
            code += refuse(EQUAL, numbers[column], EPERM)
    code.append((RETURN, 0, 0, ALLOW))
    instructions = b"".join(struct.pack("HBBI", *line) for line in code)
    kept = ctypes.create_string_buffer(instructions)
    whole = ctypes.create_string_buffer(struct.pack("HP", len(code), ctypes.addressof(kept)))
    check(libc.prctl(SET_NO_NEW_PRIVS, 1, 0, 0, 0), "PR_SET_NO_NEW_PRIVS")
    check(libc.prctl(SET_SECCOMP, 2, ctypes.addressof(whole), 0, 0), "PR_SET_SECCOMP")


def execute(source: str, token: bytes, verdict: int) -> None:
    """Run the program's text as a module of its own; write the token if it comes to its end."""
    write, leave = os.write, os._exit
    os.environ.clear()
    sys.argv[:] = ["program"]
    module = sys.modules["program"] = ModuleType("program")
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="backslashreplace")  # pyright: ignore[reportAttributeAccessIssue]
    write(verdict, READY)
    try:
        exec(compile(source, "<program>", "exec", dont_inherit=True), module.__dict__)
        sys.stdout.flush()
        write(verdict, token)
        leave(0)
    except BaseException as error:
        import linecache
        import traceback

        lines = source.splitlines(keepends=True)
        linecache.cache["<program>"] = (len(source), None, lines, "<program>")
        if error.__traceback__:
            error.__traceback__ = error.__traceback__.tb_next  # this function's own line
        traceback.print_exception(error, limit=-8)
        sys.stdout.flush()
    finally:
        leave(1)
