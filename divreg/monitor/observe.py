"""What one rollout shows: numbers for the trackers, rows for the heat map, columns for the texts.

numpy only. It runs once per rollout inside the training loop, so it stays under the monitor's 2 %
of a step: texts are normalised once, and everything after that works on small integers.
"""

import functools
import hashlib
import math
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from divreg.metrics.classes import SHORT_CHARACTERS, normalise_text, text_classes
from divreg.metrics.ngrams import distinct_n
from divreg.metrics.pass_at_k import pass_at_k
from divreg.monitor.diagnose import repeats_in_order, zero_variance
from divreg.rollouts import prompt_id


@dataclass
class Batch:
    """One rollout, all processes together: ``N`` completions in consecutive whole groups.

    Attributes:
        prompts: Text of the prompt of every completion, ``N`` of them.
        completions: Text of every completion.
        group_size: Completions of one prompt that stand next to each other.
        rewards: Array ``(N, F)``, one column a reward function; NaN where it returned None.
        reward_names: Names of the ``F`` columns.
        totals: Array ``(N,)``, the reward that is normalised; NaN where no function answered.
        advantages: Array ``(N,)``, after interventions; None where nobody computed any.
        correct: Whether each completion is right; None where that is unknown, row or run.
        classes: Equivalence class of each completion, numbered within its group; None means that
            normalised texts decide.
        answers: What was extracted from each completion, None where nothing was; the list is None
            where there is no extractor.
        truncated: Whether each completion ran into the length limit.
        lengths: Tokens of each completion.
        weights: Weight of each reward function in the total; columns of weight 0 are only logged.
    """

    prompts: list[str]
    completions: list[str]
    group_size: int
    rewards: np.ndarray = field(default_factory=lambda: np.empty((0, 0)))
    reward_names: list[str] = field(default_factory=list)
    totals: np.ndarray | None = None
    advantages: np.ndarray | None = None
    correct: list[bool | None] | None = None
    classes: list[int] | None = None
    answers: list[Any] | None = None
    truncated: list[bool] | None = None
    lengths: list[int] | None = None
    weights: list[float] | None = None


@dataclass
class Observation:
    """What :func:`observe` found.

    Attributes:
        signals: One number per name, for the trackers and the detector; evidence that is missing
            is absent.
        groups: One list per name, a value a group, for the heat map.
        columns: One list per name, a value a completion, for the parquet part.
        answers: For each group its classes, for each class the keys by which its answers are known
            again at a later step: eight hexadecimal digits of the extracted answer, or of the
            normalised text. A completion without an answer is in no class. None for a group that
            cannot be compared with others: without an extractor, one with a long text, since long
            texts that say the same are hardly ever equal.
    """

    signals: dict[str, float]
    groups: dict[str, list[Any]]
    columns: dict[str, list[Any]]
    answers: list[list[list[str]] | None] = field(default_factory=list)


def observe(batch: Batch, k: int | None = None) -> Observation:
    """Measure one rollout.

    Args:
        batch: The rollout.
        k: The k of pass@k; by default half a group, at least 2: with k equal to a group the
            unbiased estimator is one coin flip per group and too noisy to compare.

    Raises:
        ValueError: If the completions are not whole groups.
    """
    n, g = len(batch.completions), batch.group_size
    if g < 1 or n == 0 or n % g or len(batch.prompts) != n:
        raise ValueError(
            f"observe needs whole groups with a prompt each; got {n} completions, "
            f"{len(batch.prompts)} prompts and group_size={g}. Pass all completions of every group."
        )
    starts = range(0, n, g)
    texts = [normalise_text(c) for c in batch.completions]
    classes = batch.classes or [
        c for s in starts for c in text_classes(batch.completions[s : s + g])
    ]
    correct = batch.correct if _any_known(batch.correct) else None
    groups = _groups(batch, texts, classes, correct, starts)
    signals = _signals(batch, texts, classes, correct, groups, starts)
    if correct is not None:
        signals |= _accuracy(correct, groups, g, k)
    columns = _columns(batch, classes, correct, groups)
    return Observation(signals, groups, columns, _answers(batch, texts, classes, starts))


def merged(seen: list[Observation]) -> Observation:
    """Join the rollouts of one step: means of signals, all groups, all completions."""
    if len(seen) == 1:
        return seen[0]
    names = dict.fromkeys(name for o in seen for name in o.signals)
    signals = {}
    for name in names:
        values = [o.signals[name] for o in seen if name in o.signals]
        signals[name] = sum(values) / len(values)
    groups = {k: [x for o in seen for x in o.groups[k]] for k in seen[0].groups}
    columns = {k: [x for o in seen for x in o.columns[k]] for k in seen[0].columns}
    start, columns["group"] = 0, []
    for o in seen:
        columns["group"] += [start + i for i in o.columns["group"]]
        start += len(o.groups["prompt_id"])
    return Observation(signals, groups, columns, [answer for o in seen for answer in o.answers])


def _any_known(correct: list[bool | None] | None) -> bool:
    return correct is not None and any(c is not None for c in correct)


def _groups(
    batch: Batch,
    texts: list[str],
    classes: list[int],
    correct: list[bool | None] | None,
    starts: range,
) -> dict[str, list[Any]]:
    """Measure each group; ``None`` where correctness or rewards are unknown."""
    g, totals = batch.group_size, batch.totals
    rewards = _weighted_columns(batch)
    rows: dict[str, list[Any]] = {
        "prompt_id": [prompt_id(batch.prompts[s]) for s in starts],
        "size": [g] * len(starts),
        "distinct": [len(set(classes[s : s + g])) for s in starts],
    }
    right = [
        None
        if correct is None
        else [c for c, ok in zip(classes[s : s + g], correct[s : s + g], strict=True) if ok]
        for s in starts
    ]
    rows["distinct_correct"] = [None if r is None else len(set(r)) for r in right]
    rows["n_correct"] = [None if r is None else len(r) for r in right]
    if totals is None:
        rows["reward_mean"] = rows["zero_variance"] = [None] * len(starts)
        return rows
    rows["reward_mean"] = [_mean(totals[s : s + g]) for s in starts]
    rows["zero_variance"] = [
        zero_variance(
            texts[s : s + g],
            totals[s : s + g],
            rewards[s : s + g],
            correct[s : s + g] if correct else (),
            batch.truncated[s : s + g] if batch.truncated else (),
        )
        for s in starts
    ]
    return rows


def _signals(
    batch: Batch,
    texts: list[str],
    classes: list[int],
    correct: list[bool | None] | None,
    groups: dict[str, list[Any]],
    starts: range,
) -> dict[str, float]:
    """Reduce the rollout to one number per name; rewards and correctness only where known."""
    g, n = batch.group_size, len(texts)
    counts = [list(Counter(classes[s : s + g]).values()) for s in starts]
    unique = [len(set(texts[s : s + g])) for s in starts]
    signals = {
        "distinct_classes": sum(groups["distinct"]) / len(starts),
        "distinct_frac": sum(groups["distinct"]) / n,
        "answer_entropy_nats": (entropy := sum(map(_entropy_nats, counts)) / len(starts)),
        "answer_entropy_mm_nats": entropy + (sum(groups["distinct"]) - len(starts)) / (2 * n),
        "dup_frac": 1 - sum(unique) / n,
        "identical_frac": sum(u == 1 for u in unique) / len(starts) if g > 1 else 0.0,
        "cross_group_dup_frac": _seed_repeats(batch.prompts, texts, starts, g),
        "cross_prompt_dup_frac": _said_elsewhere(batch.prompts, texts),
        "distinct_ngrams": sum(distinct_n(batch.completions[s : s + g], 2) for s in starts)
        / len(starts),
    }
    if g > 1:
        signals["pair_distinct_frac"] = sum(map(_pair_distinct, counts)) / len(starts)
    if batch.lengths is not None:
        signals["mean_length_tokens"] = sum(batch.lengths) / n
    else:
        signals["mean_length_words"] = sum(len(c.split()) for c in batch.completions) / n
    if batch.truncated is not None:
        signals["truncated_frac"] = sum(batch.truncated) / n
    if batch.totals is not None and not np.isnan(batch.totals).all():
        signals["reward_mean"] = float(np.nanmean(batch.totals))
        causes = groups["zero_variance"]
        signals["zero_variance_frac"] = sum(c is not None for c in causes) / len(starts)
        signals["rewards_cancel_frac"] = causes.count("rewards_cancel") / len(starts)
    if correct is not None and g > 1:
        right = [
            Counter(c for c, ok in zip(classes[s : s + g], correct[s : s + g], strict=True) if ok)
            for s in starts
        ]
        # Independent of how many are right, unlike the count of distinct right answers.
        several = [r for r in right if r.total() > 1]
        if several:
            spread = sum((r.total() - 1) * _pair_distinct(list(r.values())) for r in several)
            signals["pair_distinct_correct_frac"] = spread / sum(r.total() - 1 for r in several)
    return signals


def _accuracy(
    correct: list[bool | None], groups: dict[str, list[Any]], g: int, k: int | None
) -> dict[str, float]:
    """Measure pass@1, pass@k and the groups that are all right or all wrong."""
    k = k or max(2, g // 2)
    known = [sum(c is not None for c in correct[s : s + g]) for s in range(0, len(correct), g)]
    right = groups["n_correct"]
    full = [(n, c) for n, c in zip(known, right, strict=True) if n]
    signals = {
        "distinct_correct": sum(groups["distinct_correct"]) / len(right),
        "pass_at_1": sum(right) / sum(known),
        "all_correct_frac": sum(n == c for n, c in full) / len(full),
        "all_wrong_frac": sum(c == 0 for _, c in full) / len(full),
    }
    enough = [(n, c) for n, c in full if n >= k]
    if enough:
        signals["pass_at_k"] = sum(_pass_at_k(n, c, k) for n, c in enough) / len(enough)
        signals["pass_k"] = float(k)
    return signals


_pass_at_k = functools.lru_cache(maxsize=4096)(pass_at_k)


def _columns(
    batch: Batch,
    classes: list[int],
    correct: list[bool | None] | None,
    groups: dict[str, list[Any]],
) -> dict[str, list[Any]]:
    n, g = len(classes), batch.group_size
    none: list[Any] = [None] * n
    columns = {
        "group": [i // g for i in range(n)],
        "prompt_id": [p for p in groups["prompt_id"] for _ in range(g)],
        "prompt": batch.prompts,
        "completion": batch.completions,
        "reward": none if batch.totals is None else batch.totals.tolist(),
        "advantage": none if batch.advantages is None else np.asarray(batch.advantages).tolist(),
        "class": classes,
        "correct": none if correct is None else correct,
    }
    for i, name in enumerate(batch.reward_names):
        columns[f"reward/{name}"] = batch.rewards[:, i].tolist()
    return columns


def _answers(
    batch: Batch, texts: list[str], classes: list[int], starts: range
) -> list[list[list[str]] | None]:
    g, found = batch.group_size, []
    names = texts if batch.answers is None else [a if a is None else repr(a) for a in batch.answers]
    for s in starts:
        if batch.answers is None and max(map(len, texts[s : s + g])) > SHORT_CHARACTERS:
            found.append(None)
            continue
        members: dict[int, set[str]] = {}
        for name, c in zip(names[s : s + g], classes[s : s + g], strict=True):
            if name is not None:
                members.setdefault(c, set()).add(name)
        found.append([[_key(name) for name in said] for said in members.values()])
    return found


def _key(name: str) -> str:
    return hashlib.blake2b(name.encode("utf-8", "surrogatepass"), digest_size=4).hexdigest()


def _weighted_columns(batch: Batch) -> np.ndarray:
    """Return the reward columns that reach the total."""
    if batch.rewards.shape[0] != len(batch.completions):
        return np.empty((len(batch.completions), 0))
    keep = [w != 0 for w in batch.weights] if batch.weights else [True] * batch.rewards.shape[1]
    answered = ~np.isnan(batch.rewards).all(axis=0)
    return batch.rewards[:, np.asarray(keep, dtype=bool) & answered]


def _seed_repeats(prompts: list[str], texts: list[str], starts: range, g: int) -> float:
    """Share of groups that repeat themselves, or an earlier group of their prompt, in order."""
    seen: set[tuple[str, tuple[str, ...]]] = set()
    repeats = 0
    for s in starts:
        group = tuple(texts[s : s + g])
        key = (prompts[s], group)
        several = len(set(group)) > 2  # groups of one or two texts agree by chance
        repeats += (several and key in seen) or repeats_in_order(group)
        seen.add(key)
    return repeats / len(starts)


def _said_elsewhere(prompts: list[str], texts: list[str]) -> float:
    """Share of completions that were also given to another prompt: one answer for everything."""
    asked: dict[str, set[str]] = {}
    for prompt, text in zip(prompts, texts, strict=True):
        asked.setdefault(text, set()).add(prompt)
    return sum(len(asked[t]) > 1 for t in texts) / len(texts)


def _entropy_nats(counts: list[int]) -> float:
    total = sum(counts)
    return -sum(c / total * math.log(c / total) for c in counts)


def _pair_distinct(counts: list[int]) -> float:
    """Probability that two different members of a group are in different classes; unbiased.

    Simpson's index of diversity, the probability of interspecific encounter: Hurlbert, 1971.
    """
    total = sum(counts)
    return 1 - sum(c * (c - 1) for c in counts) / (total * (total - 1))


def _mean(values: np.ndarray) -> float | None:
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else None
