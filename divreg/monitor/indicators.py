"""Two signs of over-optimisation in the k likeliest next tokens: a reversal, and a leak.

Shi et al. (arXiv:2410.11677) read them in DPO-like training: the entropy of the likeliest tokens
turns down after it rose, or their probability leaks to the tail, where win rates begin to fall.
Measured on what is sampled from the probe prompts and, by a trainer of pairs, on its answers. Both
are warnings, and change no verdict: the paper reads curves, the rule is ours.
"""

import math
from collections.abc import Mapping
from itertools import pairwise
from typing import Any

from divreg.metrics.topk import leak, reversal
from divreg.monitor.detect import Alert, Detector

ENTROPY, MASS = "top_entropy_bits_", "top_mass_frac_"
_WHERE = {
    "probe": "samples of the probe prompts",
    "chosen": "chosen answers",
    "rejected": "rejected answers",
}
_REAL = ("entropy_drop", "mass_drop", "errors")  # settings that may be 0 and need not be whole
_TRY = {
    "sft": "num_train_epochs=1 | learning_rate halved",
    "dpo": 'fewer steps (max_steps) | beta=0.2 or higher | loss_type=["sigmoid", "sft"] | '
    "learning_rate halved",
}


class Indicators:
    """Follows entropy and mass of the k likeliest next tokens, and says when they turn.

    Args:
        k: How many tokens, at least 1; 10 in the paper. None: nothing is followed.
        entropy_drop: Fall of the entropy from its highest value that is a reversal, bits.
        mass_drop: Fall of the mass from its first value that is a leak, probability.
        patience: Readings in a row that are below, for a reversal.
        window: Readings of which the entropy's running mean is made.
        errors: Standard errors that a fall must exceed besides: the noise of small batches, read
            from the differences between one reading and the next. With 5 noise alone raises an
            alarm in less than one of twenty runs of 200 readings.

    Raises:
        ValueError: If one of them is out of range.
    """

    def __init__(
        self,
        *,
        k: int | None = 10,
        entropy_drop: float = 0.1,
        mass_drop: float = 0.02,
        patience: int = 3,
        window: int = 3,
        errors: float = 5.0,
    ):
        self.settings = {
            "k": k,
            "entropy_drop": entropy_drop,
            "mass_drop": mass_drop,
            "patience": patience,
            "window": window,
            "errors": errors,
        }
        for name, value in self.settings.items() if k is not None else ():
            least, kind = (0, (int, float)) if name in _REAL else (1, int)
            if not isinstance(value, kind) or isinstance(value, bool) or not value >= least:
                raise ValueError(
                    f"indicators needs {name} of at least {least}; got {value!r}. "
                    f"Write indicators={{'k': 10}}."
                )
        self.k = k
        self.series: dict[str, list[float]] = {}
        self.raised: list[str] = []
        self._kept: list[Mapping[str, float]] = []

    @classmethod
    def read(cls, settings: Mapping[str, Any] | None) -> "Indicators":
        """Build them as a config says; where it says nothing, nothing is followed.

        Raises:
            ValueError: If a setting is not known, or out of range.
        """
        if settings is None:
            return cls(k=None)
        known = ("k", "entropy_drop", "mass_drop", "patience", "window", "errors")
        named = isinstance(settings, Mapping)
        if not named or set(settings) - set(known):
            raise ValueError(
                f"indicators takes {', '.join(known)}; got "
                f"{sorted(settings) if named else repr(settings)}. Write indicators={{'k': 10}}."
            )
        return cls(**settings)

    def refuse(self, trainer: str) -> None:
        """Refuse a trainer with rollouts.

        Raises:
            ValueError: If something is to be followed.
        """
        if self.k is not None:
            raise ValueError(
                f"CollapseMonitor's indicators are for SFT and DPO; got {trainer}. "
                f"Remove indicators."
            )

    def keep(self, found: Mapping[str, float]) -> None:
        """Take in what a trainer of pairs read of the answers of one micro-batch."""
        self._kept.append(found)

    def step_end(self, step: int, detector: Detector) -> list[Alert]:
        """Take in the mean of what was kept since the last step; as :meth:`update`."""
        kept, self._kept = self._kept, []
        names = kept[0] if kept else ()
        mean = {name: sum(found[name] for found in kept) / len(kept) for name in names}
        return self.update(step, mean, detector)

    def update(self, step: int, found: Mapping[str, float], detector: Detector) -> list[Alert]:
        """Take in one reading and return the alerts that it completes, each once a run.

        Args:
            step: The optimizer step.
            found: Numbers by name: ``top_entropy_bits_`` and ``top_mass_frac_`` with ``probe``,
                ``chosen`` or ``rejected``. Others are passed over.
            detector: Whose advice and last healthy checkpoint an alert names.
        """
        names = sorted(name for name in found if name.startswith((ENTROPY, MASS)))
        for name in names:
            self.series.setdefault(name, []).append(float(found[name]))
        alerts = []
        for name in names:
            if name not in self.raised and (kind := self._fires(name)):
                self.raised.append(name)
                alerts.append(self._alert(kind, name, step, detector))
        return alerts

    def state_dict(self) -> dict[str, Any]:
        """Return everything that continuing needs, as JSON values."""
        series = {name: list(values) for name, values in self.series.items()}
        return {"series": series, "raised": list(self.raised)}

    def load_state_dict(self, state: Mapping[str, Any] | None) -> None:
        """Continue from :meth:`state_dict`; None, of an older checkpoint, begins anew."""
        state = state or {"series": {}, "raised": []}
        self.series = {name: list(values) for name, values in state["series"].items()}
        self.raised = list(state["raised"])

    def _fires(self, name: str) -> str | None:
        values, s = self.series[name], self.settings
        noise = s["errors"] * math.sqrt(2) * _noise(values)  # of a difference
        if name.startswith(MASS):
            return "leak" if leak(values, max(s["mass_drop"], noise)) is not None else None
        least = max(s["entropy_drop"], noise / math.sqrt(s["window"]))
        turned = reversal(values, least, s["patience"], s["window"])
        return "reversal" if turned is not None else None

    def _alert(self, kind: str, name: str, step: int, detector: Detector) -> Alert:
        prefix = MASS if kind == "leak" else ENTROPY
        where = name.removeprefix(prefix)
        words, values = _WHERE.get(where, where), self.series[name]
        other = self.series.get((ENTROPY if kind == "leak" else MASS) + where, [])
        if kind == "leak":
            message = (
                f"probability leaks from the {self.k} likeliest next tokens of {words}: "
                f"{values[0]:.3f} -> {values[-1]:.3f}"
            )
            beside = f"their entropy {other[0]:.2f} -> {other[-1]:.2f} bits" if other else ""
        else:
            message = (
                f"the entropy of the {self.k} likeliest next tokens of {words} has turned down: "
                f"{max(values):.2f} -> {values[-1]:.2f} bits"
            )
            beside = f"their probability {other[0]:.3f} -> {other[-1]:.3f}" if other else ""
        why = "where this begins, win rates fell in DPO-like training (arXiv:2410.11677)"
        return Alert(
            step=step,
            kind=kind,
            level="warning",
            message=message,
            why=f"{why}; {beside}" if beside else why,
            not_what="a loss of classes of answers: this is about single tokens",
            try_what=_TRY["dpo" if detector.advice == "dpo" else "sft"],
            last_healthy=detector.last_healthy,
            evidence={name: round(values[-1], 4), "of": round(max(values), 4)},
        )


def _noise(values: list[float]) -> float:
    """Return the standard deviation of one reading, from successive differences."""
    steps = [b - a for a, b in pairwise(values)]
    return math.sqrt(sum(x * x for x in steps) / (2 * len(steps))) if steps else 0.0
