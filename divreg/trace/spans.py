"""Means with their intervals, as ``trace.json`` holds them: read, averaged, scaled and printed."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Span:
    """A mean over prompts and the ends of its interval.

    Attributes:
        estimate: The mean.
        low: None where nothing is known of the spread, as with one prompt.
        high: None likewise.
        prompts: How many it is the mean of.
        dropped: Prompts that have no value.
    """

    estimate: float
    low: float | None
    high: float | None
    prompts: int
    dropped: int = 0

    @property
    def half(self) -> float | None:
        """Half of the interval."""
        return None if self.low is None or self.high is None else (self.high - self.low) / 2

    @property
    def sure(self) -> bool:
        """Whether the interval excludes 0."""
        return self.low is not None and self.high is not None and not self.low <= 0 <= self.high

    def times(self, factor: float) -> "Span":
        """The same in another unit, ``factor`` of which make one of this."""
        low, high = (None if end is None else end * factor for end in (self.low, self.high))
        return Span(self.estimate * factor, low, high, self.prompts, self.dropped)


def span(found: Mapping[str, Any] | None) -> Span | None:
    """Read an interval of ``trace.json``; None where it has no estimate.

    >>> span({"estimate": 0.5, "low": None, "high": None, "prompts": 1, "dropped": 3})
    Span(estimate=0.5, low=None, high=None, prompts=1, dropped=3)
    """
    if not found or found.get("estimate") is None:
        return None
    return Span(**{key: found[key] for key in ("estimate", "low", "high", "prompts", "dropped")})


def mean_of(spans: Sequence[Span]) -> Span:
    """Average over tasks: other prompts would move each on its own, so their errors partly cancel.

    >>> found = mean_of([Span(1.0, 0.7, 1.3, 9), Span(2.0, 1.6, 2.4, 5)])
    >>> found.estimate, round(found.low, 6), round(found.high, 6), found.prompts
    (1.5, 1.25, 1.75, 14)
    """
    n = len(spans)
    estimate = sum(s.estimate for s in spans) / n
    low = high = None
    if all(s.half is not None for s in spans):
        below = math.sqrt(sum((s.estimate - (s.low or 0.0)) ** 2 for s in spans))
        above = math.sqrt(sum(((s.high or 0.0) - s.estimate) ** 2 for s in spans))
        low, high = estimate - below / n, estimate + above / n
    return Span(estimate, low, high, sum(s.prompts for s in spans), sum(s.dropped for s in spans))


def digits(spans: Sequence[Span | None]) -> int:
    """How many decimals a row of numbers is printed with, by the largest.

    >>> digits([Span(28.6, 27.7, 29.5, 26), Span(0.5, 0.4, 0.6, 26)]), digits([None])
    (1, 2)
    """
    size = max((abs(s.estimate) for s in spans if s), default=0.0)
    return 0 if size >= 100 else 1 if size >= 10 else 2 if size >= 0.1 or size == 0 else 3


def number(value: float, places: int = 2, signed: bool = False) -> str:
    """Print a number, with a true minus; what rounds to nothing has no sign.

    >>> number(-0.254), number(0.254, signed=True), number(-0.001, signed=True)
    ('−0.25', '+0.25', '0.00')
    """
    text = f"{abs(value):.{places}f}"
    if not float(text):
        return text
    return f"{'−' if value < 0 else '+' if signed else ''}{text}"


def with_half(s: Span, places: int = 2) -> str:
    """Print a mean and half of its interval.

    >>> with_half(Span(-0.5, -0.6, -0.2, 9)), with_half(Span(3.0, None, None, 1), 0)
    ('−0.50 ±0.20', '3')
    """
    half = "" if s.half is None else f" ±{number(s.half, places)}"
    return f"{number(s.estimate, places)}{half}"


def in_words(s: Span, places: int = 2, unit: str = "") -> str:
    """Print a mean and the ends of its interval.

    >>> in_words(Span(52.0, 48.2, 56.0, 9), 0, " %"), in_words(Span(0.5, None, None, 1))
    ('52 % (48 to 56)', '0.50')
    """
    text = f"{number(s.estimate, places)}{unit}"
    if s.low is None or s.high is None:
        return text
    return f"{text} ({number(s.low, places)} to {number(s.high, places)})"
