"""What a user sees while the runs of the demo and the benchmark go on."""

import importlib
import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn

from divreg.tasks import runs


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
    with ExitStack() as stack:
        tasks: list[tuple[Progress, TaskID]] = []  # none until there is something to build

        def progress(done: int, total: int) -> None:
            if not tasks:
                shown = stack.enter_context(bar(console))
                tasks.append((shown, shown.add_task("Building the base model (once)", note="")))
            shown, task = tasks[0]
            shown.update(task, completed=done, total=total)

        return build(progress)


@contextmanager
def quiet(console: Console, alerts: bool = True, alone: bool = True) -> Iterator[None]:
    """Keep away from the console what is not for who compares runs.

    Enter it before torch and TRL are imported.

    Args:
        console: Where to print.
        alerts: Whether what divreg says in this process goes through it; else nowhere.
        alone: Whether the runs need no network and no GPU.
    """
    runs.quiet_environment(alone)
    logger = logging.getLogger("divreg")
    handler = _ConsoleHandler(console) if alerts else logging.NullHandler()
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
