"""What a user sees while the runs of the demo and the benchmark go on."""

import importlib
from collections.abc import Callable
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn


def bar(console: Console) -> Progress:
    """Return a display of bars: what, how far, how long, a note."""
    return Progress(
        SpinnerColumn(finished_text="[green]✓"),
        TextColumn("{task.description:<30}"),
        BarColumn(bar_width=24),
        TextColumn("{task.completed:>4}/{task.total}"),
        TimeElapsedColumn(),
        TextColumn("[dim]{task.fields[note]}"),
        console=console,
    )


def base_model(console: Console, build: Callable[..., Path]) -> Path:
    """Return the folder of a base model, behind a bar where it has to be built.

    Args:
        console: Where to print.
        build: Finds or builds it, calling what it is given with (steps done, steps in all).
    """
    with console.status("Loading torch and TRL"):
        importlib.import_module("divreg.tasks.tiny")
        importlib.import_module("trl.trainer.grpo_trainer")
    shown = bar(console)
    task = shown.add_task("Building the base model (once)", total=None, note="")

    def progress(done: int, total: int) -> None:
        shown.start()  # not before there is something to build
        shown.update(task, completed=done, total=total)

    try:
        return build(progress)
    finally:
        shown.stop()
