"""``divreg demo``: see plain GRPO collapse and ``DiverseGRPOTrainer`` hold, in a few minutes.

No network, no GPU, no download: the base model is built here. Importing this module loads neither
torch nor TRL; running it does.
"""

import argparse
import json
import os
import shutil
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape

from divreg import demo_model
from divreg.tasks import progress, runs, side_by_side, table, workers
from divreg.tasks.task import EXPRESSIONS

OUTPUT = Path("divreg-demo")
INTERRUPTED = 130
FAILED = 1


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``divreg demo`` to its parser."""
    parser.add_argument(
        "--seeds",
        type=int,
        default=1,
        metavar="N",
        help="with 2 or more: the whole table, every way to train with seeds 0 to N-1, resumable "
        "(default: 1, plain and diverse side by side)",
    )
    parser.add_argument(
        "--task",
        default=EXPRESSIONS.name,
        metavar="NAME",
        help="what is trained on: expressions, or with --model kinds-short, kinds (WordNet counts "
        "the answers), countdown, or the dotted path of a Task",
    )
    parser.add_argument(
        "--model",
        metavar="FOLDER_OR_HUB_NAME",
        help="a causal language model of your own instead of the tiny one",
    )
    parser.add_argument(
        "--output-dir",
        type=Path,
        default=OUTPUT,
        metavar="DIR",
        help=f"where records, results and the report go (default: ./{OUTPUT})",
    )
    parser.add_argument(
        "--steps",
        type=int,
        metavar="N",
        help=f"optimizer steps of a run (default: {runs.STEPS}, or what the task says)",
    )
    parser.add_argument(
        "--sweep-rates",
        action="store_true",
        help="instead: plain GRPO at every learning rate of the sweep, for every seed",
    )
    parser.add_argument(
        "--processes",
        type=int,
        default=os.cpu_count() or 1,
        metavar="N",
        help="runs at a time (default: one per core)",
    )


def main(args: argparse.Namespace) -> int:
    """Run the demo from parsed arguments and return the exit code."""
    for name in ("seeds", "steps", "processes"):
        if getattr(args, name) is not None and getattr(args, name) < 1:
            raise ValueError(
                f"divreg demo --{name} needs at least 1; got {getattr(args, name)}. "
                f"Leave it out for the default."
            )
    own = args.model is not None or args.task != EXPRESSIONS.name
    if own and (args.seeds > 1 or args.sweep_rates):
        raise ValueError(
            f"divreg demo --seeds and --sweep-rates are about the tiny model; got --task "
            f"{args.task}{f' --model {args.model}' if args.model else ''}. Use divreg bench with a "
            f"plan, such as recipes/benchmarks/expressions.yaml."
        )
    return run(
        seeds=args.seeds,
        output_dir=args.output_dir,
        steps=args.steps,
        sweep_rates=args.sweep_rates,
        processes=args.processes,
        task=args.task,
        model=args.model,
    )


def run(
    *,
    seeds: int = 1,
    output_dir: str | os.PathLike[str] = OUTPUT,
    steps: int | None = None,
    sweep_rates: bool = False,
    processes: int | None = None,
    task: str = EXPRESSIONS.name,
    model: str | None = None,
    console: Console | None = None,
) -> int:
    """Run the demo: one seed with live progress and a report, or the table over several seeds.

    Args:
        seeds: How many; 1 compares plain and diverse, more make the whole table.
        output_dir: Where everything is written.
        steps: Optimizer steps of a run; None, the demo's own.
        sweep_rates: Train plain GRPO at every rate of the sweep instead.
        processes: Runs at a time; None, one per core.
        task: What is trained on.
        model: A folder or hub name; None is the task's tiny model.
        console: Where to print.

    Returns:
        0, 130 if it was interrupted, or 1 if a process that trained was killed.
    """
    console = console or Console(highlight=False)
    output = Path(output_dir)
    processes = processes or os.cpu_count() or 1
    own = model is not None or task != EXPRESSIONS.name
    try:
        with progress.quiet(console, alone=model is None):
            jobs = demo_model.jobs(task, model, steps, output) if own else []
            steps = steps or runs.STEPS
            if jobs:
                demo_model.compare(console, jobs, output, processes)
            elif sweep_rates:
                _sweep(console, output, seeds, steps, processes)
            elif seeds > 1:
                _table(console, output, seeds, steps, processes)
            else:
                _once(console, output, steps, processes)
    except KeyboardInterrupt:
        what = "it continues with the runs that are missing" if seeds > 1 else "it starts again"
        console.print(f"\nInterrupted. Type the same command once more: {what}.")
        return INTERRUPTED
    except workers.KilledError as killed:
        cure = "Try one run at a time: divreg demo --processes 1"
        console.print(f"\n{killed} {cure}", soft_wrap=True)
        return FAILED
    return 0


def _once(console: Console, output: Path, steps: int, processes: int) -> None:
    """Train plain and diverse with seed 0 and compare them."""
    started = time.perf_counter()
    console.print(
        f"[bold]divreg demo[/bold]: one tiny model, trained with reinforcement learning twice.\n"
        f"Task: given a number, write an expression that is worth it. [cyan]24=[/cyan] can be "
        f"[cyan]3*8[/cyan], [cyan](2+4)*4[/cyan], [cyan]5*6-6[/cyan], ...\n"
        f"Both runs: the same base model, numbers, seed, rate and {steps} steps of 8 x 16 answers; "
        f"every right answer earns 1.\n"
    )
    base = progress.base_model(console, EXPRESSIONS.need("model", "divreg demo"))
    jobs = []
    for row in (runs.PLAIN, runs.DIVERSE):
        shutil.rmtree(output / row.name, ignore_errors=True)
        jobs.append((runs.Run(row, 0, steps), output / row.name))
    lines = side_by_side.race(console, jobs, base, processes)
    side_by_side.show(console, _base_score(base), lines, [folder for _, folder in jobs], output)
    console.print(
        f"Took {time.perf_counter() - started:.0f} s. One seed proves little: "
        f"[bold]divreg demo --seeds 5[/bold] makes the whole table, with standard errors."
    )


def _table(console: Console, output: Path, seeds: int, steps: int, processes: int) -> None:
    """Train every row with every seed and print means with standard errors."""
    console.print(
        f"[bold]divreg demo[/bold]: {len(runs.ROWS)} ways to train x {seeds} seeds, {steps} steps "
        f"each, {processes} at a time. Finished runs are kept in {escape(str(output))}."
    )
    base = progress.base_model(console, EXPRESSIONS.need("model", "divreg demo"))
    jobs = [
        (runs.Run(row, seed, steps), output / "seeds" / f"{row.name}-{seed}")
        for seed in range(seeds)
        for row in runs.ROWS.values()
    ]
    lines = _train_all(console, jobs, base, processes)
    found = {"base": _base_score(base), "runs": lines}
    table.print_table(console, found)
    _write(output / "table.json", found)
    console.print(f"\nEvery run: {escape(str(output / 'table.json'))}", soft_wrap=True)


def _sweep(console: Console, output: Path, seeds: int, steps: int, processes: int) -> None:
    """Train plain GRPO at several rates: the demo's rate is the best for pass@1."""
    base = progress.base_model(console, EXPRESSIONS.need("model", "divreg demo"))
    jobs = [
        (
            runs.Run(runs.PLAIN, seed, steps, rate),
            output / "rates" / f"{runs.PLAIN.name}-{rate:g}-{seed}",
        )
        for seed in range(seeds)
        for rate in runs.RATES
    ]
    lines = _train_all(console, jobs, base, processes)
    groups = [(f"{r:g}", [x for x in lines if x["learning_rate"] == r]) for r in runs.RATES]
    console.print(table.score_table(groups, "Plain GRPO by learning rate"))
    _write(output / "rates.json", {"base": _base_score(base), "runs": lines})
    console.print(f"\nEvery run: {escape(str(output / 'rates.json'))}", soft_wrap=True)


def _base_score(base: Path) -> dict[str, Any]:
    from divreg.tasks import tiny
    from divreg.tasks.evaluate import evaluate

    return evaluate(*tiny.load(base)).as_dict()


def _train_all(
    console: Console, jobs: Sequence[tuple[runs.Run, Path]], base: Path, processes: int
) -> list[dict[str, Any]]:
    """Train what has no result yet behind one bar and return every line in order."""
    with progress.bar(console) as bar:
        task = bar.add_task("Runs", total=len(jobs), note="")

        def hear(news: workers.News) -> None:
            if line := news.line:
                note = f"{line['row']}, seed {line['seed']}: pass@1 {line['pass_at_1']:.2f}, "
                note += f"{line['distinct_correct']:.1f} distinct"
                bar.update(task, advance=1, note=note)

        return workers.train_all(jobs, base, processes, hear)


def _write(path: Path, content: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    _parser = argparse.ArgumentParser(prog="divreg demo")
    add_arguments(_parser)
    sys.exit(main(_parser.parse_args()))
