"""Programs of the three data sets, run: what passes, what does not, which are one."""

import pytest

from divreg.graders import code, sandbox

UNSANDBOXED = sandbox.available() is not None  # where there is none, these programs are our own

HUMANEVAL = {
    "prompt": (
        "from typing import List\n\n\n"
        'def total(numbers: List[int]) -> int:\n    """Add them up.\n    >>> total([1, 2])\n    3\n'
        '    """\n'
    ),
    "canonical_solution": "    return sum(numbers)\n",
    "test": (
        "\n\nMETADATA = {}\n\n\n"
        "def check(candidate):\n    assert candidate([1, 2]) == 3\n    assert candidate([]) == 0\n"
    ),
    "entry_point": "total",
}
MBPP = {
    "text": "Write a function to find the length of the hypotenuse.",
    "code": "def side(a, b):\r\n  return math.sqrt(a * a + b * b)",
    "test_setup_code": "import math",
    "test_list": ["assert side(3, 4) == 5", "assert math.isclose(side(1, 1), 2**0.5)"],
    "challenge_test_list": [],
}
SANITIZED = {
    "prompt": MBPP["text"],
    "code": MBPP["code"],
    "test_imports": ["import math"],
    "test_list": MBPP["test_list"],
}
CRUXEVAL = {
    "code": "def f(text, n):\n    return [text] * n, {n: None}",
    "input": "'ab', 2",
    "output": "(['ab', 'ab'], {2: None})",
}


def passes(program):
    return code.passes(program, unsandboxed=UNSANDBOXED)


@pytest.mark.parametrize(
    "answer",
    [
        HUMANEVAL["canonical_solution"],
        "return sum(numbers)",
        "result = 0\n    for n in numbers:\n        result += n\n    return result",
        "result = 0\nfor n in numbers:\n    result += n\nreturn result\n",
        "```python\ndef total(numbers: List[int]) -> int:\n    return sum(numbers)\n```\nDone.",
        "Sure:\n1. Like this:\n   ```python\n   def total(x):\n       return sum(x)\n   ```",
        "```python\ndef total(x):\n    return sum(x)\n\nif __name__ == '__main__':\n    input()\n",
    ],
    ids=["body", "unindented", "first line", "all lines", "function", "list", "cut off"],
)
def test_a_right_answer_to_humaneval_passes(answer):
    assert passes(code.humaneval(HUMANEVAL, answer))


@pytest.mark.parametrize(
    "answer",
    [
        "    return len(numbers)\n",
        "",
        "    return sum(numbers\n",
        "    return sum(numbers)\nimport os\nos._exit(0)",
        "    return sum(numbers)\nraise SystemExit",
        '    return 0\n"""',
        "```python\ndef add(numbers):\n    return sum(numbers)\n```",
    ],
    ids=["wrong", "empty", "no Python", "exit", "end", "open quotes", "other name"],
)
def test_a_wrong_answer_to_humaneval_fails(answer):
    assert not passes(code.humaneval(HUMANEVAL, answer))


@pytest.mark.parametrize("row", [MBPP, SANITIZED], ids=["full", "sanitized"])
def test_mbpp_runs_its_imports_and_all_its_tests(row):
    assert passes(code.mbpp(row, row["code"]))
    assert passes(code.mbpp(row, f"```\n{row['code']}\n```"))
    assert not passes(code.mbpp(row, "def side(a, b):\n  return 5"))


def test_a_program_that_is_no_python_gets_no_tests():
    assert "assert" not in code.mbpp(MBPP, 'def side(a, b):\n    return 5\n"""')


@pytest.mark.parametrize(
    ("answer", "right"),
    [
        (CRUXEVAL["output"], True),
        ("f gives twice the text.\n[ANSWER]\n(['ab', 'ab'], {2: None})\n[/ANSWER]", True),
        ("```python\nassert f('ab', 2) == (['ab', 'ab'], {2: None})\n```", True),
        ("f('ab', 2) == (['ab'] * 2, {2: None})", False),  # no literal
        ("(['ab'], {2: None})", False),
        ("f('ab', 2)", False),
        ("type('Any', (), {'__eq__': lambda *_: True})()", False),
        ("I do not know", False),
        ("", False),
        ("1)\nimport os\nos._exit(0", False),
    ],
)
def test_cruxeval_compares_with_a_literal(answer, right):
    assert passes(code.cruxeval(CRUXEVAL, answer)) is right


@pytest.mark.parametrize(
    ("make", "columns"),
    [
        (code.humaneval, "prompt, test, entry_point"),
        (code.mbpp, "test_list"),
        (code.cruxeval, "code, input"),
    ],
)
def test_a_row_without_its_columns_is_refused(make, columns):
    with pytest.raises(ValueError, match=rf"needs the columns {columns}; got none called"):
        make({"question": "?"}, "")


@pytest.mark.parametrize(
    ("text", "program"),
    [
        ("x = 1", "x = 1"),
        ("```\na\n```\n```Python\nb\n```\n```bash\nc\n```", "b\n"),
        ("```\na\n```\n```bash\nb\n```", "b\n"),
        ("```py\n    a\n", "    a\n"),
        ("~ `x` ~", "~ `x` ~"),
    ],
)
def test_the_program_in_an_answer(text, program):
    assert code.extract(text) == program


def test_answers_that_differ_in_form_alone_are_one_program():
    one = 'def f(x):\n    """Add one."""\n    return x + 1  # of course\n'
    key = code.same_program_key(one)
    assert key == code.same_program_key("```python\ndef f(x): return (x+1)\n```")
    assert key != code.same_program_key("def f(y):\n    return y + 1")
    assert code.same_program_key("    return (x)") == code.same_program_key("return x")
    assert code.same_program_key("class A:\n    'doc'") == "class A:\n    pass"
    for none in (
        "I cannot do that.",
        "",
        "# nothing",
        "f(" * 300,
        "x = '\ud800'",
        "x = 0x" + "f" * 9999,
    ):
        assert code.same_program_key(none) is None
