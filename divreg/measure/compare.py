"""``divreg compare``: what changed between sets of generations of the same prompts."""

import argparse
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from divreg.measure import homogeneity, page, sizes
from divreg.measure.command import add_options, options
from divreg.measure.run import Measurement, Options, measure
from divreg.measure.summary import Measured
from divreg.metrics.decomposition import decomposition_intervals
from divreg.metrics.interval import Interval, difference_interval

# What is split into two parts where answers are judged: of all samples, and of the right ones.
SPLIT = (
    ("cosine_diversity", "cosine_diversity_correct"),
    ("different_pairs", "different_pairs_correct"),
)
_SAME = (  # facts that have to be those of the first set
    *("reasoning", "classes", "encoder", "judge", "nli", "utility", "code", "formats"),
)
cell = page.difference  # how a change is written
_SANE = 1.25  # of the loss: a larger share among right answers means that wrong ones hide it
_SAMPLED = ("temperature", "top_p", "top_k", "min_p", "max_tokens", "chain_of_thought")


@dataclass(frozen=True)
class Change:
    """One set against the first, over the prompts that both have.

    Attributes:
        name: Of the set.
        pairs: How many prompts.
        before: Mean of every number in the first set, over the same prompts.
        differences: Mean difference of every number, and its interval.
        parts: The loss of diversity in two parts, by the number that was split; empty without
            correctness.
    """

    name: str
    pairs: int
    before: dict[str, float]
    differences: dict[str, Interval]
    parts: dict[str, dict[str, Any]]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Give a parser the arguments of ``divreg compare``."""
    parser.add_argument(
        "paths",
        nargs="+",
        metavar="[NAME=]FILE_OR_DIR",
        help="the first is what others are held to",
    )
    parser.add_argument(
        "--force", action="store_true", help="compare sets that were sampled in different ways"
    )
    parser.add_argument(
        "--sizes",
        metavar="NAME=N,NAME=N",
        help="parameters of the models, 135M or 1.35e8 (the column `parameters`)",
    )
    add_options(parser)


def main(chosen: argparse.Namespace) -> int:
    """Run ``divreg compare`` and return its exit code.

    Raises:
        ValueError: For fewer than two sets, sets that share no prompt, or that were sampled or
            measured in different ways.
    """
    console = Console(highlight=False, soft_wrap=True)
    named = [_named(word) for word in chosen.paths]
    if len({name for name, _ in named}) < max(2, len(named)):
        raise ValueError(
            f"divreg compare needs two sets or more, each with a name of its own; got "
            f"{', '.join(name for name, _ in named)}. Write base=FILE tuned=FILE."
        )
    how = options(chosen, centres=True)
    found = _measured(named, how)
    if not chosen.force:
        _refuse_unlike(found)
    changes = [compare(found, name, how.seed) for name, _ in named[1:]]
    prompts = {name: _prompts(measured) for name, measured in found.items()}
    pairs = homogeneity.homogeneity(prompts, how.seed)
    parameters = sizes.sizes_of(found, chosen.sizes)
    k = found[named[0][0]].facts["k"]
    grown = sizes.by_size(parameters, prompts, k, how.seed) if parameters else None
    _show(console, found, changes)
    if pairs:
        homogeneity.show(console, pairs)
    if grown:
        sizes.show(console, grown)
    if chosen.json:
        more = {
            "homogeneity": [pair.as_json() for pair in pairs],
            "by_size": grown.as_json() if grown else None,
        }
        _write(chosen.json, found, changes, more)
        console.print(f"All numbers: {chosen.json}")
    return 0


def split_name(word: str) -> tuple[str, str]:
    """Return name and path of ``NAME=PATH``; no name for a path alone, or one that has an ``=``."""
    name, equals, path = word.partition("=")
    return (name, path) if equals and not Path(word).exists() else ("", word)


def _named(word: str) -> tuple[str, Path]:
    name, path = split_name(word)
    return name or Path(path).stem, Path(path)


def _measured(named: Sequence[tuple[str, Path]], how: Options) -> dict[str, Measurement]:
    """Measure all sets at the same number of samples: the usual one of the set that has fewest."""
    found = {name: measure(path, how) for name, path in named}
    k = min(measured.facts["k"] for measured in found.values())
    return {
        name: measured if measured.facts["k"] == k else measure(path, replace(how, k=k))
        for (name, path), measured in zip(named, found.values(), strict=True)
    }


def _refuse_unlike(found: dict[str, Measurement]) -> None:
    (first, base), *others = found.items()
    for name, other in others:
        for key in (*_SAME, *_SAMPLED):
            ours, theirs = (
                m.facts[key] if key in _SAME else _values(m, key) for m in (base, other)
            )
            if ours != theirs:
                raise ValueError(
                    f"divreg compare needs sets with the same {key}; got {ours} in {first} and "
                    f"{theirs} in {name}. A difference would be of both. Use --force to see it."
                )


def _values(measured: Measurement, name: str) -> str:
    """Return what a set says about a setting, in one order; 1 and 1.0 are one value."""
    values = measured.facts["settings"].get(name, ["nothing"])
    return ", ".join(sorted(str(float(x)) if isinstance(x, int) else str(x) for x in values))


def compare(found: dict[str, Measurement], name: str, seed: int) -> Change:
    """Compare one set with the first, prompt by prompt.

    Args:
        found: All sets by name, in order.
        name: The set.
        seed: Of the intervals.

    Raises:
        ValueError: If they share no prompt.
    """
    first = next(iter(found))
    base, other = (_prompts(found[key]) for key in (first, name))
    both = [prompt for prompt in base if prompt in other]
    if not both:
        raise ValueError(
            f"divreg compare needs the same prompts in all sets; {first} and {name} share none of "
            f"{len(base):,} and {len(other):,}."
        )
    pairs = [(base[prompt].numbers, other[prompt].numbers) for prompt in both]
    names = [number.name for number in found[first].numbers if number in found[name].numbers]
    differences = {
        n: difference_interval(
            [b.get(n) for _, b in pairs], [a.get(n) for a, _ in pairs], seed=seed
        )
        for n in names
    }
    parts = {}
    for every, right in SPLIT:
        if every in names and right in names:
            old = [(a.get(every), a.get(right)) for a, _ in pairs]
            new = [(b.get(every), b.get(right)) for _, b in pairs]
            parts[every] = decomposition_intervals(old, new, seed=seed)._asdict()
    before = {
        n: _mean([a[n] for a, b in pairs if a.get(n) is not None and b.get(n) is not None])
        for n in names
    }
    return Change(name, len(both), before, differences, parts)


def verdict(change: Change, k: int) -> list[str]:
    """Return what changed, in sentences."""
    lead = "cosine_diversity" if "cosine_diversity" in change.differences else "different_pairs"
    x, before = change.differences[lead], change.before[lead]
    numbers = f"{lead} {x.estimate:+.3f}, {x.low:+.3f} to {x.high:+.3f}"
    if x.prompts < 2:
        return [f"{change.name}: {x.prompts} prompt in both is too few to say anything."]
    if x.low <= 0 <= x.high:
        said = [f"{change.name}: {x.prompts:,} prompts show no change of variety ({numbers})."]
    else:
        words = "more" if x.estimate > 0 else "less"
        share = f"{abs(x.estimate) / before:.0%} {words}" if before > 0 else words
        said = [f"{change.name}: {share} variety ({numbers}), over {x.prompts:,} prompts."]
    parts = change.parts.get(lead)
    if x.high < 0 and parts and parts["total"].low > 0:
        genuine, narrowed, pairs = (
            parts["genuine_frac"], parts["residual"], parts["total"].prompts
        )  # fmt: skip
        if genuine.low >= 0 and genuine.high <= _SANE:
            said.append(
                f"Of what was lost, {genuine.estimate:.0%} is among right answers "
                f"({genuine.low:.0%} to {genuine.high:.0%}), the rest is fewer wrong ones; "
                f"{pairs:,} prompts have two right answers in both."
            )
        else:  # wrong answers, which differ, hide what happens among right ones
            said.append(
                f"Among right answers alone: {-narrowed.estimate:+.3f} ({-narrowed.high:+.3f} to "
                f"{-narrowed.low:+.3f}), over {pairs:,} prompts with two of them in both."
            )
    for name, words in (
        ("distinct_correct_at_k", f"Different right answers in {k}"),
        ("pass_at_1", "pass@1"),
    ):
        if x := change.differences.get(name):
            old = change.before[name]
            said.append(
                f"{words}: {old:.2f} to {old + x.estimate:.2f} ({x.low:+.2f} to {x.high:+.2f})."
            )
    return said


def _mean(values: Sequence[float | None]) -> float:
    known = [x for x in values if x is not None]
    return sum(known) / len(known) if known else math.nan


def _prompts(measured: Measurement) -> dict[str, Measured]:
    return {prompt.prompt: prompt for s in measured.sets for prompt in s.prompts}


def _show(console: Console, found: dict[str, Measurement], changes: Sequence[Change]) -> None:
    first, base = next(iter(found.items()))
    k = base.facts["k"]
    console.print(f"\nk = {k}. The same: {base.facts['classes']}.", markup=False)
    for sentence in page.models(base.facts):
        console.print(sentence, markup=False)
    for name, measured in found.items():
        facts = measured.facts
        pairs = {change.name: change.pairs for change in changes}.get(name, facts["prompt_count"])
        shared = f"; {pairs:,} prompts are in {first} too" if pairs < facts["prompt_count"] else ""
        console.print(
            f"{name}: {facts['prompt_count']:,} prompts, {facts['samples']:,} samples{shared}.",
            markup=False,
        )
        for sentence in page.left_out(facts, measured.problems):
            console.print(f"  {sentence}", style="yellow", markup=False)
    table = Table(box=None, pad_edge=False)
    table.add_column("mean over prompts", no_wrap=True)
    table.add_column(escape(first), justify="right", no_wrap=True)
    for change in changes:
        table.add_column(f"{escape(change.name)} - {escape(first)}", justify="right", no_wrap=True)
    table.add_column("", style="dim", no_wrap=True)
    table.add_column("", style="dim")
    # With one other set, over the prompts of both: then the two columns add up.
    before = {n: x.estimate for n, x in base.sets[0].numbers.items()}
    before |= changes[0].before if len(changes) == 1 else {}
    for number in base.numbers:
        cells = [cell(change.differences.get(number.name)) for change in changes]
        table.add_row(
            number.name.replace("_at_k", f"_at_{k}"),
            f"{before[number.name]:.2f}",
            *cells,
            page.HIGHER[number.higher],
            number.unit,
        )
    console.print(table)
    console.print(
        "Differences are over the prompts that both have. ±: half of the 95 % interval; *: it "
        "excludes 0.",
        style="dim",
    )
    console.print()
    for change in changes:
        for sentence in verdict(change, k):
            console.print(sentence, markup=False)


def _write(
    path: Path,
    found: dict[str, Measurement],
    changes: Sequence[Change],
    more: dict[str, Any],
) -> None:
    first = next(iter(found))
    result = {
        "divreg_compare": 1,
        "held_to": first,
        "sets": {name: measured.facts for name, measured in found.items()},
        "changes": [
            {
                "name": change.name,
                "prompts": change.pairs,
                "before": {n: None if math.isnan(x) else x for n, x in change.before.items()},
                "differences": page.finites(change.differences),
                "parts": {n: page.finites(parts) for n, parts in change.parts.items()},
            }
            for change in changes
        ],
        **more,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
