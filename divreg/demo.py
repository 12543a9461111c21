"""``divreg demo``: see plain GRPO collapse and ``DiverseGRPOTrainer`` hold, in a few minutes.

No network, no GPU, no download: the base model is built here. Importing this module loads neither
torch nor TRL; running it does.
"""

import argparse
import importlib
import json
import logging
import os
import shutil
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from divreg.tasks import runs, table

if TYPE_CHECKING:
    from divreg.report import ReportResult

OUTPUT = Path("divreg-demo")
INTERRUPTED = 130


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``divreg demo`` to its parser."""
    parser.add_argument(
        "--seeds",
        type=int,
        default=1,
        metavar="N",
        help="with 2 or more: the whole table, every way to train with seeds 0 to N-1, resumable "
        "(default: 1, plain and diverse one after the other)",
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
        default=runs.STEPS,
        metavar="N",
        help=f"optimizer steps of a run (default: {runs.STEPS})",
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
        help="runs at a time with --seeds or --sweep-rates (default: one per core)",
    )


def main(args: argparse.Namespace) -> int:
    """Run the demo from parsed arguments and return the exit code."""
    for name in ("seeds", "steps", "processes"):
        if getattr(args, name) < 1:
            raise ValueError(
                f"divreg demo --{name} needs at least 1; got {getattr(args, name)}. "
                f"Leave it out for the default."
            )
    return run(
        seeds=args.seeds,
        output_dir=args.output_dir,
        steps=args.steps,
        sweep_rates=args.sweep_rates,
        processes=args.processes,
    )


def run(
    *,
    seeds: int = 1,
    output_dir: str | os.PathLike[str] = OUTPUT,
    steps: int | None = None,
    sweep_rates: bool = False,
    processes: int | None = None,
    console: Console | None = None,
) -> int:
    """Run the demo: one seed with live progress and a report, or the table over several seeds.

    Args:
        seeds: How many; 1 compares plain and diverse, more make the whole table.
        output_dir: Where everything is written.
        steps: Optimizer steps of a run; None, the demo's own.
        sweep_rates: Train plain GRPO at every rate of the sweep instead.
        processes: Runs at a time, for more than one seed; None, one per core.
        console: Where to print.

    Returns:
        0, or 130 if it was interrupted.
    """
    console = console or Console(highlight=False)
    output, steps = Path(output_dir), steps or runs.STEPS
    try:
        with _quiet(console):
            if sweep_rates:
                _sweep(console, output, seeds, steps, processes or os.cpu_count() or 1)
            elif seeds > 1:
                _table(console, output, seeds, steps, processes or os.cpu_count() or 1)
            else:
                _once(console, output, steps)
    except KeyboardInterrupt:
        what = "it continues with the runs that are missing" if seeds > 1 else "it starts again"
        console.print(f"\nInterrupted. Type the same command once more: {what}.")
        return INTERRUPTED
    return 0


def _once(console: Console, output: Path, steps: int) -> None:
    """Train plain and diverse with seed 0, one after the other, and compare them."""
    started = time.perf_counter()
    console.print(
        f"[bold]divreg demo[/bold]: one tiny model, trained with reinforcement learning twice.\n"
        f"Task: given a number, write an expression that is worth it. [cyan]24=[/cyan] can be "
        f"[cyan]3*8[/cyan], [cyan](2+4)*4[/cyan], [cyan]5*6-6[/cyan], ...\n"
        f"Both runs: the same base model, numbers, seed, rate and {steps} steps of 8 x 16 answers; "
        f"every right answer earns 1.\n"
    )
    base = _base_model(console)
    scores = [("base", _base_score(base))]
    folders = {}
    for row in (runs.PLAIN, runs.DIVERSE):
        folder = folders[row.name] = output / row.name
        shutil.rmtree(folder, ignore_errors=True)
        one = runs.Run(row.name, 0, steps)
        with _training_bar(console, row.label, steps) as callback:
            scores.append((row.label, runs.score(one, base, folder, [callback()])))
    console.print()
    console.print(table.score_table([(label, [line]) for label, line in scores]))
    console.print(table.legend(scores[0][1]))
    report = _report(folders, output)
    console.print(f"Report: [bold]{escape(str(report.html))}[/bold]", soft_wrap=True)
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
    base = _base_model(console)
    jobs = [
        (runs.Run(row, seed, steps), output / "seeds" / f"{row}-{seed}")
        for seed in range(seeds)
        for row in runs.ROWS
    ]
    lines = _train_all(console, jobs, base, processes)
    found = {"base": _base_score(base), "runs": lines}
    table.print_table(console, found)
    _write(output / "table.json", found)
    console.print(f"\nEvery run: {escape(str(output / 'table.json'))}", soft_wrap=True)


def _sweep(console: Console, output: Path, seeds: int, steps: int, processes: int) -> None:
    """Train plain GRPO at several rates: the demo's rate is the best for pass@1."""
    base = _base_model(console)
    jobs = [
        (
            runs.Run(runs.PLAIN.name, seed, steps, rate),
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


def _base_model(console: Console) -> Path:
    """Return the folder of the base model, building it behind a bar the first time."""
    with console.status("Loading torch and TRL"):
        from divreg.tasks import tiny

        importlib.import_module("trl.trainer.grpo_trainer")
    if folder := tiny.cached():
        return folder
    with _bar(console) as bar:
        task = bar.add_task("Building the base model (once)", total=None, note="")

        def progress(done: int, total: int) -> None:
            bar.update(task, completed=done, total=total)

        folder = tiny.base_model(progress=progress)
    return folder


def _base_score(base: Path) -> dict[str, Any]:
    from divreg.tasks import tiny
    from divreg.tasks.evaluate import evaluate

    return evaluate(*tiny.load(base)).as_dict()


def _train_all(
    console: Console, jobs: Sequence[tuple[runs.Run, Path]], base: Path, processes: int
) -> list[dict[str, Any]]:
    """Train what has no result yet, one process per core, and return every line in order."""
    lines: dict[int, dict[str, Any]] = {}
    # A fresh interpreter each: torch's threads do not survive a fork.
    pool = ProcessPoolExecutor(processes, get_context("spawn"), initializer=_start_worker)
    try:
        with _bar(console) as bar:
            task = bar.add_task("Runs", total=len(jobs), note="")
            waiting = {
                pool.submit(runs.score_once, job, base, folder): i
                for i, (job, folder) in enumerate(jobs)
            }
            for done in as_completed(waiting):
                line = lines[waiting[done]] = done.result()
                note = f"{line['row']}, seed {line['seed']}: pass@1 {line['pass_at_1']:.2f}, "
                note += f"{line['distinct_correct']:.1f} distinct"
                bar.update(task, advance=1, note=note)
    except BaseException:
        pool.shutdown(wait=False, cancel_futures=True)
        for process in list((pool._processes or {}).values()):
            process.terminate()
        raise
    pool.shutdown()
    return [lines[i] for i in range(len(jobs))]


def _start_worker() -> None:
    """Prepare a process that trains: quiet, and deaf to Ctrl-C, which the parent handles."""
    import signal

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    runs.quiet_environment()
    os.environ["OMP_NUM_THREADS"] = "1"
    warnings.filterwarnings("ignore")
    logging.getLogger("divreg").addHandler(logging.NullHandler())
    logging.getLogger("divreg").propagate = False


def _report(folders: Mapping[str, Path], output: Path) -> "ReportResult":
    from divreg.report import write_report

    return write_report(list(folders.values()), output / "report.html")


def _bar(console: Console) -> Progress:
    return Progress(
        SpinnerColumn(finished_text="[green]✓"),
        TextColumn("{task.description:<30}"),
        BarColumn(bar_width=24),
        TextColumn("{task.completed:>4}/{task.total}"),
        TimeElapsedColumn(),
        TextColumn("[dim]{task.fields[note]}"),
        console=console,
    )


@contextmanager
def _training_bar(console: Console, label: str, steps: int) -> Iterator[Callable[[], Any]]:
    """Show a bar; yields what makes the callback that moves it (TRL is imported by then)."""
    with _bar(console) as bar:
        task = bar.add_task(f"Training: {label}", total=steps, note="")

        def make() -> Any:
            from transformers import TrainerCallback

            class Bar(TrainerCallback):
                def on_step_end(self, args, state, control, **_):  # noqa: ARG002
                    bar.update(task, completed=state.global_step)

                def on_log(self, args, state, control, logs=None, **_):  # noqa: ARG002
                    logs = logs or {}
                    right = logs.get("diversity/pass_at_1", logs.get("reward"))
                    distinct = logs.get("diversity/distinct_correct")
                    note = f"right {right:.0%}" if right is not None else ""
                    if distinct is not None:
                        note += f", different right answers per group of 16: {distinct:.1f}"
                    bar.update(task, note=note)

            return Bar()

        yield make


@contextmanager
def _quiet(console: Console) -> Iterator[None]:
    """Keep what is not for the user of a demo away from the console; alerts go through it."""
    runs.quiet_environment()
    logger, handler = logging.getLogger("divreg"), _ConsoleHandler(console)
    propagate = logger.propagate
    logger.addHandler(handler)
    logger.propagate = False
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.removeHandler(handler)
        logger.propagate = propagate


class _ConsoleHandler(logging.Handler):
    """Prints alerts above the progress bar instead of through it."""

    def __init__(self, console: Console):
        super().__init__(logging.WARNING)
        self.console = console

    def emit(self, record: logging.LogRecord) -> None:
        self.console.print(f"[yellow]{escape(record.getMessage())}[/yellow]", soft_wrap=True)


def _write(path: Path, content: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    _parser = argparse.ArgumentParser(prog="divreg demo")
    add_arguments(_parser)
    sys.exit(main(_parser.parse_args()))
