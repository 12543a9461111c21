"""What a family of tasks is made of: a data set, how a row becomes a prompt, and a grader."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from importlib import resources
from itertools import islice
from typing import TYPE_CHECKING, Any

from divreg.tasks.task import Task

if TYPE_CHECKING:
    from datasets import Dataset

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Family:
    """A data set of the hub as a :class:`divreg.tasks.task.Task`.

    Attributes:
        name: What it is called.
        group: What kind of task it is.
        hub: The data set's id on the hub.
        config: Of the data set; None where it has but one.
        split: The one whose prompts are asked.
        columns: Those that are read, with the Python type of their values.
        prepare: Makes of a row ``prompt`` (a conversation), ``plain`` (the same for a model without
            chat template) and what the grader needs; None leaves a row out.
        max_tokens: The longest answer, without chain of thought.
        is_correct: See :class:`Task`. With ``runs_code`` it takes ``unsandboxed`` by name.
        answer: See :class:`Task`.
        stop: See :class:`Task`.
        runs_code: Whether grading runs programs that the model wrote.
        check: Raises a ValueError if grading needs what is not installed.
        prompts: The first so many are taken, as many as the paper has; None takes all.
        revision: Branch of the hub's repository; None is its main one.
    """

    name: str
    group: str
    hub: str
    config: str | None
    split: str
    columns: Mapping[str, type]
    prepare: Callable[[Row], dict[str, Any] | None]
    max_tokens: int
    is_correct: Callable[..., bool | None] | None = None
    answer: Callable[[str], str | None] | None = None
    stop: tuple[str, ...] = ()
    runs_code: bool = False
    check: Callable[[], None] = lambda: None
    prompts: int | None = 500
    revision: str | None = None

    @property
    def source(self) -> str:
        """Where its prompts come from, for a report."""
        return f"hub: {self.hub}" + (f" ({self.config})" if self.config else "")

    def task(self, *, embedded: bool, unsandboxed: bool) -> Task:
        """Return it as a task; see :func:`divreg.trace.families.find`."""
        self.check()
        is_correct = self.is_correct
        if is_correct is not None and self.runs_code:
            if not unsandboxed:
                _demand_sandbox()
            is_correct = partial(is_correct, unsandboxed=unsandboxed)
        return Task(
            self.name,
            partial(self.dataset, embedded=embedded),
            reward=None,
            is_correct=is_correct,
            answer=self.answer,
            max_tokens=self.max_tokens,
            model=None,
            side_by_side=True,
            stop=self.stop,
            group=self.group,
        )

    def dataset(self, split: str = "held_out", *, embedded: bool = False) -> "Dataset":
        """Return the prompts of a split.

        Args:
            split: A name of the hub's, or ``"held_out"`` for the family's own :attr:`split`.
            embedded: Take the five rows that come with divreg instead of the hub's.

        Returns:
            Columns ``prompt`` and ``plain``, and what the grader needs.

        Raises:
            ValueError: If the data set cannot be had, or its rows are not of the known form.
        """
        from datasets import Dataset

        split = self.split if split == "held_out" else split
        if embedded and split != self.split:
            raise ValueError(
                f"{self.name} has embedded rows of the split {self.split} only; got {split!r}. "
                f"Use that split, or the hub."
            )
        loaded: Any = Dataset.from_list(embedded_rows(self.name)) if embedded else self._load(split)
        for name in self.columns:
            if name not in loaded.column_names:
                raise ValueError(
                    f"{self.name} needs the column {name!r} of {self.hub}; it has "
                    f"{', '.join(loaded.column_names)}. Its form has changed: use --embedded, or a "
                    f"Task of your own."
                )
        prepared = (row for row in map(self._prepare, loaded) if row is not None)
        return Dataset.from_list(list(islice(prepared, self.prompts)))

    def _load(self, split: str) -> "Dataset":
        from datasets import load_dataset

        try:
            return load_dataset(self.hub, self.config, split=split, revision=self.revision)
        except Exception as error:  # of the hub's, the network's, or the file format's making
            reason = next(iter(str(error).strip().splitlines()), "") or type(error).__name__
            raise ValueError(
                f"{self.name} needs the data set {self.hub}, split {split}, which cannot be "
                f"loaded: {reason[:200].rstrip('.')}. For the five rows that come with divreg, "
                f"type --embedded."
            ) from error

    def _prepare(self, row: Row) -> dict[str, Any] | None:
        for name, kind in self.columns.items():
            if not isinstance(row[name], kind):
                raise ValueError(
                    f"{self.name} needs {kind.__name__} in the column {name!r} of {self.hub}; got "
                    f"{type(row[name]).__name__}. Its form has changed: use --embedded, or a Task "
                    f"of your own."
                )
        return self.prepare(row)


def embedded_rows(name: str) -> list[dict[str, Any]]:
    """Return the five rows of a family that come with divreg, in the columns of the hub's."""
    path = resources.files("divreg.trace.families") / "rows" / f"{name}.jsonl"
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def ask(text: str) -> list[dict[str, str]]:
    """Return a conversation of one question."""
    return [{"role": "user", "content": text}]


def _demand_sandbox() -> None:
    from divreg.graders import sandbox

    if reason := sandbox.available():
        raise ValueError(reason)
