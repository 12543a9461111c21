"""Values that hyper-parameters follow: fixed over the steps, or held against a measured signal.

:func:`divreg.compose.scheduled` ties them to methods. This module knows no tensors.
"""

import math
from dataclasses import dataclass
from typing import Any

# Signals that a Hold may watch: more is more diverse, the same number on every process.
MEASURES = ("mean_entropy", "mean_varentropy", "distinct")
_FULL_PACE = 0.1  # this share off its target, and beyond, a measure moves a strength at full pace


@dataclass(frozen=True)
class Linear:
    """A schedule: from ``start`` to ``end`` in ``steps`` optimizer steps, then constant.

    >>> Linear(0.0, 1.0, 10)(5)
    0.5
    """

    start: float
    end: float
    steps: int

    def __call__(self, step: int) -> float:
        """Return the value at ``step``."""
        return self.start + (self.end - self.start) * _passed(step, self.steps)


@dataclass(frozen=True)
class Cosine:
    """A schedule: from ``start`` to ``end`` along half a cosine, slow at both ends, then constant.

    >>> round(Cosine(0.0, 1.0, 10)(2), 4), Cosine(0.0, 1.0, 10)(10)
    (0.0955, 1.0)
    """

    start: float
    end: float
    steps: int

    def __call__(self, step: int) -> float:
        """Return the value at ``step``."""
        way = (1 - math.cos(math.pi * _passed(step, self.steps))) / 2
        return self.start + (self.end - self.start) * way


@dataclass(frozen=True)
class Hold:
    """A controller: moves a strength so that a signal stays at a share of its own baseline.

    The baseline is the signal's mean over the first optimizer steps of the run. After them, each
    step on which the signal was below ``share`` of it raises the strength, each above lowers it,
    down to 0: too much diversity is an explosion, not a success. It is for strengths of which more
    means more diverse. A step sees only what was measured before it.

    Args:
        signal: What to hold: ``mean_entropy`` or ``mean_varentropy`` (of tokens; the latter needs
            ``head: divreg``), or ``distinct`` (classes of a group).
        share: Where to hold it, in baselines, > 0; 0.7 gives up three tenths of it.
        start: The strength to start from, > 0; None is the method's own value.
        baseline: Optimizer steps that make the baseline, at least 1.
        pace: Largest change in one optimizer step, in starting values, > 0; reached where the
            signal is a tenth off its target, proportionally less nearer to it.
        most: Upper limit of the strength, in starting values, at least 1.

    Raises:
        ValueError: If a value is outside its range, or nothing measures ``signal``.

    >>> hold = Hold("mean_entropy", 0.5, baseline=1)
    >>> state = hold.begin()
    >>> for step, measured in enumerate([2.0, 0.8, 0.8, 1.5]):
    ...     strength, state = hold.follow(state, step, measured, start=0.1)
    ...     print(round(strength, 4))
    0.1
    0.1
    0.11
    0.12
    """

    signal: str
    share: float
    start: float | None = None
    baseline: int = 10
    pace: float = 0.1
    most: float = 4.0

    def __post_init__(self) -> None:
        if self.signal not in MEASURES:
            raise ValueError(
                f"hold needs a signal that measures diversity; got {self.signal!r}. "
                f"Use one of {', '.join(map(repr, MEASURES))}."
            )
        for name, least in (("share", 0.0), ("baseline", 1), ("pace", 0.0), ("most", 1)):
            value = getattr(self, name)
            if value < least or value == 0:
                word = "above 0" if least == 0 else f"of at least {least}"
                raise ValueError(
                    f"hold needs a {name} {word}; got {value}. Write hold: [{self.signal}, 0.7]."
                )

    def begin(self) -> dict[str, Any]:
        """Return the memory of a run that has not started, JSON values."""
        return {"moved": 0.0, "step": None, "sum": 0.0, "calls": 0, "baseline": 0.0, "steps": 0}

    def follow(
        self, state: dict[str, Any], step: int, measured: float, *, start: float
    ) -> tuple[float, dict[str, Any]]:
        """Return the strength to use now, and the memory that also holds what was measured now.

        Args:
            state: The memory so far; it is not changed.
            step: The optimizer step; several calls in one step are averaged.
            measured: The signal's mean, in any unit.
            start: The strength at the start, in the method's unit.
        """
        state = dict(state)
        if step != state["step"]:
            if state["calls"]:
                state |= self._settled(state, state["sum"] / state["calls"])
            state |= {"step": step, "sum": 0.0, "calls": 0}
        state |= {"sum": state["sum"] + measured, "calls": state["calls"] + 1}
        return start * (1 + state["moved"]), state

    def _settled(self, state: dict[str, Any], measured: float) -> dict[str, Any]:
        """Return what a finished step changes: the baseline, or the strength."""
        steps, baseline = state["steps"], state["baseline"]
        if steps < self.baseline:
            return {"baseline": baseline + (measured - baseline) / (steps + 1), "steps": steps + 1}
        target = self.share * baseline
        if target <= 0:
            return {}  # there was nothing to hold
        off = (target - measured) / (_FULL_PACE * target)
        moved = state["moved"] + self.pace * max(-1.0, min(1.0, off))
        return {"moved": max(-1.0, min(self.most - 1, moved))}


def _passed(step: int, steps: int) -> float:
    return min(1.0, step / max(1, steps))
