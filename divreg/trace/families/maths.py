r"""Mathematics: GSM8K, and algebra and geometry of MATH. Graded by math-verify.

The class of an answer is its value: see :func:`divreg.graders.maths.answer`.

Source:
    Karouzos et al., arXiv:2604.16027, and its repository: the data sets, splits, and the prompts of
    models without chat template. Columns: of the hub's pages.

Not run here: there was no hub on the machine on which this was written; the rows in ``rows/`` are
divreg's own.

Differs from the paper:
    Models with a chat template are asked for reasoning and a boxed answer. No examples are given.
"""

from typing import Any

from divreg.graders import maths
from divreg.tasks import gsm8k
from divreg.trace.families.family import Family, Row, ask


def _gsm8k(row: Row) -> dict[str, Any]:
    return {
        "prompt": ask(f"{row['question']}\n\n{gsm8k.INSTRUCTION}"),
        "plain": f"Question: {row['question']}\nAnswer:",
        "solution": gsm8k.gold(row["answer"]),
    }


def _math(row: Row) -> dict[str, Any]:
    return {
        "prompt": ask(f"{row['problem']}\n\n{gsm8k.INSTRUCTION}"),
        "plain": f"Problem: {row['problem']}\nSolution:",
        "solution": row["solution"],
    }


def _is_correct(text: str, row: Row) -> bool:
    return maths.is_equal(text, row["solution"])


def _family_of_math(subject: str) -> Family:
    return Family(
        name=f"math-{subject}",
        group="maths",
        hub="EleutherAI/hendrycks_math",
        config=subject,
        split="test",
        columns={"problem": str, "solution": str},
        prepare=_math,
        max_tokens=2048,
        is_correct=_is_correct,
        answer=maths.answer,
        stop=("\nProblem:",),
        check=maths.need,
    )


FAMILIES = (
    Family(
        name="gsm8k",
        group="maths",
        hub="openai/gsm8k",
        config="main",
        split="test",
        columns={"question": str, "answer": str},
        prepare=_gsm8k,
        max_tokens=1024,
        is_correct=_is_correct,
        answer=maths.answer,
        stop=("\nQuestion:",),
        check=maths.need,
    ),
    _family_of_math("algebra"),
    _family_of_math("geometry"),
)
