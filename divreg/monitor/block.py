"""The ``monitor:`` block of a recipe: true, false, or the arguments of ``CollapseMonitor``."""

import inspect
from collections.abc import Mapping
from typing import Any, Literal

from divreg import spec
from divreg.monitor.indicators import Indicators
from divreg.monitor.memory import Memory


def monitor(value: Any) -> dict[str, Any] | Literal[False] | None:
    """Return what ``monitor:`` says: None, False, or the arguments of ``CollapseMonitor``.

    Raises:
        ValueError: If it is neither true nor false nor settings, or a setting is not known.
    """
    if value is None or value is False:
        return value
    if value is True:
        return {}
    if not isinstance(value, Mapping):
        raise ValueError(
            f"monitor needs true, false or its settings; got {value!r}. "
            "Write `monitor: true` or `monitor: {on_collapse: stop}`."
        )
    from divreg.monitor.callback import CollapseMonitor

    known = set(inspect.signature(CollapseMonitor).parameters) - {"trainer"}
    settings = dict(value)
    for key in settings:
        if key not in known:
            raise ValueError(spec.unknown("monitor", "setting", key, known))
    described = {k: v for k, v in settings.items() if k in ("correct", "answer", "partition")}
    if isinstance(settings.get("formats"), str):
        settings["formats"] = spec.named(settings["formats"], "formats")
    Indicators.read(settings.get("indicators"))
    Memory(settings.get("formats"))  # refuses what cannot name a format
    return {**settings, **spec.signals(described)}
