"""Instructions: Alpaca (open) and IFEval, graded by rules.

An answer to IFEval is right if it follows all instructions, read strictly; texts are its classes.
Where the language of an answer decides and langdetect is not installed, it is not judged: see
:mod:`divreg.graders.instructions`.

Source:
    Karouzos et al., arXiv:2604.16027, and its repository: the data sets, splits, and the prompts of
    models without chat template. Columns: of the hub's pages and its repository.

Not run here: there was no hub on the machine on which this was written; the rows in ``rows/`` are
divreg's own.

Differs from the paper:
    Without a chat template, Alpaca's introduction is left out, the headings stay.
"""

from typing import Any

from divreg.graders import instructions
from divreg.trace.families.family import Family, Row, ask


def _alpaca(row: Row) -> dict[str, Any]:
    asked, given = row["instruction"], row["input"]
    middle = f"### Input:\n{given}\n\n" if given else ""
    return {
        "prompt": ask(f"{asked}\n\n{given}".strip()),
        "plain": f"### Instruction:\n{asked}\n\n{middle}### Response:\n",
    }


def _ifeval(row: Row) -> dict[str, Any]:
    found = {
        "prompt": ask(row["prompt"]),
        "plain": f"{row['prompt']}\n\n",
        "instruction_id_list": row["instruction_id_list"],
        "kwargs": row["kwargs"],
    }
    instructions.follows("", row["instruction_id_list"], row["kwargs"])  # raises now, not later
    return found


def _is_correct(text: str, row: Row) -> bool | None:
    return instructions.follows(text, row["instruction_id_list"], row["kwargs"])


FAMILIES = (
    Family(
        name="alpaca",
        group="instructions",
        hub="tatsu-lab/alpaca",
        config=None,
        split="train",
        columns={"instruction": str, "input": str},
        prepare=_alpaca,
        max_tokens=1024,
        stop=("\n\n###",),
    ),
    Family(
        name="ifeval",
        group="instructions",
        hub="google/IFEval",
        config=None,
        split="train",
        columns={"prompt": str, "instruction_id_list": list, "kwargs": list},
        prepare=_ifeval,
        max_tokens=2048,
        is_correct=_is_correct,
        prompts=None,
    ),
)
