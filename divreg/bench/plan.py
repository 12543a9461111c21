"""What a benchmark compares: a YAML file -> rows, task and budget."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from divreg import spec
from divreg.tasks import building, runs
from divreg.tasks.task import find

_METHODS = (*building.ONLINE, *building.OFFLINE)
_BUDGET = {"steps", "learning_rate", "seeds", "samples", "costs"}
_DATA = {"dataset", "held_out", "encoder"}
_KEYS = {"task", "model", "method", "divreg", "trainer", "rows"} | _DATA | _BUDGET


@dataclass(frozen=True)
class Plan:
    """A benchmark: every row with every seed, on one task.

    Attributes:
        task: Its name.
        rows: The ways to train; the first is what the others are compared with.
        baselines: Names of the rows that a user would take instead of a method.
        seeds: How many.
        steps: Optimizer steps of a run.
        learning_rate: Of every run.
        samples: Answers to each held-out prompt.
        model: A hub name or folder; None is the task's tiny model.
        method: The trainer: ``grpo``, ``rloo``, ``sft`` or ``dpo``.
        dataset: What ``sft`` and ``dpo`` learn from, where a row does not say.
        held_out: Data sets of answers whose likelihood is measured, by the head of their column.
        encoder: A sentence encoder, by hub name or folder; None measures no Vendi score.
        costs: Whether a step of every row is timed, side by side, once all runs are done.
    """

    task: str
    rows: tuple[runs.Row, ...]
    baselines: frozenset[str]
    seeds: int = 2
    steps: int = runs.STEPS
    learning_rate: float = runs.LEARNING_RATE
    samples: int = 256
    model: str | None = None
    method: str = "grpo"
    dataset: str | None = None
    held_out: Mapping[str, str] = field(default_factory=dict)
    encoder: str | None = None
    costs: bool = True

    def only(self, names: list[str]) -> "Plan":
        """Return the plan with some of its rows, and always the first.

        Raises:
            ValueError: If it has no such row.
        """
        known = {row.name for row in self.rows}
        for name in names:
            if name not in known:
                raise ValueError(spec.unknown("the plan", "row", name, known))
        kept = tuple(r for i, r in enumerate(self.rows) if i == 0 or r.name in names)
        return replace(self, rows=kept)

    @property
    def budget(self) -> dict[str, Any]:
        """What all results in one file have in common."""
        data = {"method": self.method, "dataset": self.dataset, "held_out": self.held_out}
        return {
            "task": self.task,
            "model": self.model,
            "steps": self.steps,
            "learning_rate": self.learning_rate,
            **(data if self.method != "grpo" else {}),
            **({"encoder": self.encoder} if self.encoder else {}),
        }

    def run(self, row: runs.Row, seed: int) -> runs.Run:
        """Return one run."""
        return runs.Run(
            row,
            seed,
            self.steps,
            self.learning_rate,
            self.task,
            self.samples,
            self.model,
            self.method,
            self.dataset,
            self.held_out,
            self.encoder,
            find(self.task).scored,
        )

    def runs(self) -> list[runs.Run]:
        """Return every run, seed by seed, so that an interrupted benchmark has whole seeds."""
        return [self.run(row, seed) for seed in range(self.seeds) for row in self.rows]


def read(path: str | Path) -> Plan:
    """Read a benchmark from YAML.

    Raises:
        ValueError: For a file, a key, a task or a row that cannot be.
    """
    document = spec.read_yaml(path)
    for key in document:
        if key not in _KEYS:
            raise ValueError(spec.unknown(f"{path}", "key", key, _KEYS))
    task = str(document.get("task"))
    method = str(document.get("method", "grpo"))
    if method not in _METHODS:
        raise ValueError(spec.unknown(str(path), "method", method, _METHODS))
    needed = ["reward"] if method in building.ONLINE else []
    needed += ["is_correct", "answer"] + ([] if document.get("model") else ["model"])
    for part in needed:
        find(task).need(part, str(path))
    given = document.get("rows")
    if not isinstance(given, Mapping) or not given:
        raise ValueError(
            f"{path} needs rows; got {given!r}. Write `rows:` and under it `GRPO: {{}}`."
        )
    rows, baselines = [], set()
    for label, value in given.items():
        if not isinstance(value, Mapping):
            raise ValueError(
                f"{path}: row {label!r} needs settings; got {value!r}. Write `{label}: {{}}`."
            )
        settings = dict(value)
        if settings.pop("baseline", False):
            baselines.add(_slug(label))
        rows.append(_row(str(label), settings, document))
    if len({row.name for row in rows}) < len(rows):
        raise ValueError(f"{path} names two rows alike; give each its own name.")
    for row in rows:
        runs.check(row, method)
    held_out = document.get("held_out") or {}
    _check_data(str(path), method, document.get("dataset"), held_out, rows)
    budget = {k: document[k] for k in _BUDGET if k in document}
    if not isinstance(budget.get("costs", True), bool):
        raise ValueError(f"{path}: costs needs true or false; got {budget['costs']!r}.")
    for key in ("seeds", "steps", "samples"):
        if key in budget and not (isinstance(budget[key], int) and budget[key] > 0):
            raise ValueError(f"{path}: {key} needs at least 1; got {budget[key]!r}.")
    model = document.get("model")
    return Plan(
        task, tuple(rows), frozenset(baselines), **budget, model=model,
        method=method, dataset=document.get("dataset"), held_out=held_out,
        encoder=document.get("encoder"),
    )  # fmt: skip


def _row(label: str, settings: dict[str, Any], document: Mapping[str, Any]) -> runs.Row:
    block, dataset = settings.pop("divreg", None), settings.pop("dataset", None)
    trained = settings.pop("train", True)
    if trained is not True and (settings or block is not None or dataset or trained):
        raise ValueError(
            f"row {label!r} says train: {trained}, which is the base model as it is; got "
            f"{', '.join(settings) or 'more'} beside it. Write `{label}: {{train: false}}`."
        )
    if block is not None:
        block = {**document.get("divreg", {}), **block}
    config = {**document.get("trainer", {}), **settings}
    return runs.Row(_slug(label), label, config, block, dataset, bool(trained))


def _check_data(
    path: str, method: str, dataset: Any, held_out: Any, rows: Sequence[runs.Row]
) -> None:
    """Refuse data that a trainer does not read, data that are missing, and names of none."""
    named = [(f"row {row.label!r}", row.dataset) for row in rows if row.dataset]
    if method in building.ONLINE:
        if dataset or named:
            raise ValueError(
                f"{path}: {method} learns from prompts and the reward of the task; got dataset "
                f"{dataset or named[0][1]!r}. Leave it out, or write method: sft or method: dpo."
            )
    elif not dataset and (row := next((r for r in rows if r.trained and not r.dataset), None)):
        raise ValueError(
            f"{path}: {method} needs a dataset; row {row.label!r} has none. Write dataset: and the "
            f"dotted path of a function, or a file, with the columns "
            f"{', '.join(building.COLUMNS[method])}."
        )
    if not isinstance(held_out, Mapping):
        raise ValueError(
            f"{path}: held_out needs data sets by the head of their column; got {held_out!r}. "
            f"Write held_out: {{demonstrations: my_package.my_function}}."
        )
    for _, name in [("dataset", dataset), *named, *held_out.items()]:
        if name:
            building.check_name(name)


def _slug(label: str) -> str:
    return re.sub(r"[^a-z0-9.]+", "-", str(label).lower()).strip("-")
