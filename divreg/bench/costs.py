"""What every row costs a step, all rows side by side: in turns, on the same answers."""

import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from statistics import fmean, median
from typing import Any

from divreg.tasks import building, runs

ROUNDS = 3  # turns of each row, in another order each, so that a slow minute hits all rows
STEPS = 12  # timed steps of a turn: even, as a row may generate for every second one only
WARM_UP = 2  # steps before them, which allocate memory and build caches


def measure(
    rows: Sequence[runs.Run], base: Path, tell: Callable[[], Any] = lambda: None
) -> list[dict[str, Any]]:
    """Train a few steps of every row at rate 0, so that all see the same answers.

    Args:
        rows: One run of each row.
        base: Folder of the base model.
        tell: Called after each of the ``ROUNDS * len(rows)`` turns.

    Returns:
        For each row ``step_ms``, the milliseconds of a step, and ``method_ms``, what of them its
        interventions and the signals that they ask for take: means over a turn, then the median
        turn; in processor time, or where there is a GPU on the wall clock with the device's work
        done. What a loss takes is spread over forward and backward: of a trainer without rollouts
        there is no ``method_ms``. The hash is that of the run.
    """
    steps: dict[str, list[float]] = {run.row.name: [] for run in rows}
    methods: dict[str, list[float]] = {run.row.name: [] for run in rows}
    for round_ in range(ROUNDS):
        turn = round_ * len(rows) // ROUNDS
        for run in (*rows[turn:], *rows[:turn]):
            clock = _train(run, base)
            steps[run.row.name].append(fmean(clock.steps))
            methods[run.row.name].append(fmean(clock.methods))
            tell()
    return [
        {
            "row": run.row.name,
            "hash": run.hash(base.name),
            "step_ms": round(1000 * median(steps[run.row.name]), 1),
            **(
                {"method_ms": round(1000 * median(methods[run.row.name]), 2)}
                if run.method in building.ONLINE
                else {}
            ),
        }
        for run in rows
    ]


def _train(run: runs.Run, base: Path) -> "_Clock":
    still = replace(run, steps=WARM_UP + STEPS + 1, learning_rate=0.0)
    with tempfile.TemporaryDirectory() as folder:
        clock = _Clock()
        trainer = runs.build(still, base, Path(folder), [runs.before_each_step(clock.mark)])
        if pipeline := getattr(trainer, "pipeline", None):
            pipeline.apply = clock.around(pipeline.apply)
        trainer.train()
    return clock


class _Clock:
    """Times the steps of one trainer, and what its pipeline takes of each."""

    def __init__(self):
        self._marks: list[float] = []
        self._inside = [0.0]

    @property
    def steps(self) -> list[float]:
        return [b - a for a, b in pairwise(self._marks)][WARM_UP:]

    @property
    def methods(self) -> list[float]:
        return self._inside[WARM_UP : WARM_UP + STEPS]

    def around(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Wrap a function so that its time counts as the method's."""

        def timed(*args: Any, **kwargs: Any) -> Any:
            started = _now()
            try:
                return function(*args, **kwargs)
            finally:
                self._inside[-1] += _now() - started

        return timed

    def mark(self) -> None:
        """Note that a step begins."""
        self._marks.append(_now())
        if len(self._marks) > 1:
            self._inside.append(0.0)


def _now() -> float:
    import torch

    if torch.cuda.is_available():
        torch.cuda.synchronize()
        return time.perf_counter()
    return time.process_time()
