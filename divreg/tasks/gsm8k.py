"""GSM8K as TRL wants it: conversational prompts, and gold solutions that math-verify reads."""

import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from datasets import Dataset

INSTRUCTION = "Please reason step by step, and put your final answer within \\boxed{}."
_BOXED = re.compile(r"\\boxed\{\s*\\?\$?([^{}]*?)\s*\}")


def dataset(split: str = "train") -> "Dataset":
    """Load a split of ``openai/gsm8k`` (train: 7,473 rows, test: 1,319) from the hub.

    Returns:
        Columns ``prompt`` (a conversation) and ``solution`` (the gold answer, boxed).
    """
    from datasets import load_dataset

    loaded: Any = load_dataset("openai/gsm8k", "main", split=split)
    return loaded.map(row, remove_columns=["question", "answer"])


def row(raw: dict[str, str]) -> dict[str, Any]:
    r"""Turn a row of the hub's data set into one for ``accuracy_reward``.

    >>> row({"question": "2+2?", "answer": "2+2=<<2+2=4>>4\n#### 4"})["solution"]
    '\\boxed{4}'
    """
    gold = raw["answer"].rpartition("####")[2].strip().replace(",", "")
    messages = [
        {"role": "system", "content": INSTRUCTION},
        {"role": "user", "content": raw["question"]},
    ]
    return {"prompt": messages, "solution": f"\\boxed{{{gold}}}"}


def answer(text: str) -> str | None:
    r"""Return the last boxed answer of a completion, numbers in one spelling; None without one.

    >>> answer(r"so \boxed{1,200.0}"), answer(r"\boxed{3} or \boxed{ 7 }"), answer("it is 7")
    ('1200', '7', None)
    """
    found = _BOXED.findall(text)
    if not found:
        return None
    plain = found[-1].replace(",", "").rstrip(".")
    try:
        return f"{float(plain):g}" if abs(float(plain)) < 1e6 else plain
    except ValueError:
        return plain or None
