"""The monitor as a callback: attach it to a TRL trainer, stock or Diverse, and training goes on.

It reads what the trainer has gathered anyway, so its numbers are global and its decisions the same
on every process, without communication of its own. It never draws from a random number generator
of the training, never changes the model's mode, and changes the run only where ``on_collapse``
says so.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar
from weakref import WeakSet

from transformers import TrainerCallback
from transformers.trainer_callback import ExportableState

from divreg.monitor import refuse
from divreg.monitor.detect import Alert, Detector
from divreg.monitor.indicators import Indicators
from divreg.monitor.memory import Memory
from divreg.monitor.observe import Batch, Observation, merged, observe
from divreg.monitor.reading import Reader, watched
from divreg.monitor.tell import run_facts, tell
from divreg.records import Recorder
from divreg.trainers import _seams

logger = logging.getLogger("divreg")

# TRL's own numbers that are evidence, by the name the detector knows.
READ = {
    "entropy": "entropy",
    "completions/mean_length": "completions/mean_length",
    "completions/clipped_ratio": "truncated_frac",
    "reward": "reward_mean",
}
ACTIONS = (None, "stop", "intervene")


class CollapseMonitor(TrainerCallback, ExportableState):
    """Watches a run for collapse and explosion, and says what it is, what it is not, what to try.

    ``trainer.add_callback(CollapseMonitor(trainer))`` on a trainer of TRL; a Diverse trainer takes
    ``callbacks=[CollapseMonitor()]`` and binds it itself. Numbers go to whatever ``report_to``
    names as ``diversity/*``, ``monitor/health`` (0 healthy, 1 narrowing, 2 collapsed or exploding)
    and ``monitor/alerts``, and to ``OUTPUT_DIR/divreg`` for ``divreg report``.

    Args:
        trainer: The trainer to watch; None on a Diverse trainer.
        on_collapse: None only reports. ``"stop"`` ends training at an alert of level error;
            ``"intervene"`` doubles the scheduled strengths of a Diverse trainer, up to four times.
        correct: ``{"reward": NAME, "at_least": X}`` or a function ``(prompt, completion) -> bool``.
            By default the only reward function, while it returns nothing but 0 and 1.
        answer: A function from text, and from ``prompt`` by keyword if it asks, to the extracted
            answer: equal ones are a class, known again at a later step; without it short texts are.
        partition: A function of `divreg.signals` that reads ``texts`` or ``answer``. By default
            equal short texts, or long ones that overlap, are one class.
        formats: Regular expressions by name, or a function from text to a name, that tell the
            formats of completions apart; True: code or text, by the markers of the Echo Chamber
            paper. By default nobody looks.
        probe_prompts: What to sample where there are no rollouts (SFT, DPO): texts or messages.
        probe_every: Optimizer steps between two samplings.
        probe_samples: Completions per probe prompt.
        probe_tokens: Longest probe completion, in tokens.
        indicators: ``{"k": 10}`` follows entropy and mass of the k likeliest next tokens, of probe
            samples and, on a Diverse DPO trainer, of chosen and rejected answers at every logged
            step, for one product more of hidden states and head there. By default nobody looks.
        reference: Signals of a healthy run as the baseline, instead of this run's first steps.
        thresholds: Fields of `divreg.monitor.detect.Settings` that should differ.

    Raises:
        ValueError: If an argument does not fit the trainer; the message says what to type.
    """

    _bound: ClassVar[WeakSet[Any]] = WeakSet()  # trainers; each keeps its monitors until it trains

    def __init__(
        self,
        trainer: Any = None,
        *,
        on_collapse: str | None = None,
        correct: Mapping[str, Any] | Callable[[str, str], bool] | None = None,
        answer: Callable[..., str | None] | None = None,
        partition: Callable[..., Any] | None = None,
        formats: Mapping[str, str] | Callable[[str], str] | bool | None = None,
        probe_prompts: Sequence[Any] | None = None,
        probe_every: int = 50,
        probe_samples: int = 8,
        probe_tokens: int = 64,
        indicators: Mapping[str, Any] | None = None,
        reference: Mapping[str, float] | None = None,
        thresholds: Mapping[str, Any] | None = None,
    ):
        if on_collapse not in ACTIONS:
            raise ValueError(
                f"CollapseMonitor's on_collapse needs None, 'stop' or 'intervene'; got "
                f"{on_collapse!r}. Write on_collapse='stop'."
            )
        if probe_prompts is not None and probe_samples < 2:
            raise ValueError(
                f"CollapseMonitor's probe_samples needs at least 2 completions to compare; got "
                f"{probe_samples}. Write probe_samples=8."
            )
        self.on_collapse, self.reader = on_collapse, Reader(correct, answer, partition)
        self.probe_prompts = list(probe_prompts) if probe_prompts is not None else None
        self.probe_every, self.probe_samples = probe_every, probe_samples
        self.probe_tokens = probe_tokens
        self._settings = {"reference": reference, **(thresholds or {})}
        self.detector = Detector(on_probes=probe_prompts is not None, **self._settings)
        self.memory = Memory(formats, self.detector.settings.baseline_steps)
        self.indicators = Indicators.read(indicators)
        self.trainer: Any = None
        self.recorder: Recorder | None = None
        self.alerts: list[Alert] = []
        self.unseen = 0
        self._alert_count = 0
        self._restored: dict[str, Any] | None = None
        self._pending: dict[str, list[Observation]] = {"train": [], "eval": []}
        self._effects: dict[str, float] = {}
        self._last_batch: Batch | None = None
        self._read: dict[str, dict[str, int]] = {"train": {}, "eval": {}}
        if trainer is not None:
            self.bind_trainer(trainer)

    def bind_trainer(self, trainer: Any) -> None:
        """Attach to a trainer; a Diverse trainer calls it for the callbacks it is given.

        Raises:
            ValueError: If the trainer has no rollouts and there are no ``probe_prompts``, or it has
                and there are, or it cannot intervene as asked.
        """
        self._adopt(trainer)
        self.trainer = trainer
        name = type(trainer).__name__
        self.rolls_out = _seams.read_rollout(trainer) is not None
        if not self.rolls_out and not self.probe_prompts:
            raise ValueError(
                f"CollapseMonitor needs prompts to sample on {name}, which has no rollouts; got "
                f"none. Write CollapseMonitor(trainer, probe_prompts=[...], probe_every=50)."
            )
        if self.rolls_out and self.probe_prompts:
            raise ValueError(
                f"CollapseMonitor watches rollouts of {name}; got prompts. Remove probe_prompts."
            )
        if self.rolls_out:
            self.indicators.refuse(name)
        if self.on_collapse == "intervene":
            refuse.intervening(trainer)
        if isinstance(self.reader.correct, Mapping) and self.rolls_out:
            refuse.unknown_reward(trainer, self.reader.correct)
        self.detector.advice = next(
            (a for a in ("grpo", "rloo", "sft", "dpo") if a in name.lower()),
            "grpo" if self.rolls_out else "sft",
        )
        if self.rolls_out and getattr(trainer, "pipeline", None):  # the swap is made already
            self.detector.advice = f"diverse_{self.detector.advice}"
        trainer._divreg_monitors = [*getattr(trainer, "_divreg_monitors", ()), self]
        CollapseMonitor._bound.add(trainer)

    def on_rollout(self, batch: Batch, step: int, mode: str) -> None:  # noqa: ARG002
        """Take in a rollout from a Diverse trainer, on every process, before its loss."""
        if batch is self._last_batch:  # transformers may have bound a copy of this monitor
            return
        self._last_batch = batch
        seen = observe(self.reader.judged(batch))
        if mode == "eval":
            self._evaluated(seen)
        else:
            self._pending["train"].append(seen)

    def on_effects(self, effects: Mapping[str, float]) -> None:
        """Take in what the interventions of a Diverse trainer did; recorded with the step."""
        self._effects.update(effects)

    def state(self) -> dict[str, Any]:
        """Return what a checkpoint keeps (transformers calls it while saving one)."""
        saved = {
            "detector": self.detector.state_dict(),
            "unseen": self.unseen,
            "alerts": self._alert_count,
            "binary": self.reader.binary,
            "memory": self.memory.state_dict(),
            "indicators": self.indicators.state_dict(),
        }
        return {"args": {}, "attributes": {"saved": saved}}

    @property
    def saved(self) -> dict[str, Any]:
        """The state that :meth:`state` returns; setting it continues from there."""
        return self.state()["attributes"]["saved"]

    @saved.setter
    def saved(self, value: dict[str, Any]) -> None:
        self._restored = value
        self.detector.load_state_dict(value["detector"])
        self.unseen, self._alert_count = value["unseen"], value["alerts"]
        self.reader.binary = value["binary"]
        self.memory.load_state_dict(value["memory"])
        self.indicators.load_state_dict(value.get("indicators"))

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:  # noqa: ARG002
        """Restore what a checkpoint kept, open the records, sample the probes of step 0."""
        self._adopt(next((t for t in CollapseMonitor._bound if t.args is args), self.trainer))
        if self.trainer is None:
            raise ValueError(
                "CollapseMonitor needs the trainer it watches; got none. "
                "Write trainer.add_callback(CollapseMonitor(trainer))."
            )
        resumed = state.global_step if state.global_step > 0 else None
        if resumed and self._restored is None:
            self._restore(state.stateful_callbacks.get(type(self).__name__), args, resumed)
        # transformers fails to save a checkpoint whose state was read from one without a monitor.
        state.stateful_callbacks.setdefault(type(self).__name__, self.state())
        noted = {**self._settings, "indicators": self.indicators.settings}
        self.recorder = Recorder(
            args.output_dir,
            run_facts(self.trainer, self.reader, noted, self.memory.describe_formats()),
            enabled=state.is_world_process_zero,
            resume_step=resumed,
        )
        if not self.rolls_out and not resumed:
            self._probe(0, record=True)

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:  # noqa: ARG002
        """Look at the step's rollout, or sample the probes, and say what is wrong."""
        step = state.global_step
        if not self.rolls_out:
            found = self.indicators.step_end(step, self.detector)
            if step % self.probe_every == 0:
                found += self._probe(step, record=True)
        else:
            found = self._rollout_step(step, record=control.should_log)
        self._log("monitor/health", self.detector.health)
        self._log("monitor/alerts", self._alert_count)
        self._act(found, step, control)

    def on_prediction_step(self, args: Any, state: Any, control: Any, **_: Any) -> None:  # noqa: ARG002
        """Look at an evaluation batch of a stock trainer while its rows can be told apart."""
        if not self.rolls_out or self._is_diverse() or not self._fresh("eval"):
            return
        trainer = self.trainer
        batch = self._stock_batch(
            trainer.num_generations_eval,
            newest=args.per_device_eval_batch_size * trainer.accelerator.num_processes,
        )
        if batch is not None:
            self._evaluated(observe(batch))

    def on_evaluate(self, args: Any, state: Any, control: Any, **_: Any) -> None:  # noqa: ARG002
        """Record the evaluation's rollouts, marked as such; they are no evidence of collapse."""
        seen, self._pending["eval"] = self._pending["eval"], []
        self._read["eval"].clear()
        if seen and self.recorder is not None:
            self._record(state.global_step, "eval", merged(seen), completions=True)

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:  # noqa: ARG002
        """Record TRL's own scalars."""
        logs = dict(logs or {})
        mode = "eval" if any(k.startswith("eval_") for k in logs) else "train"
        self._read[mode].clear()  # the trainer empties its metrics right after this event
        if self.recorder is not None:
            self.recorder.event("log", step=state.global_step, mode=mode, logs=logs)

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:  # noqa: ARG002
        """Remember the checkpoint as one to go back to, if nothing is wrong."""
        path = str(Path(args.output_dir) / f"checkpoint-{state.global_step}")
        healthy = not self.detector.suspicious
        if healthy:
            self.detector.last_healthy = path
        if self.recorder is not None:
            self.recorder.event("checkpoint", step=state.global_step, path=path, healthy=healthy)

    def on_train_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:  # noqa: ARG002
        """Close the records."""
        if self.recorder is not None:
            done = state.global_step >= state.max_steps
            reason = "completed" if done else "stopped early"
            self.recorder.event("end", step=state.global_step, reason=reason, unseen=self.unseen)
            self.recorder.close()
            self.recorder = None

    def _rollout_step(self, step: int, record: bool) -> list[Alert]:
        """Observe the rollouts that this step trained on, if any were generated."""
        new = self._new_metrics("train")
        if not self._is_diverse():
            generations = len(new.get("reward", ()))
            self.unseen += max(0, generations - 1)
            batch = self._stock_batch(self.trainer.num_generations) if generations else None
            if batch is not None:
                self._pending["train"].append(observe(batch))
        seen, self._pending["train"] = self._pending["train"], []
        evidence = (
            {
                ours: sum(new[theirs]) / len(new[theirs])
                for theirs, ours in READ.items()
                if new[theirs]
            }
            if new
            else {}
        )
        if not seen:
            return []
        joined = merged(seen)
        joined.signals = {**evidence, **joined.signals}
        self.memory.study(joined)
        self._log_means({k: v for k, v in joined.signals.items() if k not in READ})
        found = self.detector.update(step, joined.signals)
        self._record(step, "train", joined, completions=record)
        return found

    def _probe(self, step: int, record: bool) -> list[Alert]:
        """Sample the probe prompts and observe them; collective."""
        from divreg.trainers._probe import sample_probes

        said = sample_probes(
            self.trainer,
            self.probe_prompts or [],
            samples=self.probe_samples,
            max_tokens=self.probe_tokens,
            seed=self.trainer.args.seed,
            k=self.indicators.k,
        )
        entropy, top = said.pop("entropy"), said.pop("top")
        seen = observe(self.reader.judged(Batch(group_size=self.probe_samples, **said)))
        seen.signals["entropy"] = entropy
        seen.signals.update(top)
        self.memory.study(seen)
        if step:
            self._log_means({**seen.signals, "probe_entropy_nats": entropy})
        found = self.detector.update(step, seen.signals)
        found += self.indicators.update(step, top, self.detector)
        seen.signals |= watched(self.trainer, step)
        self._record(step, "probe", seen, completions=record)
        return found

    def _evaluated(self, seen: Observation) -> None:
        """Keep what an evaluation shows until it ends; nothing is learned from it."""
        self.memory.glance(seen)
        self._pending["eval"].append(seen)
        self._log_means(seen.signals)

    def _act(self, found: list[Alert], step: int, control: Any) -> None:
        """Tell the user, and do what ``on_collapse`` says: the same on every process."""
        for alert in found:
            self.alerts.append(alert)
            self._alert_count += 1
            if self.recorder is not None:
                self.recorder.event("alert", **alert.as_event())
            if self.trainer.accelerator.is_main_process:
                tell(alert, self.trainer.args.report_to)
        kinds = [alert.kind for alert in found]
        if self.on_collapse == "stop" and any(alert.level == "error" for alert in found):
            control.should_training_stop = True
            self._action(step, "stop", f"training ends here: {', '.join(kinds)}")
        if self.on_collapse == "intervene" and {"narrowing", "collapsed"} & set(kinds):
            boost = self.trainer.pipeline.strengthen(2.0)
            self._action(step, "intervene", f"scheduled strengths are now {boost:g} times theirs")

    def _action(self, step: int, what: str, detail: str) -> None:
        if self.recorder is not None:
            self.recorder.event("action", step=step, what=what, detail=detail)
        if self.trainer.accelerator.is_main_process:
            logger.warning("[divreg step %d] on_collapse=%r: %s", step, what, detail)

    def _record(self, step: int, mode: str, seen: Observation, *, completions: bool) -> None:
        if self.recorder is None:
            return
        effects, self._effects = self._effects, {}
        self.recorder.event(
            "step",
            step=step,
            mode=mode,
            signals=seen.signals,
            groups=seen.groups,
            effects=effects,
            unseen=self.unseen,
            health=self.detector.health,
        )
        if completions:
            self.recorder.completions(step, mode, seen.columns)

    def _log(self, name: str, value: float) -> None:
        if hasattr(self.trainer, "_metrics"):
            _seams.log_metric(self.trainer, name, float(value))

    def _log_means(self, signals: Mapping[str, float]) -> None:
        for name, value in signals.items():
            self._log(f"diversity/{name}", value)

    def _new_metrics(self, mode: str) -> dict[str, list[float]]:
        """Return TRL's values of ``mode`` that were added since the last call."""
        metrics, read = _seams.read_metrics(self.trainer), self._read[mode]
        new = {name: list(metrics.get(name, ())[read.get(name, 0) :]) for name in READ}
        read.update({name: len(metrics.get(name, ())) for name in READ})
        return new

    def _fresh(self, mode: str) -> bool:
        return bool(self._new_metrics(mode)["reward"])

    def _is_diverse(self) -> bool:
        return hasattr(self.trainer, "pipeline")

    def _stock_batch(self, group: int, newest: int | None = None) -> Batch | None:
        """Build a batch from what a stock trainer remembers; None if it is not in whole groups."""
        rows = _seams.read_rollout(self.trainer)
        if rows is None:
            return None
        if newest is not None:
            rewards = {name: values[-newest:] for name, values in rows["rewards"].items()}
            rows = {k: v[-newest:] for k, v in rows.items() if k != "rewards"} | {
                "rewards": rewards
            }
        n, weights = len(rows["prompt"]), self.trainer.reward_weights.tolist()
        starts = range(0, n, group)
        whole = n % group == 0 and all(
            prompt == rows["prompt"][s] for s in starts for prompt in rows["prompt"][s : s + group]
        )
        if not whole or any(len(v) != n for v in rows["rewards"].values()):
            self.unseen += 1
            return None
        return self.reader.rollout(rows, group, weights)

    def _adopt(self, trainer: Any) -> None:
        """Become the monitor that transformers replaced by this copy, built from JSON, if it did.

        That is ``restore_callback_states_from_checkpoint=True``; JSON can hold no trainer.
        """
        others = [m for m in getattr(trainer, "_divreg_monitors", ()) if m is not self]
        if self._restored is not None and self.trainer is None and others:
            restored, self.__dict__ = self._restored, others.pop(0).__dict__
            self.saved = restored
        if trainer is not None:
            trainer._divreg_monitors = others

    def _restore(self, entry: Any, args: Any, step: int) -> None:
        """Continue from what ``trainer_state.json`` of the checkpoint holds."""
        entries = entry if isinstance(entry, list) else [entry] if entry else []
        if not entries or "saved" not in entries[0].get("attributes", {}):
            return
        self.saved = entries[0]["attributes"]["saved"]
        path = Path(args.output_dir) / f"checkpoint-{step}"
        if not self.detector.suspicious and path.exists():
            self.detector.last_healthy = str(path)
