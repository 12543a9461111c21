"""What ``divreg pairs`` was asked for: a reward, what makes a response rare, and how it is read."""

import difflib
import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from divreg.data.pairs import Threshold

KINDS = ("classes", "distance", "logprob")
"""Criteria that are computed; every other word is a column."""


@dataclass(frozen=True)
class Options:
    """How pairs are chosen.

    Attributes:
        reward: Column of the reward.
        rho: Share of ``threshold``, in [0, 0.5].
        threshold: What ``rho`` is a share of.
        count: Most pairs of a prompt.
        diversity: One of :data:`KINDS` or a column; None is what the other options speak of.
        classes: Column that says which responses say the same.
        same: Cosine from which two responses say the same.
        encoder: Embeds answers by their meaning.
        style: Embeds answers by their style.
        logprob: Column of the mean log-prob of a token, or of the list of all tokens'.
        logprob_sum: Column of the sum of the log-probs.
        tokens: Column of how many tokens that is the sum of.
        keep_reasoning: Whether reasoning blocks are part of an answer.
    """

    reward: str = "reward"
    rho: float = 0.25
    threshold: Threshold = "range"
    count: int = 1
    diversity: str | None = None
    classes: str | None = None
    same: float | None = None
    encoder: Any = None
    style: Any = None
    logprob: str | None = None
    logprob_sum: str | None = None
    tokens: str | None = None
    keep_reasoning: bool = False


def criterion(options: Options) -> str:
    """Return which criterion is meant: one of :data:`KINDS`, or a column.

    Raises:
        ValueError: If the options contradict each other, or one would not be read.

    >>> criterion(Options()), criterion(Options(logprob="lp")), criterion(Options(diversity="x"))
    ('classes', 'logprob', 'x')
    """
    given = {
        "classes": [n for n in ("classes", "same") if getattr(options, n) is not None],
        "logprob": [n for n in ("logprob", "logprob_sum") if getattr(options, n) is not None],
        "distance": ["encoder"] if options.encoder is not None and options.same is None else [],
    }
    _refuse_halves(options)
    kind = options.diversity
    if kind is None:
        meant = [name for name, named in given.items() if named]
        if len(meant) > 1:
            named = " and ".join(_option(given[name][0]) for name in meant)
            ways = " or ".join(f"--diversity {name}" for name in meant)
            raise ValueError(f"{named} each say what is rare. Add {ways}.")
        return meant[0] if meant else "classes"
    if kind == "distance" and options.encoder is None:
        raise ValueError("--diversity distance needs an encoder; got none. Add --encoder NAME.")
    if kind == "logprob" and not given["logprob"]:
        raise ValueError(
            "--diversity logprob needs a column of log-probs; got none. Add --logprob COLUMN."
        )
    for name in ("classes", "logprob"):  # an encoder is read for the weights as well
        if name != kind and given[name]:
            unread = _option(given[name][0])
            raise ValueError(
                f"{unread} is not read with --diversity {kind}. Leave out one of the two."
            )
    return kind


def words(options: Options, kind: str) -> str:
    """Return what makes a response rare, in words: what diversity is a number of."""
    if kind == "classes":
        if options.classes is not None:
            same = f"have one value of {options.classes!r}"
        elif options.same is not None:
            same = f"have a cosine of at least {options.same:g} by {name_of(options.encoder)}"
        else:
            same = "have one text, or 3-gram overlap >= 0.5 beyond 64 characters"
        return f"responses of the prompt over those that say the same (they {same})"
    if kind == "distance":
        return f"mean cosine distance to the prompt's other responses by {name_of(options.encoder)}"
    if kind == "logprob":
        if options.logprob_sum is not None:
            return f"-log-prob per token (-{options.logprob_sum} / {options.tokens})"
        return f"-log-prob per token (mean of {options.logprob!r})"
    return f"the column {kind!r}"


def axes(options: Options) -> str:
    """Return what responses deviate in, in words."""
    named = []
    if options.encoder is not None:
        named.append(f"mean cosine distance by {name_of(options.encoder)}")
    if options.style is not None:
        named.append(f"mean cosine distance by {name_of(options.style)}")
    return " and ".join(named) or "the diversity above, for want of an encoder"


def name_of(encoder: Any) -> str:
    """Return what an encoder is called."""
    return str(getattr(encoder, "name", encoder))


def value_of(fields: Mapping[str, Any], options: Options, kind: str) -> Any:
    """Return what the columns of one response say of its diversity; None where they need not.

    Raises:
        ValueError: If they say nothing; the message completes "responses ...".

    >>> value_of({"lp": [-1.0, -3.0]}, Options(logprob="lp"), "logprob")
    2.0
    """
    if kind == "classes":
        if options.classes is None:
            return None
        if fields.get(options.classes) is None:
            raise ValueError(f"without {options.classes!r}")
        return str(fields[options.classes])
    if kind == "distance":
        return None
    if kind != "logprob":
        return number(fields, kind)
    if options.logprob_sum is not None:
        tokens = number(fields, str(options.tokens))
        if tokens < 1:
            raise ValueError(f"of less than one token in {options.tokens!r}")
        mean = number(fields, options.logprob_sum) / tokens
    else:
        mean = _mean(fields, str(options.logprob))
    if mean > 0:
        raise ValueError(f"with a log-prob above 0 in {options.logprob or options.logprob_sum!r}")
    return -mean


def number(fields: Mapping[str, Any], column: str) -> float:
    """Return the number in a column; True is 1.

    Raises:
        ValueError: If there is no finite one; the message completes "responses ...".
    """
    value = fields.get(column)
    if not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(f"without a number in {column!r}")
    return float(value)


def near(column: str, known: Collection[str]) -> str:
    """Return a cure for a column that no row has."""
    found = difflib.get_close_matches(column, known, n=1)
    if found and found[0] != column:
        return f"Did you mean {found[0]!r}?"
    return f"Their columns are {', '.join(sorted(known)) or 'none'}."


def _mean(fields: Mapping[str, Any], column: str) -> float:
    values = fields.get(column)
    if not isinstance(values, list):
        return number(fields, column)
    if not values:
        raise ValueError(f"with an empty list in {column!r}")
    return math.fsum(number({column: x}, column) for x in values) / len(values)


def _option(name: str) -> str:
    return "--" + name.replace("_", "-")


def _refuse_halves(options: Options) -> None:
    """Refuse options that need another one, or stand against it."""
    if options.logprob is not None and options.logprob_sum is not None:
        raise ValueError("--logprob and --logprob-sum stand for one number. Leave out one of them.")
    if (options.logprob_sum is None) != (options.tokens is None):
        raise ValueError(
            "--logprob-sum and --tokens need each other: the sum grows with the length. Add "
            "the missing one, or use --logprob with the mean or the list of the tokens' log-probs."
        )
    if options.same is not None:
        if options.encoder is None:
            raise ValueError("--same needs an encoder; got none. Add --encoder NAME.")
        if options.classes is not None:
            raise ValueError("--same and --classes both say what is the same. Leave out one.")
        if not -1 < options.same <= 1:
            raise ValueError(f"--same is a cosine, in (-1, 1]; got {options.same}. Use 0.7.")
