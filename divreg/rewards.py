"""A reward function that rewards nothing and watches: for the stock ``trl grpo`` command line.

    trl grpo ... --reward_funcs accuracy_reward divreg.rewards.probe

:func:`probe` answers None for every completion, which TRL leaves out of the reward, so that no
weight needs to be set. It logs ``diversity/*`` and ``monitor/health`` through TRL's ``log_metric``,
prints alerts, and writes records that ``divreg report`` reads. It sees no other reward and no
entropy; its alerts name what is missing. A callback sees more: :class:`divreg.CollapseMonitor`.

Environment:
    DIVREG_GROUP: Completions per prompt (``num_generations``), where runs of equal prompts do not
        tell it.
    DIVREG_OUTPUT: Where records go; by default the trainer's ``output_dir``, else
        ``./divreg-probe``.
"""

import atexit
import logging
import os
from collections.abc import Callable
from itertools import groupby
from typing import Any

from divreg.monitor.detect import Detector
from divreg.monitor.observe import Batch, Observation, observe
from divreg.monitor.tell import tell, versions
from divreg.records import Recorder
from divreg.rollouts import completion_text, text_of

logger = logging.getLogger("divreg")
DEFAULT_OUTPUT = "divreg-probe"


def probe(
    prompts: list[Any],
    completions: list[Any],
    completion_ids: list[list[int]] | None = None,
    trainer_state: Any = None,
    log_metric: Callable[[str, float], None] | None = None,
    **_columns: Any,
) -> list[None]:
    """Watch a rollout and give no reward: a reward function of TRL, to be named on a command line.

    Every process calls it for its own rows; groups are put together from all of them.

    Args:
        prompts: This process's prompts, texts or lists of messages, one per completion.
        completions: This process's completions.
        completion_ids: Their token ids, for lengths.
        trainer_state: The trainer's state, for the step.
        log_metric: TRL's function for numbers that trackers should have.

    Returns:
        None for every row.
    """
    trainer = getattr(log_metric, "__self__", None)  # TRL's log_metric is a method of its trainer
    if not hasattr(trainer, "args") or not hasattr(trainer, "model"):
        trainer = None
    watcher = _watcher(trainer)
    mode = "train" if trainer is None or trainer.model.training else "eval"
    step = getattr(trainer_state, "global_step", 0) + 1
    every = getattr(trainer_state, "logging_steps", 1) or 1
    lengths = [len(ids) for ids in completion_ids] if completion_ids else []
    rows = _gathered(
        [list(map(text_of, prompts)), list(map(completion_text, completions)), lengths]
    )
    signals = watcher.look(rows, step, mode, record=every < 1 or step % every == 0)
    if log_metric is not None:
        for name, value in signals.items():
            log_metric(name, value)
    return [None] * len(prompts)


class Watcher:
    """What the probe remembers between calls: group size, detector, records.

    Args:
        output_dir: Where records go.
        group: Completions per prompt, or None to read it off runs of equal prompts.
        main: Whether this is the main process.
        report_to: Trackers that alerts should reach.
    """

    def __init__(
        self,
        output_dir: str,
        group: int | None = None,
        main: bool = True,
        report_to: list[str] | None = None,
    ):
        self.output_dir, self.group, self.main = output_dir, group, main
        self.report_to = report_to or []
        self.detector = Detector()
        self.recorder: Recorder | None = None
        self.alerts = 0
        self._complained = False

    def look(
        self, rows: list[list[Any]], step: int, mode: str = "train", record: bool = True
    ) -> dict[str, float]:
        """Observe prompts, completions and lengths of all processes; return what to log."""
        prompts, completions, lengths = rows
        group = self.group_size(prompts, keep=mode == "train")
        if group is None:
            return {}
        seen = observe(Batch(prompts, completions, group, lengths=lengths or None))
        if self.recorder is None:
            self.recorder = self._open(step, group)
        found = self.detector.update(step, seen.signals) if mode == "train" else []
        self._write(seen, step, mode, record)
        for alert in found:
            self.alerts += 1
            self.recorder.event("alert", **alert.as_event())
            if self.main:
                tell(alert, self.report_to)
        numbers = {f"diversity/{name}": value for name, value in seen.signals.items()}
        if mode == "eval":
            return numbers
        health = float(self.detector.health)
        return {**numbers, "monitor/health": health, "monitor/alerts": float(self.alerts)}

    def group_size(self, prompts: list[str], keep: bool = True) -> int | None:
        """Read the group size off runs of equal prompts; None, said once, if they disagree.

        One prompt may follow itself: what was read before stays true where it divides the runs.
        """
        runs = sorted({len(list(run)) for _, run in groupby(prompts)})
        if self.group is not None and all(run % self.group == 0 for run in runs):
            return self.group
        if len(runs) == 1 and runs[0] > 1 and (self.group is None or not keep):
            self.group = runs[0] if keep else self.group
            return runs[0]
        if not self._complained and self.main:
            self._complained = True
            said = f"DIVREG_GROUP={self.group}" if self.group else "no DIVREG_GROUP"
            logger.warning(
                "divreg.rewards.probe needs the number of completions per prompt; got runs of %s "
                "equal prompts and %s. Set DIVREG_GROUP to num_generations. Nothing is watched.",
                ", ".join(map(str, runs)),
                said,
            )
        return None

    def _open(self, step: int, group: int) -> Recorder:
        facts = {
            "trainer": "divreg.rewards.probe",
            "versions": versions(),
            "config": {"num_generations": group},
            "interventions": [],
            "equivalence": "text",
            "correct": None,
            "encoder": None,
        }
        resumed = step - 1 if step > 1 else None
        recorder = Recorder(self.output_dir, facts, enabled=self.main, resume_step=resumed)
        atexit.register(recorder.close)
        return recorder

    def _write(self, seen: Observation, step: int, mode: str, record: bool) -> None:
        assert self.recorder is not None
        self.recorder.event(
            "step",
            step=step,
            mode=mode,
            signals=seen.signals,
            groups=seen.groups,
            health=self.detector.health,
        )
        if record:
            self.recorder.completions(step, mode, seen.columns)


_WATCHERS: dict[str, Watcher] = {}


def _watcher(trainer: Any) -> Watcher:
    """Return the watcher of the run that is going on, one per output directory."""
    args = getattr(trainer, "args", None)
    folder = os.environ.get("DIVREG_OUTPUT") or getattr(args, "output_dir", None) or DEFAULT_OUTPUT
    if folder not in _WATCHERS:
        _WATCHERS[folder] = Watcher(
            folder, _group_from_environment(), _is_main(), getattr(args, "report_to", None)
        )
    return _WATCHERS[folder]


def _group_from_environment() -> int | None:
    text = os.environ.get("DIVREG_GROUP")
    if not text:
        return None
    if not text.isdigit() or int(text) < 2:
        raise ValueError(
            f"DIVREG_GROUP needs the number of completions per prompt, at least 2; got {text!r}. "
            f"Set it to num_generations, for example DIVREG_GROUP=8."
        )
    return int(text)


def _is_main() -> bool:
    from accelerate import PartialState

    return PartialState().is_main_process


def _gathered(rows: list[list[Any]]) -> list[list[Any]]:
    """Put the rows of all processes together, in the order of the groups."""
    from accelerate import PartialState
    from accelerate.utils import gather_object

    if PartialState().num_processes == 1:
        return rows
    return [gather_object(column) for column in rows]
