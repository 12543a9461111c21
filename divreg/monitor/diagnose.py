"""What a finding means: why a group cannot teach, and what an alert says.

A group whose rewards are all equal has no gradient; six different things do that, and the cure is
another one for each. An alert says why it was raised, what it is not, and what to type.
"""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

SHARE, ACCURACY = "format_share_", "format_accuracy_"  # of the signals of one format
CHANCE = 0.01  # a repeat in the same order counts as a seed bug when chance gives it more rarely


def zero_variance(
    texts: Sequence[str],
    totals: np.ndarray,
    rewards: np.ndarray,
    correct: Sequence[bool | None],
    truncated: Sequence[bool],
) -> str | None:
    """Diagnose a group whose rewards cannot teach, the cause nearest to the texts first.

    Args:
        texts: Normalised texts of the group, ``g``.
        totals: Their rewards ``(g,)``; NaN where there is none.
        rewards: Rewards by function ``(g, F)``, those of weight 0 left out.
        correct: Whether each is right; None where unknown.
        truncated: Whether each ran into the length limit; empty where unknown.

    Returns:
        None if the totals differ (or fewer than two are known), else ``identical_text``,
        ``rewards_cancel``, ``all_correct``, ``truncated``, ``all_wrong`` or ``equal_rewards``.
    """
    known = totals[~np.isnan(totals)]
    if len(known) < 2 or known.max() - known.min() > 1e-6 * (1 + abs(known.max())):
        return None
    if len(set(texts)) == 1:
        return "identical_text"
    if rewards.shape[1] > 1 and any(map(_varies, rewards.T)):
        return "rewards_cancel"
    if correct and all(c is True for c in correct):
        return "all_correct"
    if truncated and all(truncated):
        return "truncated"
    if correct and all(c is False for c in correct):
        return "all_wrong"
    return "equal_rewards"


def _varies(rewards: np.ndarray) -> bool:
    known = rewards[~np.isnan(rewards)]
    return len(known) > 1 and bool(known.max() - known.min() > 1e-6)


def repeats_in_order(texts: Sequence[str]) -> bool:
    """Whether parts of a group repeat each other in the same order: processes that share a seed.

    A period ``p`` that divides the group counts only if chance would rarely produce it: among the
    orderings of the same texts, fewer than 1 in 100 have it. A group of equal texts never counts.

    >>> repeats_in_order(["a", "b", "c", "d", "a", "b", "c", "d"])
    True
    >>> repeats_in_order(["a", "a", "a", "a"]), repeats_in_order(["a", "b", "a", "b"])
    (False, False)
    """
    g = len(texts)
    for p in range(g // 2, 1, -1):
        if g % p or texts[0] != texts[p] or any(texts[i] != texts[i % p] for i in range(p, g)):
            continue
        counts = Counter(texts).values()
        log_chance = _log_orderings(c * p // g for c in counts) - _log_orderings(counts)
        if log_chance < math.log(CHANCE):
            return True
    return False


def _log_orderings(counts: Any) -> float:
    """Logarithm of the number of different orderings of a multiset with these counts."""
    counts = list(counts)
    return math.lgamma(sum(counts) + 1) - sum(math.lgamma(c + 1) for c in counts)


def missing(known: Mapping[str, Any]) -> list[str]:
    """Name, in words, the kinds of evidence of which nothing was seen.

    Args:
        known: Names of the signals that were seen.
    """
    kinds = {
        "token entropy": ("entropy",),
        "pass@1 and pass@k (correctness is not configured)": ("pass_at_1",),
        "rewards": ("reward_mean",),
    }
    return [words for words, names in kinds.items() if not set(names) & set(known)]


def top_format(series: Mapping[str, Any]) -> str | None:
    """Return the signal of the format that has most completions now; None without formats."""
    shares = [name for name in series if name.startswith(SHARE)]
    return max(shares, key=lambda name: series[name].now, default=None)


def explain(
    kind: str,
    found: Mapping[str, float],
    series: Mapping[str, Any],
    advice: str = "grpo",
    checkpoint: str | None = None,
) -> dict[str, str]:
    """Write an alert: ``message``, ``why``, ``not_what`` and ``try_what``, a line each.

    Args:
        kind: ``narrowing``, ``collapsed``, ``exploding``, ``saturated``, ``stalled``, ``seed_bug``
            or ``one_format``.
        found: The detector's evidence.
        series: For each signal an object with its baseline ``mean`` and its present value ``now``.
        advice: Whose settings to name: ``grpo``, ``rloo``, ``sft`` or ``dpo``; ``diverse_grpo`` or
            ``diverse_rloo`` where a method acts already.
        checkpoint: The last healthy checkpoint, if there is one.
    """
    story = _Story(found, series)
    message, why = getattr(story, kind)()
    gaps = missing(series)
    if gaps:
        why = "; ".join(filter(None, (why, f"not known: {', '.join(gaps)}")))
    return {
        "message": message,
        "why": why,
        "not_what": ", ".join(story.exclusions(kind)),
        "try_what": _try(kind, found, advice, checkpoint),
    }


class _Story:
    """The numbers of an alert, in words."""

    def __init__(self, found: Mapping[str, float], series: Mapping[str, Any]):
        self.found, self.series = found, series

    def moved(self, name: str, words: str, unit: str = "") -> str:
        """``words 0.94 -> 0.58 nats (-38%)``; empty for what is not known."""
        s = self.series.get(name)
        if s is None:
            return ""
        share = f" ({s.now / s.mean - 1:+.0%})" if abs(s.mean) > 1e-9 else ""
        return f"{words} {s.mean:.3g} -> {s.now:.3g}{unit}{share}"

    def level(self, name: str) -> float:
        return self.found.get(name, 0.0)

    def variety(self) -> str:
        """Say the loss of classes, of right answers where those are known."""
        if "correct_classes_change" in self.found:
            words = "two right answers to one prompt differ with probability"
            return self.moved("pair_distinct_correct_frac", words)
        return self.moved("distinct_frac", "distinct completions per completion")

    def support(self) -> str:
        parts = [
            self.moved("entropy", "token entropy", " nats"),
            self.moved("pass_at_1", "pass@1"),
            self.moved("pass_at_k", "pass@k"),
        ]
        if (worth := self.found.get("worth_change")) is not None:
            parts.append(f"k samples are worth {-worth:.0%} fewer independent ones")
        return ", ".join(p for p in parts if p)

    def repeats(self) -> str:
        return self.joined(
            self.moved("dup_frac", "completions that repeat another of their group"),
            self.moved("distinct_ngrams", "distinct bigrams per bigram"),
        )

    def narrowing(self) -> tuple[str, str]:
        return f"diversity is narrowing: {self.variety()}", self.support() or self.repeats()

    def collapsed(self) -> tuple[str, str]:
        if self.level("identical_frac") >= 0.3:
            said = f"{self.level('identical_frac'):.0%} of groups say one and the same text"
            return f"diversity has collapsed: {said}", self.joined(self.variety(), self.support())
        return f"diversity has collapsed: {self.variety()}", self.support() or self.repeats()

    def exploding(self) -> tuple[str, str]:
        parts = (
            self.moved("pass_at_1", "pass@1"),
            self.moved("reward_mean", "reward"),
            self.moved("completions/mean_length", "length", " tokens"),
            f"{self.level('truncated_frac'):.0%} truncated",
        )
        entropy = self.moved("entropy", "token entropy", " nats")
        return f"entropy is exploding: {entropy}", self.joined(*parts)

    def saturated(self) -> tuple[str, str]:
        share = f"{self.level('all_correct_frac'):.0%} of groups are all correct"
        if "correct_classes_change" not in self.found:
            tail = "whether right answers still narrow cannot be told"
        elif self.right_answers_narrow():
            tail = "and right answers are still narrowing"
        else:
            tail = "right answers stay as varied as they were"
        distinct = self.moved("distinct_frac", "distinct completions per completion")
        why = self.joined(self.variety(), distinct, self.support())
        return f"the task is saturated: {share}; {tail}", why

    def right_answers_narrow(self) -> bool:
        """Whether variety falls although nearly all completions are right.

        Among many classes the chance that two answers differ hardly moves at first; the count of
        classes does, and here nearly all of them are right.
        """
        fewer = self.level("all_classes_change") <= -0.05 and self.level("entropy_change") <= -0.1
        return fewer or self.level("correct_classes_change") <= -0.2

    def stalled(self) -> tuple[str, str]:
        share = f"{self.level('zero_variance_frac'):.0%} of groups have rewards without variance"
        return f"nothing is being learned: {share}", self.stall_cause()

    def stall_cause(self) -> str:
        causes = {
            f"rewards cancel in {self.level('rewards_cancel_frac'):.0%} of groups": self.level(
                "rewards_cancel_frac"
            ),
            f"{self.level('truncated_frac'):.0%} of completions are truncated": self.level(
                "truncated_frac"
            ),
            f"{self.level('all_wrong_frac'):.0%} of groups are all wrong": self.level(
                "all_wrong_frac"
            ),
        }
        words, share = max(causes.items(), key=lambda item: item[1])
        return words if share >= 0.3 else "the reward function gives every completion the same"

    def seed_bug(self) -> tuple[str, str]:
        share = f"{self.level('cross_group_dup_frac'):.0%} of groups"
        return (
            f"samples repeat: in {share} one part is the other part again, in the same order",
            "processes or generation calls sample from one random seed; half the rollout is lost",
        )

    def one_format(self) -> tuple[str, str]:
        top = top_format(self.series) or ""
        s, name = self.series[top], top.removeprefix(SHARE)
        says = f"one format takes over: {name} {s.mean:.0%} -> {s.now:.0%}"
        rates = {
            key.removeprefix(ACCURACY): one.mean
            for key, one in self.series.items()
            if key.startswith(ACCURACY)
        }
        rates = dict(sorted(rates.items(), key=lambda item: item[0] != name))
        right = ", ".join(f"{rate:.0%} of {f}" for f, rate in rates.items())
        return says, self.joined(
            f"at the baseline {right} was right" if right else "",
            self.moved("format_entropy_frac", "evenness of formats"),
            self.moved("pass_at_1", "pass@1"),
        )

    def exclusions(self, kind: str) -> list[str]:
        """Say what the alert is not, as far as it was measured."""
        tests = {
            "saturated": ("all_correct_frac", "saturation ({:.0%} of groups all correct)", 0.5),
            "truncated": ("truncated_frac", "truncation ({:.0%} of completions)", 0.2),
            "seed_bug": ("cross_group_dup_frac", "a seed bug ({:.0%} of groups repeat)", 0.1),
            "collapsed": ("identical_frac", "collapse ({:.0%} of groups one text)", 0.2),
        }
        skip = {"narrowing": "collapsed", "collapsed": "collapsed"}.get(kind, kind)
        return [
            words.format(self.found[name])
            for key, (name, words, limit) in tests.items()
            if key != skip and name in self.found and self.found[name] < limit
        ]

    @staticmethod
    def joined(*parts: str) -> str:
        return ", ".join(p for p in parts if p)


def _try(kind: str, found: Mapping[str, float], advice: str, checkpoint: str | None) -> str:
    """Name settings that can be typed, of the trainer that is running."""
    back = f"go back to {checkpoint}" if checkpoint else "start again"
    if kind == "seed_bug":
        return "one seed per process: set_seed(seed, device_specific=True); with vLLM seed=None"
    if kind == "stalled":
        return _try_stalled(found)
    return _TRY[advice][kind].format(back=back)


def _try_stalled(found: Mapping[str, float]) -> str:
    if found.get("rewards_cancel_frac", 0.0) >= 0.3:
        return 'multi_objective_aggregation="normalize_then_sum" | change reward_weights'
    if found.get("truncated_frac", 0.0) >= 0.5:
        return "max_completion_length twice as long"
    return "easier prompts | num_generations twice as large | a few SFT steps on solutions first"


_WANTED = "nothing, if it is the format that you want"
_STRONGER = (
    "a stronger method (`divreg methods`) | the signals answer and partition: by_answer, which "
    "know what says the same"
)
_RL = {
    "saturated": "harder prompts | drop prompts that are always solved | stop here",
}
_GRPO = {
    **_RL,
    "one_format": f"{_WANTED} | prompts that ask for the others | beta=0.01, a KL that keeps "
    "formats of the reference",
    "narrowing": "DiverseGRPOTrainer (same arguments) | entropy_coef=0.03 | "
    "learning_rate halved | off-policy: epsilon_high=0.28",
    "collapsed": "{back} with DiverseGRPOTrainer (same arguments) | learning_rate halved",
    "exploding": "{back} | entropy_coef=0.0 or a tenth | learning_rate halved | beta=0.01",
}
_RLOO = {
    **_RL,
    "one_format": f"{_WANTED} | prompts that ask for the others | beta=0.1, a KL that keeps "
    "formats of the reference",
    "narrowing": "DiverseRLOOTrainer (same arguments) | beta=0.1 | learning_rate halved | "
    "off-policy: epsilon_high=0.28",
    "collapsed": "{back} with DiverseRLOOTrainer (same arguments) | learning_rate halved",
    "exploding": "{back} | learning_rate halved | beta=0.1",
}
_TRY: dict[str, dict[str, str]] = {
    "grpo": _GRPO,
    "rloo": _RLOO,
    "diverse_grpo": {
        **_GRPO,
        "narrowing": f"{_STRONGER} | entropy_coef=0.03 | learning_rate halved",
        "collapsed": f"{{back}} with {_STRONGER} | learning_rate halved",
    },
    "diverse_rloo": {
        **_RLOO,
        "narrowing": f"{_STRONGER} | beta=0.1 | learning_rate halved",
        "collapsed": f"{{back}} with {_STRONGER} | learning_rate halved",
    },
    "sft": {
        "one_format": f"{_WANTED} | the other formats in the data",
        "narrowing": "fewer epochs (num_train_epochs=1) | learning_rate halved | more answers per "
        "prompt in the data",
        "collapsed": "{back} | num_train_epochs=1 | learning_rate halved",
        "exploding": "{back} | learning_rate halved | warmup_steps=100 | max_grad_norm=0.5",
        "saturated": "stop here",
    },
    "dpo": {
        "one_format": f"{_WANTED} | pairs whose chosen answers have the other formats | beta=0.2",
        "narrowing": 'beta=0.2 or higher | loss_type=["sigmoid", "sft"] | '
        'f_divergence_type="js_divergence" | learning_rate halved',
        "collapsed": '{back} | beta=0.5 | loss_type=["sigmoid", "sft"] | learning_rate halved',
        "exploding": "{back} | beta=0.5 | learning_rate halved",
        "saturated": "stop here",
    },
}
