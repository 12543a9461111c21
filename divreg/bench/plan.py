"""What a benchmark compares: a YAML file -> rows, task and budget."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from divreg import spec
from divreg.tasks import runs
from divreg.tasks.task import find

_BUDGET = {"steps", "learning_rate", "seeds", "samples"}
_KEYS = {"task", "model", "divreg", "trainer", "rows"} | _BUDGET


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
    """

    task: str
    rows: tuple[runs.Row, ...]
    baselines: frozenset[str]
    seeds: int = 2
    steps: int = runs.STEPS
    learning_rate: float = runs.LEARNING_RATE
    samples: int = 256
    model: str | None = None

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
        return {
            "task": self.task,
            "model": self.model,
            "steps": self.steps,
            "learning_rate": self.learning_rate,
        }

    def run(self, row: runs.Row, seed: int) -> runs.Run:
        """Return one run."""
        return runs.Run(
            row, seed, self.steps, self.learning_rate, self.task, self.samples, self.model
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
    needed = ("reward", "is_correct", "answer", *(() if document.get("model") else ("model",)))
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
        runs.check(row)
    budget = {
        k: document[k] for k in ("seeds", "steps", "learning_rate", "samples") if k in document
    }
    for key in ("seeds", "steps", "samples"):
        if key in budget and not (isinstance(budget[key], int) and budget[key] > 0):
            raise ValueError(f"{path}: {key} needs at least 1; got {budget[key]!r}.")
    model = document.get("model")
    return Plan(task, tuple(rows), frozenset(baselines), **budget, model=model)


def _row(label: str, settings: dict[str, Any], document: Mapping[str, Any]) -> runs.Row:
    block = settings.pop("divreg", None)
    if block is not None:
        block = {**document.get("divreg", {}), **block}
    return runs.Row(_slug(label), label, {**document.get("trainer", {}), **settings}, block)


def _slug(label: str) -> str:
    return re.sub(r"[^a-z0-9.]+", "-", str(label).lower()).strip("-")
