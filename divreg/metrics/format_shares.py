"""In which formats a model answers: shares, how even they are, and how far they moved."""

import math
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

ECHO_CHAMBER = {"llm-code": "<llm-code>", "def": "def"}
REST = "text"

_EXAMPLE = "Write formats={'code': r'```', 'boxed': r'\\\\boxed'}, formats=True or a function."
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.+-]*")


def format_classifier(
    formats: Mapping[str, str] | Callable[[str], str],
) -> Callable[[str], str]:
    r"""Return a function from a text to the name of its format.

    Args:
        formats: Regular expressions by name, tried in order with ``re.search``: the first that
            matches names the format, and a text that none matches is ``"text"``. Or a function
            that returns a name.

    Raises:
        ValueError: If a name or an expression is of no use: names stand in metric keys, so they are
            letters, digits and ``_.+-``.
        TypeError: If a function returns something else than a text; when it is called.

    Source:
        Zhao et al., Echo Chamber, arXiv:2504.07912: ``ECHO_CHAMBER`` holds the markers of its
        released code, where ``def`` anywhere in a text is code.

    >>> name = format_classifier(ECHO_CHAMBER)
    >>> name("def f():\n  return 7"), name("The answer is 7.")
    ('def', 'text')
    """
    if isinstance(formats, Mapping):
        return _by_expression({str(k): _compiled(k, v) for k, v in formats.items()})
    if not callable(formats):
        raise ValueError(
            f"formats needs regular expressions by name, or a function from a text to a name; got "
            f"{formats!r}. {_EXAMPLE}"
        )

    def name(text: str) -> str:
        found = formats(text)
        if not isinstance(found, str) or not _NAME.fullmatch(found):
            raise TypeError(
                f"formats needs a function that returns a name of letters, digits and _.+-; got "
                f"{found!r}. Return 'text' for what has no name."
            )
        return found

    return name


def format_names(formats: Mapping[str, str]) -> list[str]:
    """Return every format that :func:`format_classifier` can name, in its order.

    >>> format_names(ECHO_CHAMBER)
    ['llm-code', 'def', 'text']
    """
    return list(dict.fromkeys([*formats, REST]))


def format_shares(names: Sequence[str], formats: Sequence[str] = ()) -> dict[str, float]:
    """Measure how much of the completions each format has.

    Args:
        names: The format of each completion.
        formats: Formats that are possible, seen or not; they come first, in this order.

    Returns:
        Shares that add up to 1, in [0, 1]; without completions all are 0.

    >>> format_shares(["def", "def", "text", "def"], ["llm-code", "def"])
    {'llm-code': 0.0, 'def': 0.75, 'text': 0.25}
    """
    counts = Counter(names)
    return {f: counts[f] / max(1, len(names)) for f in dict.fromkeys([*formats, *counts])}


def format_entropy_frac(shares: Mapping[str, float]) -> float:
    r"""Measure how evenly the formats are used, as a share of what their number allows.

    .. math:: H(p) / \ln F = -\frac{1}{\ln F} \sum_f p_f \ln p_f

    0 if one format has everything, 1 if all ``F`` have the same. With fewer than two formats, or
    without completions: 0.

    Args:
        shares: Share of each format, the unused ones included: they count in ``F``.

    Source:
        Formats: Zhao et al., Echo Chamber, arXiv:2504.07912. Normalised entropy: Pielou, 1966.

    >>> round(format_entropy_frac({"a": 0.7, "b": 0.2, "c": 0.1}), 6)
    0.729847
    """
    if len(shares) < 2:
        return 0.0
    return sum(p * math.log(1 / p) for p in shares.values() if p > 0) / math.log(len(shares))


def format_top_frac(shares: Mapping[str, float]) -> float:
    """Return the largest share, in [0, 1]; 0 without formats.

    >>> format_top_frac({"def": 0.75, "text": 0.25})
    0.75
    """
    return max(shares.values(), default=0.0)


def format_accuracy(names: Sequence[str], correct: Sequence[bool | None]) -> dict[str, float]:
    """Measure accuracy within each format: right completions over those known to be right or wrong.

    Args:
        names: The format of each completion.
        correct: Whether each is right; None where that is unknown.

    Returns:
        A share in [0, 1] for each format of which at least one completion is known.

    Raises:
        ValueError: If the two are not equally long.

    Source:
        Zhao et al., Echo Chamber, arXiv:2504.07912, accuracy by format.

    >>> format_accuracy(["def", "def", "text", "text"], [True, False, True, None])
    {'def': 0.5, 'text': 1.0}
    """
    if len(names) != len(correct):
        raise ValueError(
            f"format_accuracy needs one value of correct per completion; got {len(correct)} for "
            f"{len(names)}. Write None where it is unknown."
        )
    known = [(name, ok) for name, ok in zip(names, correct, strict=True) if ok is not None]
    total, right = Counter(name for name, _ in known), Counter(name for name, ok in known if ok)
    return {name: right[name] / n for name, n in total.items()}


def format_kl_nats(shares: Mapping[str, float], base: Mapping[str, float]) -> float:
    r"""Measure how far the formats moved from where they were.

    .. math:: \mathrm{KL}(p \,\|\, p_{base}) = \sum_f p_f \ln (p_f / p_{base, f})

    In nats: 0 if nothing moved; infinite if a format is used that the base never used, so take
    base shares of :func:`smoothed_shares`.

    Args:
        shares: Share of each format now.
        base: Share of each format before; a format that is absent has share 0.

    >>> round(format_kl_nats({"a": 1.0, "b": 0.0}, {"a": 0.5, "b": 0.5}), 6)
    0.693147
    """
    used = {f: p for f, p in shares.items() if p > 0}
    if any(base.get(f, 0.0) <= 0 for f in used):
        return math.inf
    return sum(p * math.log(p / base[f]) for f, p in used.items())


def smoothed_shares(counts: Mapping[str, int], formats: Sequence[str]) -> dict[str, float]:
    r"""Estimate the shares behind some counts; none is 0, so that a KL against them is finite.

    .. math:: p_f = (n_f + 1/2) / (N + F/2)

    Args:
        counts: Completions of each format.
        formats: The ``F`` formats that are possible.

    Source:
        Krichevsky and Trofimov, 1981.

    >>> smoothed_shares({"a": 3}, ["a", "b"])
    {'a': 0.875, 'b': 0.125}
    """
    n = sum(counts.get(f, 0) for f in formats) + len(formats) / 2
    return {f: (counts.get(f, 0) + 0.5) / n for f in formats}


def _by_expression(expressions: Mapping[str, re.Pattern[str]]) -> Callable[[str], str]:
    if not expressions:
        raise ValueError(f"formats needs at least one regular expression; got none. {_EXAMPLE}")

    def name(text: str) -> str:
        return next((f for f, wanted in expressions.items() if wanted.search(text)), REST)

    return name


def _compiled(name: Any, expression: Any) -> re.Pattern[str]:
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise ValueError(
            f"formats needs names of letters, digits and _.+-; got {name!r}. {_EXAMPLE}"
        )
    if not isinstance(expression, str):
        raise ValueError(
            f"formats needs a regular expression for {name!r}; got {expression!r}. {_EXAMPLE}"
        )
    try:
        return re.compile(expression)
    except re.error as error:
        raise ValueError(
            f"formats needs a regular expression for {name!r}; got {expression!r}: {error}. "
            f"Escape what is meant literally: {re.escape(expression)!r}."
        ) from error
