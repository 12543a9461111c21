"""Every reported number: what it is called, how it is defined, and its baseline and present value.

Baseline and now are the first and the last fifth of the recorded steps, at most 10 of each.
"""

import math
from dataclasses import dataclass
from typing import Any

from divreg.history import History, entropy_of

WINDOW = 10  # steps at most in the baseline, and in now; the detector's baseline
FEWEST = 5  # recorded steps below which no verdict is possible


@dataclass(frozen=True)
class Quantity:
    """A reported number: its key in the records, its name, unit, formula and source."""

    key: str
    name: str
    unit: str
    formula: str
    source: str = "divreg"


QUANTITIES = {
    q.key: q
    for q in (
        Quantity(
            "distinct_classes",
            "Distinct answers per group",
            "classes",
            "number of equivalence classes among the completions of one prompt, mean over groups",
        ),
        Quantity(
            "distinct_correct",
            "Distinct right answers per group",
            "classes",
            "number of equivalence classes with a correct completion, mean over groups",
        ),
        Quantity(
            "pair_distinct_correct_frac",
            "Two right answers differ",
            "probability",
            "1 − Σ n(n−1) / N(N−1) over the classes (n) of a group's N correct completions, mean "
            "over groups with N ≥ 2; does not depend on how many are correct",
            "Simpson, 1949 (unbiased form)",
        ),
        Quantity(
            "pass_at_1",
            "pass@1",
            "share",
            "correct completions / all completions",
        ),
        Quantity(
            "pass_at_k",
            "pass@k",
            "share",
            "1 − C(n−c, k) / C(n, k) for c correct of n completions, mean over prompts",
            "Chen et al., arXiv:2107.03374, Eq. 1",
        ),
        Quantity(
            "entropy",
            "Token entropy",
            "nats",
            "Shannon entropy of the next-token distribution at the sampling temperature, mean over "
            "completion tokens, as the trainer logged it",
            "TRL",
        ),
        Quantity(
            "answer_entropy_nats",
            "Answer entropy",
            "nats",
            "−Σ p ln p over the class shares p of a group, mean over groups",
        ),
        Quantity(
            "answer_entropy_mm_nats",
            "Answer entropy, corrected",
            "nats",
            "answer entropy + (S − 1) / 2g for S classes among g completions, mean over groups: to "
            "compare groups of different sizes",
            "Miller, 1955",
        ),
        Quantity(
            "anchor_entropy_nats",
            "Entropy of annotations",
            "nats",
            "−Σ p ln p over the annotations z that a model may begin its response with, p(z|x), "
            "mean over prompts",
        ),
        Quantity(
            "anchor_kl_nats",
            "KL of annotations to the start",
            "nats",
            "Σ p ln (p / p₀) of p(z|x) now and when training began, mean over prompts",
            "Kullback and Leibler, 1951",
        ),
        Quantity(
            "anchor_js_nats",
            "JS divergence of annotations to the start",
            "nats",
            "H((p + p₀)/2) − (H(p) + H(p₀))/2 of sampled annotations, now and when training began, "
            "entropies corrected, mean over prompts",
            "Lin, 1991; Miller, 1955",
        ),
        Quantity(
            "anchor_mass_frac",
            "Responses that are annotated",
            "probability",
            "probability that a response begins with one of the annotations there are, mean over "
            "prompts",
        ),
        Quantity(
            "explored_answers",
            "Answers explored per prompt",
            "classes",
            "different equivalence classes of a prompt's completions since the run began, mean "
            "over the prompts seen so far",
            "counts of Song et al., arXiv:2509.06941",
        ),
        Quantity(
            "new_answers",
            "New answers per prompt",
            "classes",
            "equivalence classes of which no completion was given to the prompt before in this "
            "run, mean over the prompts of the step",
        ),
        Quantity(
            "new_answers_frac",
            "Prompts with a new answer",
            "share",
            "prompts of the step with an answer that they were never given before in this run",
        ),
        Quantity(
            "pair_distinct_frac",
            "Two answers differ",
            "probability",
            "1 − Σ n(n−1) / N(N−1) over the classes of a group of N, mean over groups",
            "Simpson, 1949 (unbiased form)",
        ),
        Quantity(
            "distinct_frac",
            "Distinct answers per completion",
            "share",
            "equivalence classes / completions, over all groups",
        ),
        Quantity(
            "distinct_ngrams",
            "Distinct n-grams",
            "share",
            "different n-grams / all n-grams of the completions of a group, mean of n = 2 and 3",
            "Li et al., arXiv:1510.03055",
        ),
        Quantity(
            "dup_frac",
            "Duplicate texts",
            "share",
            "completions whose normalised text occurred before in their group",
        ),
        Quantity(
            "identical_frac", "Groups of one text", "share", "groups whose texts are all equal"
        ),
        Quantity(
            "cross_prompt_dup_frac",
            "Same text to other prompts",
            "share",
            "completions that were also given to a different prompt in the same step",
        ),
        Quantity(
            "cross_group_dup_frac",
            "Repeats in order (seed bug)",
            "share",
            "groups that repeat themselves, or an earlier group of their prompt, in the same order",
        ),
        Quantity(
            "zero_variance_frac",
            "Groups that cannot teach",
            "share",
            "groups in which all rewards are equal, so that every advantage is 0",
        ),
        Quantity("all_correct_frac", "Groups all correct", "share", "groups without an error"),
        Quantity("all_wrong_frac", "Groups all wrong", "share", "groups without a right answer"),
        Quantity(
            "rewards_cancel_frac",
            "Groups whose rewards cancel",
            "share",
            "groups in which the reward functions differ and their sum does not",
        ),
        Quantity("reward_mean", "Reward", "", "mean over completions of the summed reward"),
        Quantity("mean_length_tokens", "Length", "tokens", "mean completion length"),
        Quantity("mean_length_words", "Length", "words", "mean completion length"),
        Quantity(
            "truncated_frac", "Truncated", "share", "completions that ran into the length limit"
        ),
        Quantity("kl", "KL to the reference", "nats", "as the trainer logged it", "TRL"),
        Quantity(
            "format_entropy_frac",
            "Evenness of formats",
            "share",
            "−Σ p ln p / ln F over the shares p of F formats: 1 if all are used alike, 0 if one is",
            "Zhao et al., arXiv:2504.07912 (formats)",
        ),
        Quantity("format_top_frac", "Top format", "share", "largest share of a format"),
        Quantity(
            "format_kl_nats",
            "Drift of formats",
            "nats",
            "Σ p ln (p / q) over formats, q their shares in the run's first steps: (n + ½) / "
            "(N + F/2) for n of N completions",
        ),
    )
}

# One number for each format; the key ends in its name.
FAMILIES = {
    q.key.removesuffix("*"): q
    for q in (
        Quantity(
            "format_share_*",
            "Format",
            "share",
            "completions in this format / all completions",
            "Zhao et al., arXiv:2504.07912",
        ),
        Quantity(
            "format_accuracy_*",
            "Right in format",
            "share",
            "correct completions in this format / completions in it",
            "Zhao et al., arXiv:2504.07912",
        ),
        Quantity(
            "top_entropy_bits_*",
            "Entropy of the likeliest tokens,",
            "bits",
            "−Σ p log₂ p over the k likeliest next tokens, their p scaled to add up to 1, mean "
            "over tokens of probe samples, or of the chosen or rejected answers trained on",
            "Shi et al., arXiv:2410.11677",
        ),
        Quantity(
            "top_mass_frac_*",
            "Mass of the likeliest tokens,",
            "share",
            "Σ p over the k likeliest next tokens, mean over the same tokens",
            "Shi et al., arXiv:2410.11677",
        ),
    )
}

_FROM_LOGS: dict[str, str] = {
    "completions/mean_length": "mean_length_tokens",
    "completions/clipped_ratio": "truncated_frac",
    "reward": "reward_mean",
    "kl": "kl",
}
# Numbers of the answers that pairs are trained on, also where the run is judged by its probes.
_OF_ANSWERS = [
    f"{name}_{side}"
    for name in ("top_entropy_bits", "top_mass_frac")
    for side in ("chosen", "rejected")
]


@dataclass
class Series:
    """One number over the steps at which it is known."""

    steps: list[int]
    values: list[float]

    def between(self, first: int, last: int) -> list[float]:
        """Return the values at steps from ``first`` to ``last``, both included."""
        pairs = zip(self.steps, self.values, strict=True)
        return [v for s, v in pairs if first <= s <= last]


def series_of(history: History, mode: str | None = None) -> dict[str, Series]:
    """Every number of a run over its steps; signals win over what the trainer logged."""
    mode = mode or history.mode
    found: dict[str, dict[int, float]] = {}
    for row in history.logs:
        logs = row.get("logs") or {}
        if row.get("mode", "train") == mode:
            for name, key in _FROM_LOGS.items():
                _note(found, key, row["step"], logs.get(name))
        for key in _OF_ANSWERS if row.get("mode", "train") == "train" else ():
            _note(found, key, row["step"], logs.get(f"diversity/{key}"))
    for row in history.steps:
        if row.get("mode", "train") == mode:
            for key, value in (row.get("signals") or {}).items():
                _note(found, _FROM_LOGS.get(str(key), str(key)), row["step"], value)
    if mode == history.mode:
        found["entropy"] = entropy_of(history)
    found.pop("pass_k", None)
    order = [k for k in QUANTITIES if found.get(k)] + sorted(found.keys() - QUANTITIES.keys())
    return {key: Series(*_sorted(found[key])) for key in order if found[key]}


def _note(found: dict[str, dict[int, float]], key: str, step: int, value: Any) -> None:
    if isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value):
        found.setdefault(key, {})[step] = float(value)


def _sorted(values: dict[int, float]) -> tuple[list[int], list[float]]:
    steps = sorted(values)
    return steps, [values[s] for s in steps]


@dataclass(frozen=True)
class Windows:
    """First and last step of the baseline and of now."""

    baseline: tuple[int, int]
    now: tuple[int, int]
    count: int  # recorded steps in each


def windows_of(history: History) -> Windows | None:
    """The two stretches that are compared; None where there are too few steps."""
    steps = sorted(row["step"] for row in history.judged)
    if not steps:
        steps = sorted({row["step"] for row in history.logs})
    if len(steps) < FEWEST:
        return None
    count = min(WINDOW, max(1, len(steps) // 5))
    return Windows((steps[0], steps[count - 1]), (steps[-count], steps[-1]), count)


@dataclass(frozen=True)
class Change:
    """A number at the baseline and now, each with its standard error over steps."""

    key: str
    name: str
    unit: str
    baseline: float
    baseline_se: float | None
    now: float
    now_se: float | None

    @property
    def share(self) -> bool:
        """Whether it lives in [0, 1]."""
        return self.unit in ("share", "probability")

    @property
    def difference(self) -> float:
        """Now minus baseline, in the unit of the number."""
        return self.now - self.baseline

    @property
    def relative(self) -> float | None:
        """The difference as a share of the baseline; None where that is zero."""
        return self.difference / abs(self.baseline) if abs(self.baseline) > 1e-12 else None


def changes_of(
    series: dict[str, Series], windows: Windows | None, k: int | None = None
) -> dict[str, Change]:
    """Baseline and present value of every number that is known in both windows."""
    found = {}
    for key, one in series.items():
        if windows is None:
            break
        before, after = one.between(*windows.baseline), one.between(*windows.now)
        if not before or not after:
            continue
        name, unit = label_of(key, k), unit_of(key)
        ends = (*_mean_and_error(before), *_mean_and_error(after))
        found[key] = Change(key, name, unit, *ends)
    return found


def quantity_of(key: str) -> Quantity | None:
    """The definition of a number, that of its family included; None for what is not known."""
    families = (q for prefix, q in FAMILIES.items() if key.startswith(prefix))
    return QUANTITIES.get(key) or next(families, None)


def label_of(key: str, k: int | None = None) -> str:
    """The name of a number; pass@k with its k."""
    if key == "pass_at_k" and k:
        return f"pass@{k}"
    known = quantity_of(key)
    if known is None:
        return key.replace("_", " ")
    prefix = known.key.removesuffix("*")
    return known.name if known.key == key else f"{known.name} {key.removeprefix(prefix)}"


def unit_of(key: str) -> str:
    """The unit of a number, from its definition or the last word of its key."""
    known = quantity_of(key)
    if known:
        return known.unit
    tail = key.rsplit("_", 1)[-1]
    return {"frac": "share", "nats": "nats", "tokens": "tokens", "seconds": "s"}.get(tail, "")


def k_of(history: History) -> int | None:
    """The k of pass@k, from the last step that has one."""
    for row in reversed(history.steps):
        k = (row.get("signals") or {}).get("pass_k")
        if k:
            return int(k)
    return None


def _mean_and_error(values: list[float]) -> tuple[float, float | None]:
    mean = sum(values) / len(values)
    if len(values) < 3:
        return mean, None
    variance = sum((v - mean) ** 2 for v in values) / (len(values) - 1)
    return mean, math.sqrt(variance / len(values))


def shown(value: float | None, unit: str = "") -> str:
    """Print a number the way a reader wants it: shares as .36, counts with one decimal.

    >>> shown(0.3571, "share"), shown(11.234), shown(0.0421, "nats"), shown(None)
    ('.36', '11.2', '0.042', '–')
    """
    if value is None:
        return "–"
    if unit in ("share", "probability"):
        text = f"{value:.2f}"
        return text[1:] if text.startswith("0.") else text
    size = abs(value)
    digits = 0 if size >= 100 else 1 if size >= 10 else 2 if size >= 0.1 or size == 0 else 3
    if unit == "classes":
        digits = 1
    return f"{value:.{digits}f}"


def percent(share: float | None) -> str:
    """Print a relative change with its sign, a true minus included.

    >>> percent(-0.703), percent(0.052), percent(None)
    ('−70 %', '+5 %', '–')
    """
    if share is None:
        return "–"
    whole = round(100 * share)
    return f"{'−' if whole < 0 else '+' if whole > 0 else '±'}{abs(whole)} %"
