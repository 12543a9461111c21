"""Where an alert goes: the console and the trackers; and what a run says of itself at its start."""

import functools
import logging
import platform
import sys
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from divreg.compose import name_of
from divreg.monitor.detect import Alert
from divreg.monitor.reading import Reader

logger = logging.getLogger("divreg")
_INDENT = "\n        "
_CONFIG = """num_generations temperature learning_rate beta scale_rewards loss_type max_steps
    max_completion_length per_device_train_batch_size gradient_accumulation_steps
    steps_per_generation num_iterations seed entropy_coef epsilon epsilon_high"""


def tell(alert: Alert, report_to: Sequence[str] | str | None) -> None:
    """Print an alert, and hand it to trackio or Weights & Biases if they are tracking this run.

    Call it on the main process only.

    Args:
        alert: What to say.
        report_to: The trainer's ``report_to``.
    """
    level = "WARN" if alert.level == "warning" else "ERROR"
    head = f"[divreg {level} step {alert.step}] "
    log = logger.warning if alert.level == "warning" else logger.error
    log("%s%s", head, _INDENT.join(alert.lines()))
    trackers = [report_to] if isinstance(report_to, str) else list(report_to or [])
    for name in trackers:
        tracker = sys.modules.get(name) if name in ("trackio", "wandb") else None
        if tracker is None:
            continue
        try:
            _send(name, tracker, alert, level)
        except Exception as error:  # a tracker's outage must not end the training
            logger.warning("divreg could not hand its alert to %s: %s", name, error)


def _send(name: str, tracker: object, alert: Alert, level: str) -> None:
    text = "\n".join(alert.lines()[1:])
    if name == "trackio":
        levels = tracker.AlertLevel  # pyright: ignore[reportAttributeAccessIssue]
        tracker.alert(title=alert.message, text=text, level=getattr(levels, level))  # pyright: ignore[reportAttributeAccessIssue]
    elif getattr(tracker, "run", None) is not None:
        tracker.run.alert(title=alert.message[:64], text="\n".join(alert.lines()), level=level)  # pyright: ignore[reportAttributeAccessIssue]


def run_facts(
    trainer: Any, reader: Reader, settings: Mapping[str, Any], formats: Any = None
) -> dict[str, Any]:
    """Describe a run for its records: trainer, versions, settings, what counts as the same.

    ``settings`` are the detector's: a report judges the run by them again. ``formats`` says what
    tells formats apart. ``encoder`` is the model behind the classes or the embedding, with what of
    a text it reads; ``signals`` what was configured on a Diverse trainer, ``partition`` what was on
    the monitor.
    """
    pipeline = getattr(trainer, "pipeline", None)
    signals = dict(getattr(trainer, "configured_signals", {}))
    return {
        "trainer": type(trainer).__name__,
        "versions": versions(),
        "world_size": trainer.args.world_size,
        "config": {k: getattr(trainer.args, k, None) for k in _CONFIG.split()},
        "interventions": [str(c) for c in pipeline.contracts.values()] if pipeline else [],
        "equivalence": reader.equivalence,
        "correct": reader.describe_correct(),
        "encoder": _encoder([reader.partition, *signals.values()]),
        "signals": {name: described(f) for name, f in signals.items()},
        "partition": described(reader.partition),
        "formats": formats,
        "monitor": dict(settings),
    }


def described(value: Any) -> Any:
    """Say what a configured function is: its name, what it binds, and what an encoder embeds.

    >>> import functools
    >>> described(functools.partial(sorted, reverse=True))
    {'function': 'sorted', 'reverse': True}
    """
    if hasattr(value, "facts"):
        return value.facts
    if isinstance(value, functools.partial):
        bound = {k: described(v) for k, v in value.keywords.items()}
        return {"function": name_of(value), **bound}
    return name_of(value) if callable(value) else value


def _encoder(functions: Sequence[Any]) -> dict[str, Any] | None:
    """Return the facts of the first model that says what is the same; None if there is none."""
    for f in functions:
        bound = f.keywords.values() if isinstance(f, functools.partial) else ()
        facts = [getattr(candidate, "facts", None) for candidate in (f, *bound)]
        if any(facts):
            return next(filter(None, facts))
    return None


def versions() -> dict[str, str]:
    """Return the versions of what a run depends on."""
    found = {"python": platform.python_version()}
    for name in ("divreg", "trl", "torch", "transformers"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
