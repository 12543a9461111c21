"""``divreg calibrate``: the threshold from which two texts are the same, from labelled pairs.

Whatever says how alike two texts are (the cosine of an encoder, a classifier of pairs, an NLI
model) needs a threshold of its own for every kind of text. This picks the one of the best F1, says
how sure that is, and what comparing for equal text would have given without any model.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from divreg.metrics.classes import normalise_text

_KINDS = ("encoder", "endpoint", "classifier", "nli")


@dataclass(frozen=True)
class Point:
    """What a threshold does: F1, precision and recall of "the same", each in [0, 1]."""

    threshold: float
    f1: float
    precision: float
    recall: float


@dataclass(frozen=True)
class Calibration:
    """The threshold of the best F1, and how sure it is.

    Attributes:
        best: The threshold and what it does on all pairs.
        threshold_interval: Middle 95 % of the thresholds picked on resampled pairs.
        f1_interval: Middle 95 % of F1 at ``best.threshold`` on resampled pairs.
        f1_held_out: Mean F1 on the pairs left out of a resample, at the threshold picked on it:
            what to expect of other pairs of this kind. None if no left-out part could be judged.
    """

    best: Point
    threshold_interval: tuple[float, float]
    f1_interval: tuple[float, float]
    f1_held_out: float | None


def measured(scores: np.ndarray, same: np.ndarray, threshold: float) -> Point:
    """Measure one threshold; what is undefined (nothing called the same) is 0.

    Args:
        scores: How alike each of ``n`` pairs is ``(n,)``, any unit.
        same: Whether it is the same ``(n,)``.
        threshold: From here on a pair is called the same.

    >>> measured(np.array([0.9, 0.8, 0.3]), np.array([True, False, True]), 0.5)
    Point(threshold=0.5, f1=0.5, precision=0.5, recall=0.5)
    """
    called = scores >= threshold
    right = int((called & same).sum())
    precision = right / max(1, int(called.sum()))
    recall = right / max(1, int(same.sum()))
    f1 = 2 * right / max(1, int(called.sum()) + int(same.sum()))
    return Point(float(threshold), f1, precision, recall)


def best_threshold(scores: np.ndarray, same: np.ndarray) -> Point:
    """Find the threshold of the best F1; of equally good ones the highest, which joins the fewest.

    It lies halfway between the lowest score that is called the same and the next lower one.

    Args:
        scores: How alike each of ``n`` pairs is ``(n,)``, any unit.
        same: Whether it is the same ``(n,)``; at least one is.

    >>> best_threshold(np.array([0.9, 0.8, 0.4, 0.2]), np.array([True, True, False, False]))
    Point(threshold=0.6000000000000001, f1=1.0, precision=1.0, recall=1.0)
    """
    order = np.argsort(-scores, kind="stable")
    ranked = scores[order]
    right = np.cumsum(same[order])
    ends = np.flatnonzero(np.append(ranked[1:] != ranked[:-1], True))  # equal scores go together
    f1 = 2 * right[ends] / (ends + 1 + right[-1])
    end = int(ends[int(f1.argmax())])
    lower = ranked[end + 1] if end + 1 < len(ranked) else ranked[end]
    threshold = (ranked[end] + lower) / 2
    return measured(scores, same, threshold if threshold > lower else ranked[end])


def calibrated(
    scores: np.ndarray, same: np.ndarray, resamples: int = 1000, seed: int = 0
) -> Calibration:
    """Pick the threshold of the best F1 and bootstrap it over pairs.

    Pairs that share a text are not independent of each other; the intervals treat them as if.

    Args:
        scores: How alike each of ``n`` pairs is ``(n,)``, any unit, finite.
        same: Whether it is the same ``(n,)``.
        resamples: Times to draw ``n`` pairs with replacement.
        seed: Of a generator of its own.

    Raises:
        ValueError: If all pairs are the same or none is, or a score is no finite number.
    """
    scores, same = np.asarray(scores, dtype=np.float64), np.asarray(same, dtype=bool)
    if not np.isfinite(scores).all():
        raise ValueError(
            f"calibration needs finite scores; got {int((~np.isfinite(scores)).sum())} others. "
            f"Look at what the model says of an empty text."
        )
    if same.all() or not same.any():
        raise ValueError(
            f"calibration needs pairs that are the same and pairs that are not; got {len(same)} "
            f"pairs of which {int(same.sum())} are the same. Label some of the other kind."
        )
    if resamples < 1:
        raise ValueError(f"calibration needs at least 1 resample; got {resamples}. Use 1000.")
    best = best_threshold(scores, same)
    generator = np.random.default_rng(seed)
    thresholds, f1, held_out = [], [], []
    for _ in range(resamples):
        rows = generator.integers(len(same), size=len(same))
        if not same[rows].any():
            continue
        picked = best_threshold(scores[rows], same[rows]).threshold
        thresholds.append(picked)
        f1.append(measured(scores[rows], same[rows], best.threshold).f1)
        left = np.setdiff1d(np.arange(len(same)), rows)
        if same[left].any():
            held_out.append(measured(scores[left], same[left], picked).f1)
    return Calibration(
        best,
        _middle(thresholds or [best.threshold]),
        _middle(f1 or [best.f1]),
        float(np.mean(held_out)) if held_out else None,
    )


def equal_text(pairs: Sequence[tuple[str, str]], same: np.ndarray) -> Point:
    """Measure what equality of the text says, letter case and white space aside.

    >>> equal_text([("A b", "a  b"), ("a", "b")], np.array([True, True])).recall
    0.5
    """
    equal = [float(normalise_text(a) == normalise_text(b)) for a, b in pairs]
    return measured(np.array(equal), np.asarray(same, dtype=bool), 1.0)


def read_pairs(path: str | Path) -> tuple[list[tuple[str, str]], np.ndarray]:
    """Read labelled pairs, one JSON object a line: ``{"a": text, "b": text, "same": true}``.

    Returns:
        ``n`` pairs of texts, and whether each is the same ``(n,)``.

    Raises:
        ValueError: If the file cannot be read, or a line is something else; it says which.
    """
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not a text file"
        raise ValueError(
            f"the pairs {path} cannot be read: {reason}. Give a file of JSON lines."
        ) from error
    pairs, same = [], []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
            a, b, label = row["a"], row["b"], row["same"]
        except (ValueError, KeyError, TypeError):
            a = b = label = None
        if not (isinstance(a, str) and isinstance(b, str) and label in (True, False)):
            raise ValueError(
                f"line {number} of {path} needs a pair of texts and whether they are the same; got "
                f'{line[:60]!r}. Write {{"a": "seven", "b": "7", "same": true}}.'
            )
        pairs.append((a, b))
        same.append(bool(label))
    return pairs, np.array(same, dtype=bool)


def cosines(encoder: Any, pairs: Sequence[tuple[str, str]]) -> np.ndarray:
    """Cosine similarity of the two texts of each of ``n`` pairs ``(n,)``; 0 with a zero vector."""
    vectors = np.asarray(encoder([t for pair in pairs for t in pair]), dtype=np.float64)
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    unit = vectors / np.where(norms == 0, 1, norms)
    return (unit[0::2] * unit[1::2]).sum(axis=1)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Give a parser the arguments of ``divreg calibrate``."""
    parser.add_argument("pairs", metavar="PAIRS.jsonl", help='rows {"a": .., "b": .., "same": ..}')
    scorer = parser.add_mutually_exclusive_group(required=True)
    scorer.add_argument("--encoder", metavar="NAME", help="sentence-transformers model or folder")
    scorer.add_argument("--endpoint", metavar="URL", help="server of embeddings; add model=NAME")
    scorer.add_argument("--classifier", metavar="NAME", help="classifier of pairs or cross-encoder")
    scorer.add_argument("--nli", metavar="NAME", help="NLI model: entailment both ways")
    parser.add_argument(
        "--option",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="what a recipe says beside it, such as truncate=right; repeatable",
    )
    parser.add_argument(
        "--answer", metavar="MODULE.NAME", help="a function text -> answer, for embed=answer"
    )
    parser.add_argument("--resamples", type=int, default=1000, help="bootstrap resamples (1000)")
    parser.add_argument("--json", action="store_true", help="print JSON, not text")


def main(chosen: argparse.Namespace) -> int:
    """Run ``divreg calibrate`` and return its exit code: 0, or 2 for an endpoint out of reach."""
    pairs, same = read_pairs(chosen.pairs)
    if same.all() or not same.any():
        calibrated(np.zeros(len(same)), same)  # refuses, before a model is loaded
    kind = next(k for k in _KINDS if getattr(chosen, k))
    recipe = {kind: getattr(chosen, kind), **_options(chosen.option)}
    if (chosen.answer is not None) != (recipe.get("embed") == "answer"):
        raise ValueError(
            f"--answer needs --option embed=answer, and the other way round; got --answer "
            f"{chosen.answer}. Write --option embed=answer --answer my_module.extract."
        )
    try:
        scores, facts = _scored(kind, recipe, chosen.answer, pairs)
    except ConnectionError as error:
        sys.stderr.write(f"divreg: {error}\n")
        return 2
    found, baseline = calibrated(scores, same, chosen.resamples), equal_text(pairs, same)
    result = {
        "pairs": len(pairs),
        "same": int(same.sum()),
        "scored_by": facts,
        **asdict(found.best),
        "threshold_interval": list(found.threshold_interval),
        "f1_interval": list(found.f1_interval),
        "f1_held_out": found.f1_held_out,
        "resamples": chosen.resamples,
        "equal_text": {k: v for k, v in asdict(baseline).items() if k != "threshold"},
        "signals": _as_recipe(kind, recipe, chosen.answer, found.best.threshold),
    }
    sys.stdout.write((json.dumps(result, indent=1) if chosen.json else _page(result)) + "\n")
    return 0


def _scored(
    kind: str, recipe: dict[str, Any], answer: str | None, pairs: list[tuple[str, str]]
) -> tuple[np.ndarray, dict[str, Any]]:
    """Load the model that ``recipe`` describes, and ask it about every pair."""
    from divreg import semantics, spec

    if kind in semantics.ENCODERS:
        encoder = semantics.encoder(recipe, spec.named(answer, "answer") if answer else None)
        return cosines(encoder, pairs), encoder.facts
    judge = semantics.judged(recipe, ())["judge"]
    return np.asarray(judge(pairs)), judge.facts


def _options(words: Sequence[str]) -> dict[str, Any]:
    """Read ``KEY=VALUE`` words; values are YAML, as in a recipe."""
    import yaml

    found = {}
    for word in words:
        key, equals, value = word.partition("=")
        if not (key and equals):
            raise ValueError(
                f"--option needs KEY=VALUE; got {word!r}. Write --option truncate=right."
            )
        try:
            found[key] = yaml.safe_load(value)
        except yaml.YAMLError as error:
            raise ValueError(
                f"--option needs a value that YAML reads; got {word!r}. Quote it: {key}='\"...\"'."
            ) from error
    return found


def _as_recipe(
    kind: str, recipe: dict[str, Any], answer: str | None, threshold: float
) -> dict[str, Any]:
    """Return the ``signals:`` of a recipe that use what was calibrated."""
    cut = float(f"{threshold:.6g}")
    if kind in ("encoder", "endpoint"):
        asked = {} if answer is None else {"answer": answer}
        return {**asked, "embedding": recipe, "partition": {"by_embedding": {"threshold": cut}}}
    return {"partition": {"by_pairs": {**recipe, "threshold": cut}}}


def _page(result: dict[str, Any]) -> str:
    import yaml

    low, high = result["threshold_interval"]
    worst, most = result["f1_interval"]
    held_out = result["f1_held_out"]
    others = "not known" if held_out is None else f"{held_out:.3f}"
    rows = [
        f"{result['pairs']} pairs, {result['same']} of them the same",
        f"threshold  {result['threshold']:.4f}   (95 % of {result['resamples']} resamples: "
        f"{low:.4f} to {high:.4f})",
        f"F1         {result['f1']:.3f}    ({worst:.3f} to {most:.3f}; "
        f"on pairs left out: {others})",
        f"precision  {result['precision']:.3f}",
        f"recall     {result['recall']:.3f}",
        "equal text F1 {f1:.3f}, precision {precision:.3f}, recall {recall:.3f}".format(
            **result["equal_text"]
        ),
    ]
    if result["f1"] <= result["equal_text"]["f1"]:
        rows.append("Comparing texts for equality does as well here: use partition: by_text.")
    block = yaml.safe_dump({"signals": result["signals"]}, sort_keys=False)
    return "\n".join([*rows, "", "in a recipe's divreg: block:", block.rstrip()])


def _middle(values: list[float]) -> tuple[float, float]:
    """Middle 95 % of some numbers."""
    low, high = np.quantile(values, [0.025, 0.975])
    return float(low), float(high)
