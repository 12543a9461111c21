"""The 15 families on their embedded rows: columns, prompts, and graders that tell right from wrong.

The rows also stand in for the hub's: a folder of the form of a repository is loaded as one is.
"""

import json
from dataclasses import replace

import pytest

from divreg.graders import instructions, sandbox
from divreg.trace import families
from divreg.trace.families import FAMILIES, NAMES
from divreg.trace.families.family import embedded_rows

VERIFIABLE = {"gsm8k", "math-algebra", "math-geometry", "humaneval", "mbpp", "cruxeval", "ifeval"}
IFEVAL = [
    ("A tall tower by the sea with a lamp on top.", "A tall, bright tower by the sea."),
    ("* Water\n* A book\n* Socks\n\nMind the gap.", "* Water\n* Socks\n\nMind the gap."),
    ("<<Lost cat>>\nWhiskers left her basket.", "Lost cat\nWhiskers left her basket."),
    ("Im Hafen gibt es viele Schiffe und Möwen zu sehen.", "There are ships in the harbour."),
    ("Quick rolls.\n******\nQuiet dough.", "Quick rolls.\n******\nQuick rolls."),
]


UNSANDBOXED = sandbox.available() is not None  # where there is none, these programs are our own


def find(name, **options):
    """A family that grades here."""
    return families.find(name, unsandboxed=UNSANDBOXED, **options)


def embedded(name):
    """A family's task and its rows."""
    task = find(name, embedded=True)
    return task, list(task.dataset("held_out"))


@pytest.fixture
def repository(tmp_path, monkeypatch):
    """``repository(name, rows)``: the family, with a folder of rows for the hub's repository."""
    import datasets

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path / "cache"))

    def build(name, rows):
        family, folder = FAMILIES[name], tmp_path / name
        folder.mkdir()
        file = f"{family.split}.jsonl"
        (folder / file).write_text("".join(json.dumps(row) + "\n" for row in rows))
        config = {
            "config_name": family.config or "default",
            "data_files": [{"split": family.split, "path": file}],
        }
        (folder / "README.md").write_text(f"---\nconfigs:\n- {json.dumps(config)}\n---\n")
        return replace(family, hub=str(folder))

    return build


def test_there_are_fifteen_and_seven_of_them_are_graded():
    assert len(NAMES) == 15
    tasks = [find(name) for name in NAMES]
    assert {task.name for task in tasks if task.is_correct is not None} == VERIFIABLE
    assert all(task.group for task in tasks)


@pytest.mark.parametrize("name", NAMES)
def test_five_rows_become_prompts_of_both_kinds(name):
    raw = embedded_rows(name)
    assert len(raw) == 5
    assert len({frozenset(row) for row in raw}) == 1
    _, rows = embedded(name)
    assert len(rows) == 5
    assert len({row["plain"] for row in rows}) == 5
    for row in rows:
        roles = [turn["role"] for turn in row["prompt"]]
        assert roles == ["user", "assistant"] * (len(roles) // 2) + ["user"]
        assert all(turn["content"].strip() for turn in row["prompt"])
        assert row["plain"].strip()


@pytest.mark.parametrize("name", NAMES)
def test_a_repository_of_these_rows_is_read_as_the_embedded_rows_are(name, repository):
    family = repository(name, embedded_rows(name))
    assert list(family.dataset()) == embedded(name)[1]


@pytest.mark.parametrize("name", ["gsm8k", "math-algebra", "math-geometry"])
def test_a_solution_is_right_and_another_number_wrong(name):
    task, rows = embedded(name)
    column = "answer" if name == "gsm8k" else "solution"
    for raw, row in zip(embedded_rows(name), rows, strict=True):
        assert task.is_correct(raw[column], row) is True
        assert task.is_correct(raw[column] + "\nNo, the answer is $-71$.", row) is (
            "\\boxed" in raw[column]  # what is boxed counts for more
        )
        assert task.is_correct("So \\boxed{-71}.", row) is False
        assert task.is_correct("I do not know.", row) is False
        assert task.answer(raw[column]) == task.answer(row["solution"])


def test_a_program_passes_as_a_block_and_as_a_continuation():
    for name, column in (("humaneval", "canonical_solution"), ("mbpp", "code")):
        task, rows = embedded(name)
        for raw, row in zip(embedded_rows(name), rows, strict=True):
            before = row["plain"] if name == "humaneval" else ""
            said = f"Here it is:\n\n```python\n{before}{raw[column]}\n```\nIt works."
            assert task.is_correct(raw[column], row) is True
            assert task.is_correct(said, row) is True
            assert task.answer(raw[column]) is not None
            wrong = raw[column].rpartition("return ")[0] + "return 'wrong'\n"
            assert task.is_correct(wrong, row) is False


def test_layout_makes_no_other_program():
    task = find("mbpp", embedded=True)
    assert task.answer("def f(x):  # one\n\n  return (x)") == task.answer("def f(x):\n    return x")
    assert task.answer("def f(x):\n    return x") != task.answer("def f(x):\n    return +x")


def test_a_foretold_value_is_right_in_any_spelling():
    task, rows = embedded("cruxeval")
    for raw, row in zip(embedded_rows("cruxeval"), rows, strict=True):
        assert task.is_correct(f" {raw['output']}", row) is True
        assert task.is_correct(f"It is [ANSWER]{raw['output']}[/ANSWER].", row) is True
        assert task.is_correct("[ANSWER]'no'[/ANSWER]", row) is False
        assert task.is_correct(f"[ANSWER]f({row['input']})[/ANSWER]", row) is False
    assert task.answer(' ["c","b"]') == task.answer("[ANSWER]['c', 'b'][/ANSWER]") == "['c', 'b']"


def test_instructions_are_followed_or_not():
    task, rows = embedded("ifeval")
    knows_languages = instructions._detector() is not None
    for row, (right, wrong) in zip(rows, IFEVAL, strict=True):
        judged = knows_languages or "language:response_language" not in row["instruction_id_list"]
        assert task.is_correct(right, row) is (True if judged else None)
        assert task.is_correct(wrong, row) is (False if judged else None)
    assert task.answer is None


def test_an_instruction_that_nobody_knows_is_found_before_anything_is_sampled(repository):
    rows = embedded_rows("ifeval")
    rows[1]["instruction_id_list"] = ["poetry:rhyme", "punctuation:no_comma"]
    with pytest.raises(ValueError, match="has no instruction 'poetry:rhyme'"):
        repository("ifeval", rows).dataset()


def test_prism_leaves_out_what_the_paper_leaves_out(repository):
    rows = embedded_rows("prism")
    for row, prompt in zip(rows, ("Hello!", "  ", "Как дела сегодня?", "Hi there"), strict=False):
        row["opening_prompt"] = prompt
    rows[4]["included_in_balanced_subset"] = False
    (row,) = repository("prism", rows).dataset()
    assert row["prompt"] == [{"role": "user", "content": "Hi there"}]
    assert row["plain"] == "User: Hi there\nAssistant:"


def test_a_conversation_keeps_its_turns():
    row = embedded("wildbench")[1][1]
    assert [turn["role"] for turn in row["prompt"]] == ["user", "assistant", "user"]
    assert row["plain"].count("\nUser: ") == 1
    assert row["plain"].endswith("Can it ignore those?\nAssistant:")


def test_as_many_prompts_are_taken_as_the_paper_has(repository):
    rows = embedded_rows("gsm8k") * 101
    assert len(repository("gsm8k", rows).dataset()) == 500
    assert FAMILIES["humaneval"].prompts is FAMILIES["ifeval"].prompts is None


def test_a_data_set_of_another_form_is_refused(repository):
    rows = [{"question": row["question"], "solution": ""} for row in embedded_rows("gsm8k")]
    with pytest.raises(ValueError, match=r"needs the column 'answer' of .*; it has question, sol"):
        repository("gsm8k", rows).dataset()
    rows = [{**row, "conversation_input": "one text"} for row in embedded_rows("wildbench")]
    with pytest.raises(
        ValueError, match=r"needs list in the column 'conversation_input'.* got str"
    ):
        repository("wildbench", rows).dataset()


@pytest.mark.parametrize("name", NAMES)
def test_without_the_hub_it_says_what_to_type(name):
    with pytest.raises(ValueError, match=rf"{name} needs the data set .*type --embedded\."):
        find(name).dataset("held_out")


def test_what_cannot_be_is_refused(monkeypatch):
    with pytest.raises(ValueError, match=r"no task family 'gsm9k'.*Did you mean 'gsm8k'"):
        families.find("gsm9k")
    with pytest.raises(ValueError, match="embedded rows of the split test only; got 'train'"):
        find("gsm8k", embedded=True).dataset("train")
    monkeypatch.setattr(sandbox, "available", lambda: "This machine has no sandbox.")
    with pytest.raises(ValueError, match="This machine has no sandbox"):
        families.find("mbpp", embedded=True)
    assert families.find("mbpp", embedded=True, unsandboxed=True).is_correct is not None
    assert families.find("gsm8k", embedded=True).is_correct is not None
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ValueError, match="needs math-verify"):
        families.find("gsm8k", embedded=True)


@pytest.mark.hub
@pytest.mark.parametrize("name", NAMES)
def test_the_hub_has_the_rows(name):
    rows = find(name).dataset("held_out")
    sizes = {"humaneval": 164, "ifeval": 541, "truthfulqa": 817, "math-geometry": 479}
    assert len(rows) == sizes.get(name, 500)
    assert {"prompt", "plain"} <= set(rows.column_names)
