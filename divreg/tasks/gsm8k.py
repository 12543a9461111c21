"""GSM8K as TRL wants it: conversational prompts, and gold solutions that math-verify reads."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from datasets import Dataset

INSTRUCTION = "Please reason step by step, and put your final answer within \\boxed{}."


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
    messages = [
        {"role": "system", "content": INSTRUCTION},
        {"role": "user", "content": raw["question"]},
    ]
    return {"prompt": messages, "solution": gold(raw["answer"])}


def gold(answer: str) -> str:
    r"""Return the right answer that stands at the end of a solution, boxed.

    >>> gold("30*40=<<30*40=1200>>1,200\n#### 1,200")
    '\\boxed{1200}'
    """
    number = answer.rpartition("####")[2].strip().replace(",", "")
    return f"\\boxed{{{number}}}"
