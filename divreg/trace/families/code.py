"""Programs: HumanEval, MBPP, CRUXEval. Graded by running them with the data set's tests.

What a model wrote is run in :mod:`divreg.graders.sandbox`. The class of an answer to HumanEval or
MBPP is its program, layout and comments aside; to CRUXEval, the value that it foretells.

Source:
    Karouzos et al., arXiv:2604.16027, and its repository: the data sets, splits, and what ends an
    answer. Columns: of the hub's pages, for CRUXEval of programs that read it.

Not run here: there was no hub on the machine on which this was written; the rows in ``rows/`` are
divreg's own.

Differs from the paper:
    A prompt of MBPP holds the tests, as in Austin et al., arXiv:2108.07732: without them nobody can
    know what to call the function. CRUXEval is graded too, and its prompt without chat template is
    an assertion to go on with.
"""

import ast
from typing import Any

from divreg.graders import code
from divreg.trace.families.family import Family, Row, ask


def _humaneval(row: Row) -> dict[str, Any]:
    question = (
        "Complete this Python function. Answer with the whole function, and the imports that it "
        f"needs, in one block of code.\n\n```python\n{row['prompt']}```"
    )
    return {
        "prompt": ask(question),
        "plain": row["prompt"],
        "test": row["test"],
        "entry_point": row["entry_point"],
    }


def _mbpp(row: Row) -> dict[str, Any]:
    tests = "\n".join(row["test_list"])
    question = (
        f"{row['text']}\n\nIt has to pass these tests:\n\n```python\n{tests}\n```\n\nAnswer with "
        "the program, without the tests, in one block of Python."
    )
    return {
        "prompt": ask(question),
        "plain": f'"""\n{row["text"]}\n{tests}\n"""\n',
        "test_list": row["test_list"],
        "test_setup_code": row["test_setup_code"],
    }


def _cruxeval(row: Row) -> dict[str, Any]:
    question = (
        f"```python\n{row['code']}\n```\n\nWhat does f({row['input']}) return? Work it out, then "
        "write the value as a Python literal between [ANSWER] and [/ANSWER]."
    )
    return {
        "prompt": ask(question),
        "plain": f"{row['code']}\n\nassert f({row['input']}) ==",
        "code": row["code"],
        "input": row["input"],
    }


def _solves(text: str, row: Row, *, unsandboxed: bool) -> bool:
    program = code.humaneval({**row, "prompt": row["plain"]}, text)  # the data set's own prompt
    return code.passes(program, unsandboxed=unsandboxed)


def _passes(text: str, row: Row, *, unsandboxed: bool) -> bool:
    return code.passes(code.mbpp(row, text), unsandboxed=unsandboxed)


def _foretells(text: str, row: Row, *, unsandboxed: bool) -> bool:
    return code.passes(code.cruxeval(row, text), unsandboxed=unsandboxed)


def foretold(text: str) -> str | None:
    """Return the value that an answer to CRUXEval foretells, as Python writes it.

    >>> foretold("[ANSWER]{'a':1,}[/ANSWER]"), foretold("I cannot say.")
    ("{'a': 1}", None)
    """
    try:
        return repr(ast.literal_eval(code.prediction(text)))
    except (SyntaxError, ValueError, TypeError, RecursionError, MemoryError):
        return None


FAMILIES = (
    Family(
        name="humaneval",
        group="code",
        hub="openai/openai_humaneval",
        config="openai_humaneval",
        split="test",
        columns={"prompt": str, "test": str, "entry_point": str},
        prepare=_humaneval,
        max_tokens=1024,
        is_correct=_solves,
        answer=code.same_program_key,
        stop=("\nclass ", "\ndef ", "\n#", "\nif __name__", "\nprint("),
        runs_code=True,
        prompts=None,
    ),
    Family(
        name="mbpp",
        group="code",
        hub="google-research-datasets/mbpp",
        config="full",
        split="test",
        columns={"text": str, "test_list": list, "test_setup_code": str},
        prepare=_mbpp,
        max_tokens=1024,
        is_correct=_passes,
        answer=code.same_program_key,
        stop=("\nclass ", "\n#", "\nif __name__", '\n"""', "\nassert "),
        runs_code=True,
    ),
    Family(
        name="cruxeval",
        group="code",
        hub="cruxeval-org/cruxeval",
        config=None,
        split="test",
        columns={"code": str, "input": str},
        prepare=_cruxeval,
        max_tokens=1024,
        is_correct=_foretells,
        answer=foretold,
        stop=("\n",),
        runs_code=True,
    ),
)
