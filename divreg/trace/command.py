"""``divreg trace``: sample a lineage of checkpoints, and say at which stage the variety went."""

import argparse
import hashlib
import itertools
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from divreg.measure import page
from divreg.measure.compare import Change, cell, compare, split_name
from divreg.measure.run import Measurement, Options, measure
from divreg.metrics.interval import Interval, difference_interval

LEADS = {"different_pairs_correct": "Among right answers", "different_pairs": "Of all samples"}
SHOWN = ("pass_at_1", "distinct_correct_at_k", *LEADS, "class_entropy")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Give a parser the arguments of ``divreg trace``."""
    parser.add_argument(
        "stages",
        nargs="+",
        metavar="NAME=MODEL",
        help="folders or hub names, in the order of training",
    )
    parser.add_argument("--task", default="expressions", help="by name, or your own by dotted path")
    parser.add_argument("--split", default="held_out", help="of the task's prompts (held_out)")
    parser.add_argument("--prompts", type=int, metavar="N", help="the first N prompts (all)")
    parser.add_argument("--samples", type=int, default=32, help="of each prompt (32)")
    parser.add_argument("--k", type=int, help="samples that counts are brought to (all)")
    parser.add_argument("--seed", type=int, default=0, help="of sampling and intervals (0)")
    parser.add_argument(
        "--output-dir", type=Path, metavar="DIR", help="where samples and numbers go (runs/trace)"
    )


def main(chosen: argparse.Namespace) -> int:
    """Run ``divreg trace`` and return its exit code: 0, or 130 interrupted.

    Raises:
        ValueError: For fewer than two stages, or an argument that cannot be.
    """
    console = Console(highlight=False, soft_wrap=True)
    stages = dict(_stage(word) for word in chosen.stages)
    if len(stages) < max(2, len(chosen.stages)):
        raise ValueError(
            f"divreg trace needs two stages or more, each with a name of its own; got "
            f"{', '.join(chosen.stages)}. Write base=FOLDER sft=FOLDER."
        )
    for name in ("samples", "prompts"):
        value = getattr(chosen, name)
        if value is not None and value < (2 if name == "samples" else 1):
            raise ValueError(f"divreg trace --{name} is too small; got {value}. Use --{name} 32.")
    if chosen.k is not None and not 2 <= chosen.k <= chosen.samples:
        raise ValueError(
            f"divreg trace --k needs 2 to {chosen.samples}, the samples; got {chosen.k}. Use --k 8."
        )
    output = chosen.output_dir or Path("runs") / "trace"
    try:
        files = _sampled(stages, chosen, output)
    except KeyboardInterrupt:
        console.print("\nInterrupted. Type the same command once more: finished prompts are kept.")
        return 130
    how = Options(k=chosen.k, classes="class", seed=chosen.seed)
    found = {name: measure(path, how) for name, path in files.items()}
    names = list(found)
    total = [compare(found, name, chosen.seed) for name in names[1:]]
    steps = [
        compare({a: found[a], b: found[b]}, b, chosen.seed) for a, b in itertools.pairwise(names)
    ]
    _show(console, found, steps)
    for sentence in verdict(found, chosen.seed):
        console.print(sentence, markup=False)
    path = output / "trace.json"
    _write(path, chosen, stages, found, steps, total)
    console.print(f"Numbers: {path}. Samples: {output / 'samples'}")
    return 0


def _stage(word: str) -> tuple[str, str]:
    name, model = split_name(word)
    if Path(name).name != name:
        raise ValueError(f"divreg trace needs a name without '/'; got {name!r}. Write rl=FOLDER.")
    return name or Path(model).name, model


def _contents(model: str) -> list[Any]:
    """Return what changes when a folder's weights do; nothing for a name on the hub."""
    files = sorted(Path(model).glob("*.safetensors")) + sorted(Path(model).glob("*.bin"))
    return [(f.name, f.stat().st_size, f.stat().st_mtime_ns) for f in files]


def _sampled(
    stages: Mapping[str, str], chosen: argparse.Namespace, output: Path
) -> dict[str, Path]:
    """Sample what is missing and return the file of every stage."""
    from divreg.tasks.task import find
    from divreg.trace.sampling import sample_stage

    task = find(chosen.task)
    rows: list[Any] = list(task.dataset(chosen.split))[: chosen.prompts]
    folder = output / "samples"
    folder.mkdir(parents=True, exist_ok=True)
    files = {}
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    stderr = Console(stderr=True)
    with Progress(
        *columns, TimeRemainingColumn(), console=stderr, disable=not stderr.is_terminal
    ) as progress:
        for name, model in stages.items():
            bar = progress.add_task(escape(name), total=len(rows))
            # What was drawn in another way lies in another file.
            asked = [row["prompt"] for row in rows]
            how = (
                *(model, _contents(model), task.name, chosen.split, asked, task.max_tokens),
                *(chosen.samples, chosen.seed),
            )
            digest = hashlib.sha256(json.dumps(how).encode()).hexdigest()[:8]
            files[name] = folder / f"{name}-{digest}.jsonl"
            sample_stage(
                model, task, rows, files[name], samples=chosen.samples, seed=chosen.seed,
                advance=lambda n, bar=bar: progress.advance(bar, n),
            )  # fmt: skip
    return files


def verdict(found: Mapping[str, Measurement], seed: int) -> list[str]:
    """Return where the variety went, in sentences: among right answers, and of all samples.

    Every share is over the same prompts, those that have the number at all stages: then the stages
    add up to the whole.

    Args:
        found: What was measured of every stage, in order.
        seed: Of the intervals.
    """
    said = []
    first, *_, last = found
    for lead, words in LEADS.items():
        values = _everywhere(found, lead)
        way = f"{words}, from {first} to {last}"
        prompts = len(values[first])
        if prompts < 2:
            what = "two right answers" if lead.endswith("correct") else "two samples"
            said.append(f"{way}: too few prompts ({prompts}) have {what} at every stage to say.")
            continue
        total = difference_interval(values[last], values[first], seed=seed)
        before = sum(values[first]) / prompts
        numbers = f"{lead} {before:.2f} to {before + total.estimate:.2f}, {prompts} prompts"
        if not total.high < 0:
            said.append(f"{way}, no variety was lost that these prompts show ({numbers}).")
            continue
        shares = [
            _share(b, difference_interval(values[b], values[a], seed=seed), total.estimate)
            for a, b in itertools.pairwise(found)
        ]
        gone = f"{-total.estimate / before:.0%} of the variety went ({numbers})"
        said.append(f"{way}, {gone}: {', '.join(shares)}.")
    return said


def _everywhere(found: Mapping[str, Measurement], number: str) -> dict[str, list[float]]:
    """Return a number of the prompts that have it at all stages, by stage."""
    tables = [
        {p.prompt: p.numbers.get(number) for s in measured.sets for p in s.prompts}
        for measured in found.values()
    ]
    prompts = [p for p in tables[0] if all(table.get(p) is not None for table in tables)]
    return {
        name: [float(table[p]) for p in prompts]  # pyright: ignore[reportArgumentType]
        for name, table in zip(found, tables, strict=True)
    }


def _share(name: str, x: Interval, total: float) -> str:
    """Return what a stage took of the loss; a question mark where it may be none."""
    known = x.high < 0 or x.low > 0 or x.low == x.high
    return f"{name} {round(x.estimate / total, 2) + 0.0:.0%}{'' if known else '?'}"


def _show(console: Console, found: Mapping[str, Measurement], steps: Sequence[Change]) -> None:
    base = next(iter(found.values()))
    k = base.facts["k"]
    console.print(
        f"\n{base.facts['prompt_count']:,} prompts, {base.facts['samples_per_prompt'][-1]} samples "
        f"each, temperature 1. "
        f"Change: against the stage before, paired by prompt, ± half of the 95 % interval."
    )
    table = Table(box=None, pad_edge=False)
    table.add_column("", no_wrap=True)
    for name in found:
        table.add_column(escape(name), justify="right", no_wrap=True)
    for name in SHOWN:
        means = [measured.sets[0].numbers[name].estimate for measured in found.values()]
        table.add_row(name.replace("_at_k", f"_at_{k}"), *(f"{mean:.2f}" for mean in means))
        changes = [step.differences[name] for step in steps]
        cells = [cell(x).rstrip("* ") for x in changes]
        table.add_row("", "", *cells, style="dim")
    console.print(table)
    console.print()


def _write(
    path: Path,
    chosen: argparse.Namespace,
    stages: Mapping[str, str],
    found: Mapping[str, Measurement],
    steps: Sequence[Change],
    total: Sequence[Change],
) -> None:
    def as_json(change: Change) -> dict[str, Any]:
        return {
            "stage": change.name,
            "prompts": change.pairs,
            "differences": page.finites(change.differences),
            "parts": page.finites(change.parts.get("different_pairs", {})),
        }

    result = {
        "divreg_trace": 1,
        "task": chosen.task,
        "split": chosen.split,
        "stages": {
            name: {
                "model": stages[name],
                **measured.facts,
                "numbers": page.finites(measured.sets[0].numbers),
            }
            for name, measured in found.items()
        },
        "against_the_stage_before": [as_json(change) for change in steps],
        "against_the_first": [as_json(change) for change in total],
    }
    path.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
