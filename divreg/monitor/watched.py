"""What other callbacks of a trainer have to say when its monitor looks."""

from typing import Any


def watched(trainer: Any, step: int) -> dict[str, float]:
    """Return the signals of everything that watches a trainer beside its monitor; collective."""
    found: dict[str, float] = {}
    for watch in getattr(trainer, "_divreg_watches", ()):
        found |= watch.signals(step)
    return found
