"""When a run has left its own baseline: narrowing, collapsed, exploding, saturated, stalled.

Nothing here is absolute: entropy depends on temperature, tokenizer and task, so every number is
compared with the first updates of the run itself (or with a reference run). Three kinds of evidence
are weighed, each a different thing that can be measured wrongly: the entropy of tokens, the classes
of whole completions, and pass@1 against pass@k. Needs the standard library only; its state is JSON.
"""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from divreg.monitor import diagnose

HEALTH = {  # of a run with this alert; 2 for a kind that is not named
    "one_format": 0,
    "narrowing": 1,
    "saturated": 1,
    "stalled": 1,
    "exploding": 2,
    "collapsed": 2,
}
_WARNINGS = ("one_format", "narrowing", "saturated", "stalled")
LEVELS: dict[str, str] = dict.fromkeys(_WARNINGS, "warning")


@dataclass(frozen=True)
class Settings:
    """What counts as evidence, and how much of it is needed. Shares are of the baseline.

    Attributes:
        baseline_steps: Updates that make the baseline; nothing but a seed bug is said before.
        smoothing: Weight of the newest update in the running mean.
        patience: Updates in a row that must agree before an alert, and before it is taken back.
        hysteresis: An alert stays while the evidence exceeds this share of its threshold.
        classes_drop: Loss of variety among whole completions that is a narrowing.
        classes_drop_wasted: The same where entropy is being spent without accuracy in return.
        classes_drop_unknown: The same where correctness is unknown: becoming right narrows too.
        errors: Standard errors that such a loss must exceed.
        entropy_drop: Loss of token entropy that supports it.
        entropy_per_logit: Share of the entropy that one logit of pass@1 may cost: learning narrows.
        entropy_wasted: Loss of entropy beyond that which is a waste.
        worth_drop: Loss of independent samples among k (pass@1 against pass@k) that supports it.
        collapse_drop: Loss of variety that is a collapse, if all known evidence agrees.
        identical: Share of groups with one text that is a collapse by itself.
        entropy_rise: Rise of token entropy that is an explosion if length or reward agree.
        saturation: Share of all-correct groups from which on nothing is left to learn.
        stall: Share of groups without variance in the reward from which on nothing is learned.
        seed_repeats: Share of groups whose parts repeat in order: not chance.
        format_share: Share of all completions from which on one format has taken over.
        format_rise: Rise of that share since the baseline that makes it news.
    """

    baseline_steps: int = 10
    smoothing: float = 0.2
    patience: int = 3
    hysteresis: float = 0.7
    classes_drop: float = 0.25
    classes_drop_wasted: float = 0.15
    classes_drop_unknown: float = 0.4
    errors: float = 1.0
    entropy_drop: float = 0.15
    entropy_per_logit: float = 0.2
    entropy_wasted: float = 0.07
    worth_drop: float = 0.3
    collapse_drop: float = 0.5
    identical: float = 0.5
    entropy_rise: float = 0.5
    saturation: float = 0.8
    stall: float = 0.95
    seed_repeats: float = 0.5
    format_share: float = 0.9
    format_rise: float = 0.2


@dataclass
class Series:
    """One signal: its baseline, and a running mean that starts there."""

    n: int = 0
    mean: float = 0.0
    squares: float = 0.0
    now: float = 0.0
    noise: float = 0.0

    def add(self, value: float, settings: Settings) -> None:
        """Take a value into the baseline while that lasts, then into the running mean."""
        self.n += 1
        if self.n <= settings.baseline_steps:
            before = value - self.mean
            self.mean += before / self.n
            self.squares += before * (value - self.mean)
            self.now = self.mean
            self.noise = self.squares / max(1, self.n - 1)
        else:
            surprise = value - self.now
            self.now += settings.smoothing * surprise
            self.noise += settings.smoothing * (surprise * surprise - self.noise)

    def error(self, settings: Settings) -> float:
        """Standard error of ``now - mean`` while nothing changes.

        Ten values say little about their own variance: the larger of theirs and today's is used.
        """
        n = min(self.n, settings.baseline_steps)
        variance = max(self.squares / max(1, n - 1), self.noise)
        return math.sqrt(variance * (1 / n + settings.smoothing / (2 - settings.smoothing)))


@dataclass
class Alert:
    """One line, and up to three more: why, what it is not, what to try."""

    step: int
    kind: str
    level: str
    message: str
    why: str
    not_what: str
    try_what: str
    last_healthy: str | None
    evidence: dict[str, Any] = field(default_factory=dict)

    def lines(self) -> list[str]:
        """Return the alert as it is printed: the line, then the three."""
        tried = self.try_what
        if self.last_healthy and self.last_healthy not in tried:
            tried += f" | last healthy checkpoint: {self.last_healthy}"
        rest = [f"why: {self.why}", f"not: {self.not_what}", f"try: {tried}"]
        return [self.message, *(line for line in rest if line[5:])]

    def as_event(self) -> dict[str, Any]:
        """Return the fields of the record, without the step's envelope."""
        return asdict(self)


class Detector:
    """Follows a run, one update at a time.

    Args:
        on_probes: Whether updates are samples of the same prompts with the same seed (SFT, DPO):
            they are few and not noisy, so three make a baseline and two agree.
        reference: Signals of a healthy run, used as the baseline in place of the first updates.
        last_healthy: Checkpoint to name in an alert; the callback keeps it up to date.
        advice: Whose settings an alert names, see :func:`divreg.monitor.diagnose.explain`.
        **settings: Fields of :class:`Settings` that should differ.
    """

    def __init__(
        self,
        *,
        on_probes: bool = False,
        reference: Mapping[str, float] | None = None,
        last_healthy: str | None = None,
        advice: str = "grpo",
        **settings: Any,
    ):
        quick = {"baseline_steps": 3, "smoothing": 0.5, "patience": 2} if on_probes else {}
        unknown = set(settings) - set(Settings.__dataclass_fields__)
        if unknown:
            raise ValueError(
                f"Detector has no setting {min(unknown)!r}; it takes "
                f"{', '.join(Settings.__dataclass_fields__)}. Remove or rename it."
            )
        self.settings = Settings(**{**quick, **settings})
        self.last_healthy, self.advice = last_healthy, advice
        self.series: dict[str, Series] = {}
        self.hits: dict[str, int] = {}
        self.misses: dict[str, int] = {}
        self.raised: dict[str, int] = {}
        for name, value in (reference or {}).items():
            n = self.settings.baseline_steps
            self.series[name] = Series(n, float(value), 0.0, float(value))

    @property
    def health(self) -> int:
        """0 healthy; 1 narrowing, saturated or stalled; 2 collapsed, exploding or a seed bug.

        One format that takes over is told and changes nothing here: it often comes with learning.
        """
        return max((HEALTH.get(kind, 2) for kind in self.raised), default=0)

    @property
    def suspicious(self) -> bool:
        """Whether an alert stands or has begun to build up: no checkpoint to return to."""
        building = {kind for kind, hits in self.hits.items() if hits}
        return any(HEALTH.get(kind, 2) for kind in building | set(self.raised))

    @property
    def baseline(self) -> dict[str, float]:
        """The baseline of every signal that has one."""
        n = self.settings.baseline_steps
        return {name: s.mean for name, s in self.series.items() if s.n >= n}

    def update(self, step: int, signals: Mapping[str, float]) -> list[Alert]:
        """Take in one update and return the alerts that it completes.

        Args:
            step: The optimizer step.
            signals: Numbers by name, those of :func:`divreg.monitor.observe.observe` and TRL's own
                (``entropy``, ``completions/clipped_ratio``, ...). What is absent is not evidence.
        """
        for name, value in signals.items():
            if value is not None and math.isfinite(value):
                self.series.setdefault(name, Series()).add(float(value), self.settings)
        found = self.evidence()
        alerts = []
        for kind, test in _TESTS.items():
            scale = self.settings.hysteresis if kind in self.raised else 1.0
            if self._persists(kind, test(self, found, scale), step):
                alerts.append(self._alert(kind, step, found))
        if any(a.kind == "collapsed" for a in alerts):
            alerts = [a for a in alerts if a.kind != "narrowing"]
        return alerts

    def evidence(self) -> dict[str, float]:
        """Return what is known now: changes as shares of the baseline, levels as they are."""
        found: dict[str, float] = {}
        for key, name in _CHANGES.items():
            if (change := self._change(name)) is not None:
                found[key] = change
        for name in _LEVELS:
            if name in self.series:
                found[name] = self.series[name].now
        if (worth := self._worth()) is not None:
            found["worth_change"] = worth
        if (wasted := self._wasted(found.get("entropy_change"))) is not None:
            found["entropy_wasted"] = wasted
        right = self.series.get("pair_distinct_correct_frac")
        known = right is not None and right.n >= self.settings.baseline_steps
        key = "correct_classes_change" if known else "all_classes_change"
        name = "pair_distinct_correct_frac" if known else "distinct_frac"
        if key in found:
            found["classes_change"] = found[key]
            found["classes_error"] = self.series[name].error(self.settings) / max(
                1e-9, abs(self.series[name].mean)
            )
        return found

    def missing(self) -> list[str]:
        """Name, in words, the kinds of evidence that this run does not have."""
        return diagnose.missing(self.series)

    def state_dict(self) -> dict[str, Any]:
        """Return everything that continuing needs, as JSON values."""
        return {
            "series": {name: asdict(s) for name, s in self.series.items()},
            "hits": dict(self.hits),
            "misses": dict(self.misses),
            "raised": dict(self.raised),
            "last_healthy": self.last_healthy,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from :meth:`state_dict`."""
        self.series = {name: Series(**s) for name, s in state["series"].items()}
        self.hits, self.misses = dict(state["hits"]), dict(state["misses"])
        self.raised, self.last_healthy = dict(state["raised"]), state["last_healthy"]

    def _change(self, name: str) -> float | None:
        s = self.series.get(name)
        if s is None or s.n < self.settings.baseline_steps or abs(s.mean) < 1e-9:
            return None
        return s.now / s.mean - 1

    def _worth(self) -> float | None:
        """Change of how many independent samples k of them are worth: 1 - (1 - pass@1)^worth.

        Falls where pass@1 rises on what pass@k had solved already. Unknown once pass@k is nearly
        1: there is nothing left to tell apart.
        """
        one, several = self.series.get("pass_at_1"), self.series.get("pass_at_k")
        if one is None or several is None or several.n < self.settings.baseline_steps:
            return None
        values = (one.mean, several.mean, one.now, several.now)
        if not all(0.01 < v < 0.97 for v in values):
            return None
        before = math.log1p(-several.mean) / math.log1p(-one.mean)
        return math.log1p(-several.now) / math.log1p(-one.now) / before - 1

    def _wasted(self, entropy_change: float | None) -> float | None:
        """Loss of entropy, as a share, beyond what the gain of pass@1 explains."""
        one = self.series.get("pass_at_1")
        if entropy_change is None or one is None or one.n < self.settings.baseline_steps:
            return None
        before, now = (min(0.99, max(0.01, p)) for p in (one.mean, one.now))
        gained = math.log(now / (1 - now)) - math.log(before / (1 - before))
        return -entropy_change - self.settings.entropy_per_logit * max(0.0, gained)

    def _persists(self, kind: str, now: bool, step: int) -> bool:
        """Count agreement; True at the update that completes it."""
        patience = 3 if kind == "seed_bug" else self.settings.patience
        self.hits[kind] = self.hits.get(kind, 0) + 1 if now else 0
        self.misses[kind] = 0 if now else self.misses.get(kind, 0) + 1
        if kind in self.raised:
            if self.misses[kind] >= patience:
                del self.raised[kind]
            return False
        if self.hits[kind] < patience:
            return False
        self.raised[kind] = step
        return True

    def _alert(self, kind: str, step: int, found: dict[str, float]) -> Alert:
        words = diagnose.explain(kind, found, self.series, self.advice, self.last_healthy)
        return Alert(
            step=step,
            kind=kind,
            level=LEVELS.get(kind, "error"),
            last_healthy=self.last_healthy,
            evidence={k: round(v, 4) for k, v in found.items()},
            **words,
        )


_CHANGES = {
    "entropy_change": "entropy",
    "correct_classes_change": "pair_distinct_correct_frac",
    "all_classes_change": "distinct_frac",
    "ngrams_change": "distinct_ngrams",
    "pass_at_1_change": "pass_at_1",
    "pass_at_k_change": "pass_at_k",
    "reward_change": "reward_mean",
    "length_change": "completions/mean_length",
    "words_change": "mean_length_words",
}
_LEVELS = (
    "identical_frac",
    "all_correct_frac",
    "all_wrong_frac",
    "zero_variance_frac",
    "rewards_cancel_frac",
    "truncated_frac",
    "cross_group_dup_frac",
    "format_top_frac",
    "format_entropy_frac",
    "format_kl_nats",
    "pass_at_1",
    "pass_at_k",
)


def _support(d: Detector, e: Mapping[str, float], scale: float) -> tuple[int, int]:
    """Count the other kinds of evidence that agree with a loss of classes, and those known."""
    s = d.settings
    tests = []
    if "entropy_change" in e:
        tests.append(e["entropy_change"] <= -s.entropy_drop * scale)
    if "worth_change" in e:
        tests.append(e["worth_change"] <= -s.worth_drop * scale)
    return sum(tests), len(tests)


def _narrowing(d: Detector, e: Mapping[str, float], scale: float) -> bool:
    s = d.settings
    if "classes_change" not in e or e.get("entropy_change", 0.0) > s.entropy_drop:
        return False
    right = "correct_classes_change" in e
    needed = s.classes_drop if right else s.classes_drop_unknown
    if right and e.get("entropy_wasted", 0.0) >= s.entropy_wasted * scale:
        needed = s.classes_drop_wasted
    drop = -e["classes_change"]
    agree, known = _support(d, e, scale)
    return drop >= max(needed, s.errors * e["classes_error"]) * scale and agree >= min(1, known)


def _collapsed(d: Detector, e: Mapping[str, float], scale: float) -> bool:
    s = d.settings
    if e.get("identical_frac", 0.0) >= s.identical * scale and _left_baseline(d, "identical_frac"):
        return True
    if e.get("entropy_change", 0.0) > s.entropy_drop:
        return False
    agree, known = _support(d, e, scale)
    return -e.get("classes_change", 0.0) >= s.collapse_drop * scale and agree >= min(1, known)


def _exploding(d: Detector, e: Mapping[str, float], scale: float) -> bool:
    rise = e.get("entropy_change", 0.0)
    if rise >= 3 * d.settings.entropy_rise * scale:
        return True
    length = max(e.get("length_change", 0.0), e.get("words_change", 0.0))
    worse = (
        length >= 0.2 * scale
        or e.get("pass_at_1_change", 0.0) <= -0.25 * scale
        or e.get("reward_change", 0.0) <= -0.25 * scale
        or e.get("truncated_frac", 0.0) >= 0.2 * scale
    )
    return rise >= d.settings.entropy_rise * scale and worse


def _saturated(d: Detector, e: Mapping[str, float], scale: float) -> bool:
    return ("entropy_change" in e or "classes_change" in e) and e.get(
        "all_correct_frac", 0.0
    ) >= d.settings.saturation * scale


def _stalled(d: Detector, e: Mapping[str, float], scale: float) -> bool:
    if "all_classes_change" not in e or "collapsed" in d.raised or "saturated" in d.raised:
        return False
    others = e.get("all_correct_frac", 0.0) + e.get("identical_frac", 0.0)
    return e.get("zero_variance_frac", 0.0) - others >= d.settings.stall * scale


def _seed_bug(d: Detector, e: Mapping[str, float], scale: float) -> bool:
    return e.get("cross_group_dup_frac", 0.0) >= d.settings.seed_repeats * scale


def _one_format(d: Detector, e: Mapping[str, float], scale: float) -> bool:
    del e
    name = diagnose.top_format(d.series)
    if name is None or d.series[name].n <= d.settings.baseline_steps:
        return False
    s = d.series[name]
    most, rise = d.settings.format_share * scale, d.settings.format_rise * scale
    return s.now >= most and s.now - s.mean >= rise


def _left_baseline(d: Detector, name: str) -> bool:
    s = d.series[name]
    return s.n > d.settings.baseline_steps and s.now > s.mean + 0.1


_TESTS = {
    "seed_bug": _seed_bug,
    "collapsed": _collapsed,
    "narrowing": _narrowing,
    "exploding": _exploding,
    "saturated": _saturated,
    "stalled": _stalled,
    "one_format": _one_format,
}
