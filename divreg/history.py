"""The view of a recorded run: the latest one in a directory, with no gap and no step twice.

What a resume took back is gone from the view, a torn line is counted and skipped, and evidence that
is missing is named in words. Writing is in :mod:`divreg.records`.
"""

import json
import math
import os
from array import array
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

SCHEMA = 1
MANY = 64  # groups of a step
EVIDENCE_IN_LOGS = {  # TRL's scalars, by the names that the detector knows
    "entropy": "entropy",
    "completions/mean_length": "completions/mean_length",
    "completions/clipped_ratio": "truncated_frac",
    "reward": "reward_mean",
}


@dataclass
class History:
    """What is known about a run, in the order of its steps; made by :func:`read` or `read_trl`.

    ``missing`` says in words which evidence is not there, ``notes`` what else a reader must know.
    """

    path: Path
    run: dict[str, Any] = field(default_factory=dict)
    steps: list[dict[str, Any]] = field(default_factory=list)
    logs: list[dict[str, Any]] = field(default_factory=list)
    alerts: list[dict[str, Any]] = field(default_factory=list)
    actions: list[dict[str, Any]] = field(default_factory=list)
    checkpoints: list[dict[str, Any]] = field(default_factory=list)
    resumes: list[int] = field(default_factory=list)
    end: dict[str, Any] | None = None
    torn_lines: int = 0
    other_runs: list[str] = field(default_factory=list)
    source: str = "divreg"
    missing: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    parts: dict[tuple[str, int], Path] = field(default_factory=dict)
    load: Any = None  # how a part is read, where it is not one of ours

    @property
    def mode(self) -> str:
        """The kind of step that the run is judged by: rollouts if there are any, else probes."""
        seen = {row.get("mode", "train") for row in self.steps}
        return next((m for m in ("train", "probe", "eval") if m in seen), "train")

    @property
    def judged(self) -> list[dict[str, Any]]:
        """The steps of the run's :attr:`mode`: evaluations, for one, are kept apart."""
        mode = self.mode
        return [row for row in self.steps if row.get("mode", "train") == mode]

    @property
    def completion_steps(self) -> list[int]:
        """The steps whose completions are on disk, ascending, in the run's :attr:`mode`."""
        wanted = self.mode
        return sorted(step for mode, step in self.parts if mode == wanted)

    def completions(self, step: int, mode: str | None = None) -> dict[str, list[Any]]:
        """Read the completions of one step as equally long lists; empty when there are none."""
        path = self.parts.get((mode or self.mode, step))
        if path is None:
            return {}
        if self.load is not None:
            return self.load(path)
        import pyarrow.parquet as pq

        with path.open("rb") as file:  # read_table on a path would open a memory pool per part
            return pq.ParquetFile(file).read().to_pydict()


def parse(path: Path, torn: list[int]) -> Iterator[dict[str, Any]]:
    """Yield the events of a file; ``torn[0]`` counts the lines that are none."""
    if not path.exists():
        return
    with path.open("rb") as file:
        for raw in file:
            if not raw.strip():
                continue
            try:
                event = json.loads(raw)
            except ValueError:
                torn[0] += 1
                continue
            if not isinstance(event, dict) or not isinstance(event.get("event"), str):
                torn[0] += 1
                continue
            if event.get("v", 0) > SCHEMA:
                raise ValueError(
                    f"divreg {SCHEMA=} cannot read {path}, written with schema {event['v']}. "
                    "Install the divreg that wrote it, or a newer one."
                )
            yield event


_LISTS = {"step": "steps", "log": "logs", "alert": "alerts", "action": "actions"}


def read(output_dir: str | os.PathLike[str]) -> History:
    """Read the view of the latest run recorded in ``output_dir/divreg``.

    After ``resume`` at step s nothing that was recorded after s stays, so the view has no gap and
    no step twice. Lines that are not JSON are counted in ``torn_lines``.

    Raises:
        ValueError: There are no records, or a newer divreg wrote them.
    """
    directory = Path(output_dir) / "divreg"
    path, torn = directory / "events.jsonl", [0]
    history, runs, known = History(path=Path(output_dir)), [], {}
    for event in parse(path, torn):
        if event["event"] == "run":
            runs.append(event.get("run"))
            history = History(path=Path(output_dir), run=event)
        elif runs and event.get("run") == runs[-1]:
            _apply(history, event, directory, known)
    if not runs:
        raise ValueError(
            f"divreg needs {path} with a recorded run; got none. "
            "Attach CollapseMonitor(trainer), or train with log_completions=True."
        )
    history.torn_lines, history.other_runs = torn[0], runs[:-1]
    history.logs = merged(history.logs)
    history.steps = merged(history.steps)
    history.missing = _missing(history)
    return history


def _apply(history: History, event: dict[str, Any], directory: Path, known: dict[str, str]) -> None:
    kind, step = event["event"], event.get("step")
    if kind == "resume":
        _take_back(history, int(step or 0))
    elif kind in _LISTS:
        ids = event.get("groups", {}).get("prompt_id")
        if ids:  # the same prompt comes back many times: keep one string of each
            event["groups"]["prompt_id"] = [known.setdefault(i, i) for i in ids]
            means: Any = event["groups"].get("reward_mean") or [None]
            if len(means) > MANY and None not in means:  # a quarter of the memory of a list
                event["groups"]["reward_mean"] = array("d", means)
        getattr(history, _LISTS[kind]).append(event)
    elif kind == "checkpoint":
        history.checkpoints = [c for c in history.checkpoints if c.get("step") != step] + [event]
    elif kind == "completions" and isinstance(step, int):
        part = directory / "completions" / os.path.basename(str(event.get("part", "")))
        if part.is_file():
            history.parts[(event.get("mode", "train"), step)] = part
    elif kind == "end":
        history.end = event


def _take_back(history: History, step: int) -> None:
    for name in (*_LISTS.values(), "checkpoints"):
        kept = [e for e in getattr(history, name) if e.get("step", 0) <= step]
        setattr(history, name, kept)
    history.parts = {key: part for key, part in history.parts.items() if key[1] <= step}
    history.resumes.append(step)
    history.end = None


def merged(events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """One event per step and mode, ascending: the later one adds to and wins over the earlier."""
    merged: dict[tuple[str, int], dict[str, Any]] = {}
    for event in events:
        key = (event.get("mode", "train"), event.get("step", 0))
        earlier = merged.get(key)
        if earlier is not None and "logs" in event:
            event["logs"] = {**earlier.get("logs", {}), **(event["logs"] or {})}
        merged[key] = event
    return [merged[key] for key in sorted(merged, key=lambda k: (k[1], k[0]))]


def entropy_of(history: History) -> dict[int, float]:
    """Mean token entropy in nats by step: what the trainer logged, zero excepted (Unsloth's)."""
    found = {}
    for row in history.judged:
        found[row["step"]] = (row.get("signals") or {}).get("entropy")
    for row in history.logs:
        if row.get("mode", "train") == "train" and (row.get("logs") or {}).get("entropy"):
            found[row["step"]] = row["logs"]["entropy"]
    known = {s: v for s, v in found.items() if isinstance(v, (int, float)) and v}
    return {step: float(known[step]) for step in sorted(known) if math.isfinite(known[step])}


def _missing(history: History) -> list[str]:
    rows = [row["signals"] for row in history.steps if row.get("signals")]
    missing = []
    if not any(signals.get("distinct_classes") is not None for signals in rows):
        missing.append("distinct classes: no group of completions was recorded")
    if not any(signals.get("pass_at_1") is not None for signals in rows):
        missing.append(
            "correctness: no reward was named as correctness, so pass@1, pass@k and distinct "
            "correct answers are left out"
        )
    if not entropy_of(history):
        missing.append("token entropy: the trainer logged none (or exactly 0)")
    if not history.parts:
        missing.append("texts: no completions were recorded")
    return missing


def replay(history: History) -> tuple[list[dict[str, Any]], list[str]]:
    """Run the detector over the recorded numbers, with the settings that the monitor had.

    Returns:
        The alerts as events, and the kinds of those that still stand at the last step.
    """
    from divreg.monitor.detect import Detector, Settings

    noted = history.run.get("monitor")
    noted = noted if isinstance(noted, dict) else {}
    settings = {k: v for k, v in noted.items() if k in Settings.__dataclass_fields__}
    reference = noted.get("reference")
    trainer = str(history.run.get("trainer", "")).lower()
    advice = next((name for name in ("grpo", "rloo", "sft", "dpo") if name in trainer), "grpo")
    on_probes = history.mode == "probe"
    detector = Detector(on_probes=on_probes, reference=reference, advice=advice, **settings)
    logged = {r["step"]: r["logs"] for r in history.logs if r.get("mode", "train") == "train"}
    alerts = []
    checkpoints = [(c["step"], c.get("path")) for c in history.checkpoints]
    for row in history.judged:
        logs = logged.get(row["step"]) or {}
        signals = {ours: logs.get(theirs) for theirs, ours in EVIDENCE_IN_LOGS.items()}
        signals |= row.get("signals") or {}
        numbers = {k: v for k, v in signals.items() if isinstance(v, (int, float))}
        if not numbers.get("entropy"):  # Unsloth logs exactly 0
            numbers.pop("entropy", None)
        while checkpoints and checkpoints[0][0] < row["step"]:
            _, saved = checkpoints.pop(0)
            detector.last_healthy = detector.last_healthy if detector.suspicious else saved
        alerts += [alert.as_event() for alert in detector.update(row["step"], numbers)]
    return alerts, list(detector.raised)


def read_trl(output_dir: str | os.PathLike[str], correct: str | None = None) -> History:
    """Read a plain TRL run made with ``log_completions=True``; see :mod:`divreg.plain_trl`."""
    from divreg.plain_trl import read_completions

    return read_completions(Path(output_dir), correct)


def open_run(path: str | os.PathLike[str], correct: str | None = None) -> History:
    """Read whatever history ``path`` holds: our records, else the completions that TRL logged.

    Args:
        path: The ``output_dir`` of a training run.
        correct: ``COLUMN>=X``, the correctness of a plain TRL run.

    Raises:
        ValueError: The directory is missing, empty or foreign; the message says what to do.
    """
    directory = Path(path)
    if directory.name == "divreg" and (directory / "events.jsonl").exists():
        directory = directory.parent
    if not directory.is_dir():
        raise ValueError(
            f"divreg report needs the output_dir of a training run; got {path}, which is not a "
            "directory. Check the path."
        )
    if (directory / "divreg" / "events.jsonl").exists():
        history = read(directory)
        if history.steps or history.logs:
            if correct and "pass_at_1" in (history.steps or [{}])[-1].get("signals", {}):
                history.notes.append("--correct was not needed: the records name correctness")
            elif correct:
                history.notes.append("--correct reads plain TRL runs only; these are divreg's")
            return history
    if any((directory / "completions").glob("completions_*.parquet")):
        return read_trl(directory, correct)
    raise ValueError(
        f"divreg report needs a run with at least one recorded step; got {path}, which holds "
        "neither divreg/events.jsonl with steps nor completions/completions_*.parquet. Attach "
        "CollapseMonitor(trainer), or train with log_completions=True."
    )
