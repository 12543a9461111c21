"""Models that compare samples: which say the same, and which entail each other.

Both are asked about many prompts at once, so that a model reads whole batches.
"""

import difflib
import inspect
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from divreg import encoders
from divreg.metrics.classes import normalise_text

Pair = tuple[str, str]
THRESHOLD = 0.5  # of the probability that two samples say the same


@dataclass(frozen=True)
class Judge:
    """What says that two samples are of one class.

    Attributes:
        pairs: A judge of pairs: how sure it is that both say the same.
        threshold: From which on they do.
    """

    pairs: Any
    threshold: float

    @property
    def facts(self) -> dict[str, Any]:
        """What judged, and how."""
        return {**self.pairs.facts, "threshold": self.threshold}

    def classes(self, groups: Sequence[Sequence[str]]) -> list[list[int]]:
        """Put every sample in the first class whose first member says the same, or in a new one.

        The classes of :func:`~divreg.metrics.noveltybench.partition_in_order`, of many prompts at
        once: what the i-th samples of all of them are asked goes to the judge together. Samples
        that are equal but for case and space say the same unasked.

        Args:
            groups: The samples of each prompt, in the order in which they were made.

        Source:
            Zhang et al., NoveltyBench, arXiv:2504.05228, partition. Its judge is
            ``yimingzhang/deberta-v3-large-generation-similarity`` from 0.102 on.
        """
        firsts: list[list[str]] = [[] for _ in groups]
        known: list[dict[str, int]] = [{} for _ in groups]
        found: list[list[int]] = [[] for _ in groups]
        for i in range(max(map(len, groups), default=0)):
            new = [
                g for g, texts in enumerate(groups)
                if i < len(texts) and normalise_text(texts[i]) not in known[g]
            ]  # fmt: skip
            asked = [(first, groups[g][i]) for g in new for first in firsts[g]]
            said = iter(self.pairs(asked) if asked else ())
            for g in new:
                chances = [float(next(said)) for _ in firsts[g]]
                alike = (c for c, chance in enumerate(chances) if chance >= self.threshold)
                class_ = next(alike, len(firsts[g]))
                if class_ == len(firsts[g]):
                    firsts[g].append(groups[g][i])
                known[g][normalise_text(groups[g][i])] = class_
            for g, texts in enumerate(groups):
                if i < len(texts):
                    found[g].append(known[g][normalise_text(texts[i])])
        return found


def judge(name: str, words: Sequence[str], threshold: float | None) -> Judge:
    """Load what ``--judge`` names.

    Args:
        name: A classifier of pairs, on the hub or in a folder.
        words: ``KEY=VALUE``, arguments of :class:`~divreg.encoders.PairClassifier`.
        threshold: From which on two samples say the same.

    Raises:
        ValueError: If it cannot be loaded, or an argument is out of range.
    """
    least = THRESHOLD if threshold is None else threshold
    if not 0 < least <= 1:
        raise ValueError(
            f"--threshold needs a probability above 0 and at most 1; got {least}. divreg calibrate "
            f"PAIRS.jsonl --classifier {name} finds one."
        )
    return Judge(_loaded("--judge-option", encoders.PairClassifier, name, words), least)


def nli(name: str, words: Sequence[str]) -> Any:
    """Load what ``--nli`` names.

    Args:
        name: An NLI model, on the hub or in a folder.
        words: ``KEY=VALUE``, arguments of :class:`~divreg.encoders.NLIClassifier`.

    Raises:
        ValueError: If it cannot be loaded, or an argument is out of range.
    """
    return _loaded("--nli-option", encoders.NLIClassifier, name, words)


def _loaded(who: str, kind: Callable[..., Any], name: str, words: Sequence[str]) -> Any:
    known = [k for k in inspect.signature(kind).parameters if k != "model"]
    return kind(name, **_arguments(who, words, known))


def _arguments(who: str, words: Sequence[str], known: Sequence[str]) -> Mapping[str, Any]:
    """Return ``KEY=VALUE`` as keyword arguments.

    >>> _arguments("--nli-option", ["max_tokens=16", "truncate=right"], ["max_tokens", "truncate"])
    {'max_tokens': 16, 'truncate': 'right'}
    """
    found: dict[str, Any] = {}
    for word in words:
        key, equals, value = word.partition("=")
        if not equals or key not in known:
            near = difflib.get_close_matches(key, known, n=1)
            cure = f"Did you mean {near[0]}=VALUE?" if near else f"Write {known[0]}=VALUE."
            raise ValueError(f"{who} needs KEY=VALUE, of {', '.join(known)}; got {word!r}. {cure}")
        try:
            found[key] = json.loads(value)
        except ValueError:
            found[key] = value
    return found
