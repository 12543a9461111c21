"""What every Diverse trainer does: carries a pipeline, tells monitors, saves and restores memory.

This and the mixins are the only code that overrides TRL: every override extends ``super()``, none
copies it.
"""

import json
import logging
from pathlib import Path
from typing import Any

import torch

from divreg.pipeline import Pipeline
from divreg.trainers import _seams

logger = logging.getLogger("divreg")
STATE_FILE = "divreg_state.json"


class Attached(_seams.Seams):
    """Attaches a :class:`divreg.pipeline.Pipeline` and monitors to a trainer of TRL."""

    config_class: type
    plan_class: type

    def _config(self, args: Any, model: Any) -> Any:
        """Return the config: the user's, or the default one of this trainer."""
        if args is not None:
            return args
        name = model if isinstance(model, str) else model.config._name_or_path or "model"
        return self.config_class(f"{name.split('/')[-1]}-{type(self).__name__}")

    def _attach(self, plan: Any) -> None:
        """Take over what a run will do, before TRL builds the trainer."""
        self._plan = plan
        self.pipeline: Pipeline = plan.pipeline
        self.configured_signals: dict[str, Any] = plan.configured
        self._monitors: list[Any] = []
        self._ready = False

    def _start(self) -> None:
        """Bind the monitors, once the trainer is built, and say what acts."""
        self._ready = True
        self._bind_monitors()
        self._watch(self._plan.monitor)
        if self.accelerator.is_main_process and (line := self._plan.announcement()):
            logger.warning(line)

    def add_callback(self, callback: Any) -> None:
        super().add_callback(callback)
        if self._ready:
            self._bind_monitors()

    def _watch(self, settings: Any) -> None:
        """Attach the monitor that the config asks for, unless the user brought one."""
        from divreg.monitor.callback import CollapseMonitor

        brought = any(isinstance(m, CollapseMonitor) for m in self._monitors)
        if isinstance(settings, dict) and not brought:
            self.add_callback(CollapseMonitor(**settings))

    def _bind_monitors(self) -> None:
        for callback in self.callback_handler.callbacks:
            if hasattr(callback, "bind_trainer") and callback not in self._monitors:
                self._monitors.append(callback)
                callback.bind_trainer(self)

    def _log_effects(self) -> None:
        effects = self.pipeline.take_effects()
        if effects and self.accelerator.num_processes > 1:  # the loss stage saw local rows only
            values = torch.tensor(list(effects.values()), device=self.accelerator.device)
            mean = self.accelerator.reduce(values, reduction="mean").tolist()
            effects = dict(zip(effects, mean, strict=True))
        for name, value in effects.items():
            _seams.log_metric(self, f"diversity/{name}", value)
        for monitor in self._monitors:
            monitor.on_effects(effects)

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        super()._save_checkpoint(model, trial)
        if self.args.should_save and self.pipeline:
            folder = Path(self._get_output_dir(trial)) / f"checkpoint-{self.state.global_step}"
            (folder / STATE_FILE).write_text(json.dumps(self.pipeline.state_dict()))

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        super()._load_optimizer_and_scheduler(checkpoint)
        path = Path(checkpoint or "") / STATE_FILE
        if checkpoint is not None and path.exists():
            self.pipeline.load_state_dict(json.loads(path.read_text()))
