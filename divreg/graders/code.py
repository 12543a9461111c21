"""Grade code: the program in an answer, run with the tests of its data set.

A row and an answer make one text, which :func:`passes` runs in the sandbox; making it runs nothing.
Rows are those of HumanEval (``openai/openai_humaneval``), MBPP (``google-research-datasets/mbpp``,
full and sanitized) and CRUXEval (``cruxeval-org/cruxeval``).
"""

import ast
import re
import textwrap
import threading
import warnings
from collections.abc import Mapping
from typing import Any

from divreg.graders.sandbox import USUAL, Limits, run

_FENCED = re.compile(r"^([ \t]*)```+[ \t]*(\w*)[^\n]*\n(.*?)(?:^[ \t]*```|\Z)", re.M | re.S)
_MARKED = re.compile(r"\[ANSWER\](.*?)(?:\[/ANSWER\]|\Z)", re.S)
_PYTHON = ("python", "python3", "py")
_WITH_DOCSTRING = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
_PARSING = threading.Lock()  # catch_warnings changes what all threads see


def passes(program: str, *, limits: Limits = USUAL, unsandboxed: bool = False) -> bool:
    """Whether a program comes to its end: every assertion holds, nothing is raised, in its limits.

    Args:
        program: An answer with its tests, as :func:`humaneval` and its like make it.
        limits: What it may use.
        unsandboxed: Run it without the sandbox; see :func:`divreg.graders.sandbox.run`.

    Raises:
        ValueError: If there is no sandbox here, and it was not waived.
    """
    return run(program, limits, unsandboxed).passed


def extract(text: str) -> str:
    r"""Take the program out of an answer.

    The last fenced block that says it is Python, else the last fenced block, else the whole text; a
    block that was cut off runs to the end. The indentation of its first line stays.

    >>> extract("Try this:\n```python\nx = 1\n```\nor:\n```sh\nls\n```")
    'x = 1\n'
    >>> extract("    return a + b")
    '    return a + b'
    """
    blocks = list(_FENCED.finditer(text))
    if not blocks:
        return text
    chosen = ([b for b in blocks if b[2].lower() in _PYTHON] or blocks)[-1]
    return re.sub(f"^{chosen[1]}", "", chosen[3], flags=re.M)


def humaneval(row: Mapping[str, Any], answer: str) -> str:
    """Return the program that tests an answer to a row of HumanEval.

    The answer is a program that defines the function, or goes on where the prompt stops: the body
    alone, which may have lost its indentation, or that of its first line.

    Args:
        row: With ``prompt``, ``test`` and ``entry_point``.
        answer: What a model wrote.
    """
    prompt, test, name = _columns("HumanEval", row, "prompt", "test", "entry_point")
    code = extract(answer)
    body = code.lstrip("\n")
    if _defines(code, name):
        ways = [f"{prompt}\n{code}"]  # the prompt brings its imports and helpers
    elif body[:1].isspace():
        ways = [prompt + body]
    else:
        ways = [prompt + textwrap.indent(body, "    "), f"{prompt}    {body}"]
    whole = next((way for way in ways if _parse(way)), ways[0])
    return _tested(whole, f"{test}\n\ncheck({name})")


def mbpp(row: Mapping[str, Any], answer: str) -> str:
    """Return the program that tests an answer to a row of MBPP, full or sanitized.

    Args:
        row: With ``test_list`` and ``test_setup_code`` (full) or ``test_imports`` (sanitized).
        answer: What a model wrote.
    """
    (tests,) = _columns("MBPP", row, "test_list")
    setup = [*(row.get("test_imports") or ()), row.get("test_setup_code") or ""]
    return "\n".join(setup) + "\n" + _tested(extract(answer), "\n".join(tests))


def cruxeval(row: Mapping[str, Any], answer: str) -> str:
    """Return the program that tests the output that an answer foretells for a row of CRUXEval.

    The foretold output has to be a literal: neither a call of the function nor an object that
    equals everything passes.

    Args:
        row: With ``code``, which defines ``f``, and ``input``, its arguments.
        answer: What a model wrote; see :func:`prediction`.
    """
    code, given = _columns("CRUXEval", row, "code", "input")
    literal = f"__import__('ast').literal_eval({prediction(answer)!r})"
    return _tested(code, f"assert f({given}) == {literal}")


def prediction(answer: str) -> str:
    r"""Take the value out of an answer that foretells one.

    It stands between ``[ANSWER]`` and ``[/ANSWER]``, or in a block, or is the last line; of a
    comparison it is the right side.

    >>> prediction("[ANSWER]assert f([1, 2]) == [2, 1][/ANSWER]")
    '[2, 1]'
    >>> prediction("It turns the list around.\n[2, 1]")
    '[2, 1]'
    """
    marked = _MARKED.findall(answer)
    said = (marked[-1] if marked else extract(answer)).strip()
    tree = _parse(said) or _parse(said := said.rpartition("\n")[2].strip())
    match tree:
        case ast.Module(body=[*_, ast.Assert(test=value) | ast.Expr(value=value)]):
            if isinstance(value, ast.Compare) and isinstance(value.ops[-1], ast.Eq):
                value = value.comparators[-1]
            return ast.get_source_segment(said, value) or said
    return said


def same_program_key(text: str) -> str | None:
    r"""Return a text that two answers share if they are one program, but for how it is written.

    Layout, comments, docstrings, brackets and quotes do not count; names and order do. The text is
    a program: the answer's own, as Python writes it.

    Returns:
        The program, or None if the answer holds none that Python can read and write.

    >>> same_program_key("x = (1)  # one")
    'x = 1'
    """
    code = extract(text)
    tree = _parse(code) or _parse(textwrap.dedent(code))
    if tree is None:
        return None
    for node in ast.walk(tree):
        if isinstance(node, _WITH_DOCSTRING) and ast.get_docstring(node, clean=False) is not None:
            node.body[:1] = [] if node.body[1:] or isinstance(node, ast.Module) else [ast.Pass()]
    try:
        return ast.unparse(tree) or None
    except (ValueError, RecursionError):  # a number of 4,301 digits; nested too deep
        return None


def _tested(code: str, tests: str) -> str:
    """Add tests; code that is no Python stays alone, so that no test can complete it."""
    return f"{code}\n\n{tests}\n" if _parse(code) else code


def _defines(code: str, name: str) -> bool:
    tree = _parse(code)
    return tree is not None and any(
        isinstance(node, ast.FunctionDef) and node.name == name for node in tree.body
    )


def _parse(code: str) -> ast.Module | None:
    with _PARSING, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of an answer's escapes, say
        try:
            return ast.parse(code)
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            return None


def _columns(who: str, row: Mapping[str, Any], *names: str) -> list[Any]:
    if missing := [name for name in names if name not in row]:
        raise ValueError(
            f"A row of {who} needs the columns {', '.join(names)}; got none called {missing[0]} "
            f"(columns: {', '.join(row) or 'none'}). Rename them, or pass a row of the data set."
        )
    return [row[name] for name in names]
