r"""Answers to questions of mathematics, read and compared by math-verify.

An answer can be hostile without meaning it: ``\boxed{9^{9^{9^9}}}`` never ends. So math-verify
works in a process of its own, one for each thread that asks, with a limit on memory; what takes it
too long is no answer, and the process is replaced. Its own time limits are off: they work in the
main thread only, and not inside one long multiplication. Both functions may be called from several
threads at once.
"""

import hashlib
import importlib.util
import json
import os
import subprocess
import sys
import threading
import weakref
from functools import lru_cache
from typing import Any

SECONDS = 5.0
"""For one question; one that takes longer has no answer."""
MEMORY = 2 << 30
"""Bytes of address space that the process may take, where the system can limit it."""
CHARS = 4000
"""Of a text, its end is read: about so much of it."""
LONGEST = 200
"""Characters of a class's name; what is longer ends in a hash."""


def is_equal(text: str, gold: str) -> bool:
    r"""Whether the answer in a text has the value of the right one.

    What of a text is the answer, math-verify decides: the last boxed one, else what follows "the
    answer is", else the last formula or number.

    Args:
        text: A completion.
        gold: The right answer, or a whole solution that ends with it.

    Raises:
        ValueError: If math-verify is not installed.

    >>> is_equal(r"so $\frac{1}{2}$ of them, \boxed{0.5}", r"\boxed{\frac12}")
    True
    >>> is_equal("The answer is 7.", "3 + 5 = 8 #### 8")
    False
    """
    return _asked("is_equal", _end(text), _end(gold)) is True


def answer(text: str) -> str | None:
    r"""Return the class of the answer in a text: equal values are one class; None without one.

    Numbers are equal to six decimals, as math-verify compares them; formulas are multiplied out.
    Some that math-verify calls equal are still two classes: an interval and the inequality that
    says the same, an equation and its double.

    Raises:
        ValueError: If math-verify is not installed.

    >>> answer(r"\boxed{1,200.0}"), answer("It is 1200"), answer(r"\boxed{(x+1)^2}"), answer("no")
    ('1200', '1200', 'x**2 + 2*x + 1', None)
    """
    return _asked("answer", _end(text))


def need() -> None:
    """Raise a ValueError that says what to install, if math-verify is not there."""
    if importlib.util.find_spec("math_verify") is None:
        raise ValueError(
            "Grading maths needs math-verify, which is not installed. Type: "
            "pip install 'divreg[math]'"
        )


def _end(text: str) -> str:
    """Cut the beginning off a long text, at the end of a line if there is one."""
    if len(text) <= CHARS:
        return text
    end = text[-CHARS:]
    return end.partition("\n")[2] or end


@lru_cache(maxsize=1 << 12)  # rewards, signals and graders ask the same of the same text
def _asked(*question: str) -> Any:
    try:
        return _worker().ask(question)
    except _GoneError:  # perhaps killed by somebody else: ask once more
        pass
    try:
        return _worker().ask(question)
    except _GoneError:
        return None


class _GoneError(Exception):
    pass


class _Worker:
    """The process that math-verify runs in: a JSON line in, a JSON line out."""

    def __init__(self):
        need()
        # -P: the folder of this file is not where the process looks for modules.
        command = [sys.executable, "-P", __file__, str(MEMORY)]
        self.owner = os.getpid()
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,  # what parsers say of what they cannot parse
            text=True,
            encoding="utf-8",
        )
        weakref.finalize(self, _end_process, self.process, self.owner)
        if self._line() is None:
            raise RuntimeError(
                f"The process that grades maths did not start. To see why, type: "
                f"{' '.join(command)}"
            )

    @property
    def is_alive(self) -> bool:
        return self.owner == os.getpid() and self.process.poll() is None

    def ask(self, question: tuple[str, ...]) -> Any:
        """Return the process's answer, None if it takes too long.

        Raises:
            _GoneError: If it is not there any more.
        """
        too_long = threading.Event()

        def stop() -> None:
            too_long.set()
            self.process.kill()

        timer = threading.Timer(SECONDS, stop)
        timer.daemon = True
        timer.start()
        line = None
        try:
            assert self.process.stdin is not None
            self.process.stdin.write(json.dumps(question) + "\n")
            self.process.stdin.flush()
            line = self._line()
        except BrokenPipeError:
            pass
        finally:
            timer.cancel()
            timer.join()
            if line is None or too_long.is_set():  # interrupted, too: its answer is nobody's
                self.process.kill()
                self.process.wait()
        if line is None and not too_long.is_set():
            raise _GoneError
        return None if line is None else json.loads(line)

    def _line(self) -> str | None:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        return line if line.endswith("\n") else None


_of_thread = threading.local()


def _worker() -> _Worker:
    found = getattr(_of_thread, "worker", None)
    if found is None or not found.is_alive:
        found = _of_thread.worker = _Worker()
    return found


def _end_process(process: "subprocess.Popen[str]", owner: int) -> None:
    if os.getpid() == owner:  # a fork's copy is not its own
        process.kill()
        process.wait()
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            pipe.close()


# What follows runs in that process only.


def _serve() -> None:
    """Answer questions until there are no more."""
    import logging
    import warnings

    if importlib.util.find_spec("resource") is not None:
        import resource

        limit = int(sys.argv[1])
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    logging.disable()
    warnings.simplefilter("ignore")
    import math_verify  # noqa: F401  # before the first question, whose time is limited

    replies, sys.stdout = sys.stdout, sys.stderr

    def say(reply: Any) -> None:
        replies.write(json.dumps(reply) + "\n")
        replies.flush()

    answers = {"is_equal": _is_equal, "answer": _class}
    say("ready")
    for line in sys.stdin:
        name, *texts = json.loads(line)
        try:
            reply = answers[name](*texts)
        except (Exception, RecursionError, MemoryError):
            reply = None
        say(reply)


def _parsed(text: str) -> list[Any]:
    from math_verify import parse

    return parse(text, parsing_timeout=None)  # pyright: ignore[reportArgumentType]


def _is_equal(text: str, gold: str) -> bool:
    from math_verify import verify

    return bool(verify(_parsed(gold), _parsed(text), timeout_seconds=None))


def _class(text: str) -> str | None:
    found = _parsed(text)
    for value in found:
        if not isinstance(value, str):
            return _short(_form(value))
    return _short(found[0].strip()) if found else None


def _short(form: str) -> str:
    if len(form) <= LONGEST:
        return form
    return f"{form[:LONGEST]}... ({hashlib.sha256(form.encode()).hexdigest()[:8]})"


def _form(value: Any) -> str:
    """Write a value so that equal ones are written alike."""
    import sympy

    if isinstance(value, sympy.Equality) and value.lhs.is_Symbol:
        return _form(value.rhs)  # x = 5 says 5
    if isinstance(value, sympy.FiniteSet):
        return "{" + ", ".join(sorted(map(_form, value.args))) + "}"
    if isinstance(value, sympy.Interval):
        left, right = "(" if value.left_open else "[", ")" if value.right_open else "]"
        return f"{left}{_form(value.start)}, {_form(value.end)}{right}"
    if isinstance(value, sympy.Tuple):
        return "(" + ", ".join(map(_form, value.args)) + ")"
    if isinstance(value, sympy.MatrixBase):
        rows = (", ".join(map(_form, row)) for row in value.tolist())
        return "[" + "; ".join(rows) + "]"
    if isinstance(value, sympy.core.relational.Relational):
        value = value.canonical  # 3 < x is x > 3
        sign = value.rel_op  # pyright: ignore[reportAttributeAccessIssue]
        return f"{_form(value.lhs)} {sign} {_form(value.rhs)}"
    value = value.doit()
    if not isinstance(value, sympy.Expr):
        return str(value)
    if value.is_Integer or (value.is_number and not value.is_finite):
        return str(value)
    if value.is_number:
        return _number(value)
    return str(sympy.cancel(sympy.nsimplify(value, rational=True)))


def _number(value: Any) -> str:
    real, imaginary = value.evalf(15).as_real_imag()
    written = [f"{float(part):.6f}".rstrip("0").rstrip(".") for part in (real, imaginary)]
    if written[1] in ("0", "-0"):
        return "0" if written[0] == "-0" else written[0]
    return f"{written[0]} + {written[1]}i"


if __name__ == "__main__":
    _serve()
