"""What ``trace.json`` holds, read for its page: by stage, in parts, and the means over tasks."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from divreg.trace import definitions
from divreg.trace.spans import Span, mean_of, span
from divreg.trace.stage_charts import Parts

# What a page is about, as the verdict is: of all samples, and of right ones.
_LEADS = (
    ("cosine_diversity", "cosine_diversity_correct"),
    ("different_pairs", "different_pairs_correct"),
)


class Lineage:
    """A trace.

    Args:
        result: What ``trace.json`` holds.

    Attributes:
        stages: Their names.
        tasks: As they stand there.
        numbers: Name to name, unit and direction.
        k: Samples that counts are brought to.
        leads: The number that the page is about, of all samples and of right ones: cosine
            diversity where there is an encoder, else classes.
        losses: For every task what each stage but the first lost of the lead; None where too few
            prompts have two right answers. Of several tasks in % of the first stage, of one in the
            lead's own unit.
        loss_unit: That unit.
    """

    def __init__(self, result: Mapping[str, Any]):
        self.stages: list[str] = [stage["name"] for stage in result["stages"]]
        self.tasks: Sequence[Mapping[str, Any]] = result["tasks"]
        self.numbers: dict[str, Mapping[str, Any]] = {n["name"]: n for n in result["numbers"]}
        self.k = result["sampling"]["k"]
        self.leads = next((pair for pair in _LEADS if pair[0] in self.numbers), _LEADS[-1])
        several = len(self.tasks) > 1
        self.loss_unit = f"% of {self.stages[0]}" if several else self.unit(self.leads[0])
        self.losses = [
            [_parts(self.split(change), factor) for change in task["against_the_stage_before"]]
            for task in self.tasks
            for factor in [self._percent(task) if several else 1.0]
        ]

    def title(self, name: str) -> str:
        """What a number is called."""
        return definitions.title(name, self.k)

    def unit(self, name: str) -> str:
        """The unit of a number."""
        return self.numbers.get(name, {}).get("unit", "")

    def spans(self, task: Mapping[str, Any], name: str) -> list[Span | None]:
        """A number of a task at every stage."""
        return [
            span((task["stages"].get(stage) or {}).get("numbers", {}).get(name))
            for stage in self.stages
        ]

    def changes(self, task: Mapping[str, Any], name: str) -> list[Span | None]:
        """The change of a number at every stage but the first, against the stage before."""
        return [span(c["differences"].get(name)) for c in task["against_the_stage_before"]]

    def change(self, task: Mapping[str, Any], name: str) -> Span | None:
        """The change of a number from the first stage to the last."""
        return span(task["against_the_first"][-1]["differences"].get(name))

    def split(self, change: Mapping[str, Any]) -> Mapping[str, Any]:
        """The parts of a loss of the lead; empty where nobody says what is right."""
        return change["parts"].get(self.leads[0]) or {}

    def _percent(self, task: Mapping[str, Any]) -> float | None:
        """How many % of the first stage one of the lead is; None where that has none."""
        first = self.spans(task, self.leads[0])[0]
        return 100 / first.estimate if first and first.estimate > 0 else None

    def over_tasks(
        self, name: str, way: Callable[[list[Span | None]], list[Span | None]] = list
    ) -> tuple[list[Span | None], int]:
        """A number at every stage, the mean over the tasks that have it at all of them.

        Args:
            name: Of the number.
            way: Makes what is averaged of a task's numbers.

        Returns:
            The means, and how many tasks they are of. Of a single task its own numbers, which may
            lack a stage.
        """
        rows = [way(self.spans(task, name)) for task in self.tasks]
        if len(rows) == 1:
            return rows[0], int(any(rows[0]))
        whole = [[s for s in row if s] for row in rows if all(row)]
        if not whole:
            return [None] * len(self.stages), 0
        return [mean_of(column) for column in zip(*whole, strict=True)], len(whole)

    def mean_losses(self) -> list[Parts | None]:
        """What each stage lost, the mean over the tasks that are split at all; of one its own."""
        if len(self.losses) == 1:
            return self.losses[0]
        whole = [[parts for parts in row if parts] for row in self.losses if all(row)]
        return [
            Parts(*(mean_of([getattr(p, name) for p in column]) for name in Parts.__annotations__))
            for column in zip(*whole, strict=True)
        ]


def relative(spans: Sequence[Span | None]) -> list[Span | None]:
    """A number in % of the first stage that has it; nothing where that is 0.

    >>> [s and s.estimate for s in relative([None, Span(0.5, 0.4, 0.6, 9), Span(0.2, 0.1, 0.3, 9)])]
    [None, 100.0, 40.0]
    """
    first = next((s for s in spans if s), None)
    if first is None or first.estimate <= 0:
        return [None] * len(spans)
    return [s and s.times(100 / first.estimate) for s in spans]


def _parts(found: Mapping[str, Any], factor: float | None) -> Parts | None:
    total, narrowing, fewer = (span(found.get(n)) for n in ("total", "residual", "quality"))
    if total is None or narrowing is None or fewer is None or factor is None:
        return None
    return Parts(total.times(factor), narrowing.times(factor), fewer.times(factor))
