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
from statistics import fmean, stdev
from typing import TYPE_CHECKING, Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from divreg.tasks import runs

if TYPE_CHECKING:
    from divreg.report import ReportResult

OUTPUT = Path("divreg-demo")
INTERRUPTED = 130
_MEASURES = {
    "pass_at_1": ("pass@1", 2),
    "pass_at_k": ("pass@32", 2),
    "distinct_correct": ("distinct\ncorrect", 1),
    "entropy_nats": ("entropy\n(nats)", 2),
    "distinct_ngrams": ("distinct\nn-grams", 2),
}


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
    console.print(_score_table([(label, [line]) for label, line in scores]))
    console.print(_legend(scores[0][1]))
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
    print_table(console, found)
    _write(output / "table.json", found)
    console.print(f"\nEvery run: {escape(str(output / 'table.json'))}", soft_wrap=True)


def print_table(console: Console, found: Mapping[str, Any]) -> None:
    """Print what ``divreg demo --seeds N`` has found, the content of its ``table.json``."""
    by_row = {row: [line for line in found["runs"] if line["row"] == row] for row in runs.ROWS}
    best = max(runs.ENTROPY, key=lambda r: _mean(by_row[r.name], "distinct_correct"))
    rows = [(f"{r.label} *" if r is best else r.label, by_row[r.name]) for r in runs.ROWS.values()]
    console.print()
    console.print(_score_table([("base", [found["base"]]), *rows]))
    console.print(
        f"Means over {len(by_row[runs.PLAIN.name])} seeds ± standard errors. * keeps most of the "
        f"{len(runs.ENTROPY)} coefficients.\n{_legend(found['base'])}"
    )
    for row in (runs.PLAIN, best):
        console.print(_contrast(by_row[runs.DIVERSE.name], by_row[row.name], row.label))


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
    console.print(_score_table(groups, "Plain GRPO by learning rate"))
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


def _score_table(groups: Sequence[tuple[str, list[dict[str, Any]]]], title: str = "") -> Table:
    """Lay out one row per group of results: means, and standard errors where there are several."""
    table = Table(
        title=title or None,
        title_justify="left",
        title_style="bold",
        box=SIMPLE_HEAD,
        show_edge=False,
        padding=(0, 1, 0, 0),
    )  # fits 80 columns
    table.add_column("", no_wrap=True)
    for heading, _ in _MEASURES.values():
        table.add_column(heading, justify="right", vertical="bottom", no_wrap=True)
    for label, lines in groups:
        style = "bold green" if label == runs.DIVERSE.label else ""
        cells = [_cell(lines, name, digits) for name, (_, digits) in _MEASURES.items()]
        table.add_row(label, *cells, style=style)
    return table


def _legend(line: Mapping[str, Any]) -> str:
    """Say what the columns of the table are, from any of its results."""
    from divreg.tasks import expressions, tiny

    most = tiny.distinct_in_data(expressions.targets("held_out"), line["k"])
    return (
        f"On {line['targets']} numbers that the runs never asked for, {line['samples']} samples "
        f"each.\npass@1: share right. Distinct correct: different right answers among "
        f"{line['k']}\n(8*3 and 3*8 are one); {line['k']} right ones of the base model's own data "
        f"hold {most:.1f}.\nEntropy: of a token. Distinct n-grams: of characters, unseen by the "
        f"reward.\n"
    )


def _contrast(ours: list[dict[str, Any]], theirs: list[dict[str, Any]], label: str) -> str:
    """Say what diverse keeps of another row and what it costs, seed by seed."""
    parts = []
    for name, digits in {"distinct_correct": 2, "pass_at_1": 3}.items():
        gaps = [a[name] - b[name] for a, b in zip(ours, theirs, strict=True)]
        heading = _MEASURES[name][0].replace("\n", " ")
        parts.append(f"{heading} {fmean(gaps):+.{digits}f}±{_error(gaps):.{digits}f}")
    return f"diverse against {label}, paired by seed:\n  {', '.join(parts)}"


def _error(values: Sequence[float]) -> float:
    return stdev(values) / len(values) ** 0.5


def _cell(lines: list[dict[str, Any]], name: str, digits: int) -> str:
    mean = f"{_mean(lines, name):.{digits}f}"
    if len(lines) < 2:
        return mean
    return f"{mean}±{_error([line[name] for line in lines]):.{digits}f}"


def _mean(lines: Sequence[Mapping[str, Any]], name: str) -> float:
    return fmean(line[name] for line in lines)


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
