"""Weights of preference pairs: a column of the data set, on its way to the loss."""

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch

from divreg.trainers._choice import suggest
from divreg.trainers._rows import CARRIED

KEY = f"{CARRIED}pair_weight"


def check(dataset: Any, column: str) -> None:
    """Refuse a data set without the column, or with a value in it that is no weight.

    Args:
        dataset: A data set of ``datasets``; of a streamed one only the first row is looked at.
        column: Its column of weights.

    Raises:
        ValueError: The message names the column, or the row and what stands there.
    """
    first = next(iter(dataset))
    if column not in first:
        raise ValueError(
            f"the signal 'pair_weight' needs the column {column!r}; got a data set with "
            f"{', '.join(first)}. {suggest(column, list(first))} Name yours: "
            f"signals={{'pair_weight': COLUMN}}; `divreg pairs` writes 'weight'."
        )
    known = len(dataset) if hasattr(dataset, "__len__") else 0
    for row, value in enumerate(dataset[column] if known else []):
        _refuse(value, column, f"row {row}")


class Carrying:
    """A collator that sends every pair's weight along with its batch.

    Args:
        collator: TRL's, or the user's.
        column: Where an example has its weight; evaluation data need not have it.
    """

    def __init__(self, collator: Callable[[list[Any]], Any], column: str):
        self.collator, self.column = collator, column

    def __call__(self, examples: list[Mapping[str, Any]]) -> Any:
        """Collate, and add the weights ``(n,)``.

        Raises:
            ValueError: If a weight is negative or no number; the message names the row.
        """
        batch = self.collator(examples)
        if all(self.column in example for example in examples):
            weights = [example[self.column] for example in examples]
            for row, value in enumerate(weights):
                _refuse(value, self.column, f"row {row} of a micro-batch")
            batch[KEY] = torch.tensor(weights, dtype=torch.float32)
        return batch


def _refuse(value: Any, column: str, where: str) -> None:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or not 0 <= value < math.inf:
        raise ValueError(
            f"the signal 'pair_weight' needs a number of at least 0 in every row; got {value!r} "
            f"in column {column!r}, {where}. Mend that row, or leave it out."
        )
