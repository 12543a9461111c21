"""Processes that train the demo's runs, a run at a time each, and tell how far they are."""

import logging
import queue
import signal
import time
import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from rich.console import Console

from divreg.tasks import runs

_LISTEN_EVERY = 0.1  # seconds
_outbox: Any = None  # in a worker: the queue to the process that started it


class KilledError(RuntimeError):
    """A process that trained is gone, and not by its own doing."""


@dataclass(frozen=True)
class News:
    """What a worker tells of one of the jobs."""

    job: int
    step: int | None = None
    """Optimizer steps done."""
    note: str | None = None
    """How the run is doing, in words."""
    alert: str | None = None
    """What divreg said of it."""
    line: dict[str, Any] | None = None
    """Its line of the results: it is finished."""


def train_all(
    jobs: Sequence[tuple[runs.Run, Path]],
    base: Path,
    processes: int,
    hear: Callable[[News], Any],
) -> list[dict[str, Any]]:
    """Train what has no result yet and return every line of the results, in order.

    Args:
        jobs: Runs, and the folder of each.
        base: Folder of the base model.
        processes: How many train at a time; each computes on one thread.
        hear: Called in this process with everything that a worker tells.

    Raises:
        KilledError: A worker was.
    """
    # A fresh interpreter each: torch's threads do not survive a fork.
    context = get_context("spawn")
    inbox = context.Queue()
    alone = all(run.model is None for run, _ in jobs)
    pool = ProcessPoolExecutor(min(processes, len(jobs)), context, _start, (inbox, alone))
    try:
        waiting = {
            pool.submit(_train, i, run, base, folder): i for i, (run, folder) in enumerate(jobs)
        }
        lines = _listen(waiting, inbox, hear)
    except BaseException as error:
        workers = list((pool._processes or {}).values())
        pool.shutdown(wait=False, cancel_futures=True)
        for process in workers:
            process.terminate()
        if isinstance(error, BrokenProcessPool):
            raise KilledError(
                "A process that trains was killed, most often because memory ran out."
            ) from error
        raise
    pool.shutdown()
    return [lines[i] for i in range(len(jobs))]


def seconds_of(run: runs.Run, base: Path, folder: Path, steps: int, console: Console) -> float:
    """Return the seconds of a run, from a short one with the same settings.

    Args:
        run: What is to be trained.
        base: Folder of the base model.
        folder: Where the short one is trained.
        steps: Of the short one.
        console: Where to say so.

    Raises:
        KilledError: A worker was.
    """
    short = replace(run, steps=steps)
    started = time.perf_counter()
    with console.status("Timing a few steps"):
        (line,) = train_all([(short, folder)], base, 1, lambda _: None)
    training = line["train_seconds"]
    others = time.perf_counter() - started - training
    return others + training * run.steps / steps


def duration(hours: float) -> str:
    """Return a time as a reader says it.

    >>> duration(0.1), duration(1.55)
    ('6 min', '1.6 hours')
    """
    return f"{hours:.1f} hours" if hours >= 1 else f"{max(1, round(hours * 60))} min"


def _listen(
    waiting: dict[Future[dict[str, Any]], int], inbox: Any, hear: Callable[[News], Any]
) -> dict[int, dict[str, Any]]:
    lines: dict[int, dict[str, Any]] = {}
    open_ = set(waiting)
    while open_:
        done, open_ = wait(open_, timeout=0)
        try:
            while True:
                hear(inbox.get(timeout=_LISTEN_EVERY))
        except queue.Empty:
            pass
        for future in done:
            lines[waiting[future]] = future.result()
            hear(News(waiting[future], line=future.result()))
    return lines


def _start(outbox: Any, alone: bool) -> None:
    """Prepare a process that trains: quiet, and deaf to Ctrl-C, which its parent handles."""
    global _outbox
    _outbox = outbox
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    runs.quiet_environment(alone)
    warnings.filterwarnings("ignore")
    logging.getLogger("divreg").propagate = False


def _train(job: int, run: runs.Run, base: Path, folder: Path) -> dict[str, Any]:
    def tell(**what: Any) -> None:
        _outbox.put(News(job, **what))

    logger, handler = logging.getLogger("divreg"), _Teller(tell)
    logger.addHandler(handler)
    try:
        return runs.score_once(run, base, folder, tell)
    finally:
        logger.removeHandler(handler)


class _Teller(logging.Handler):
    """Sends alerts to the process that prints."""

    def __init__(self, tell: Callable[..., None]):
        super().__init__(logging.WARNING)
        self.tell = tell

    def emit(self, record: logging.LogRecord) -> None:
        self.tell(alert=record.getMessage())
