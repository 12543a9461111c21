"""``divreg demo --model``: plain GRPO and ``DiverseGRPOTrainer`` on a model of one's own."""

import shutil
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from divreg.tasks import building, runs, side_by_side, workers
from divreg.tasks.task import find
from divreg.trace import engines

SAMPLES = 64  # answers to each held-out prompt when a model is scored
_TIMED = 2  # steps that are trained to know how long a step takes here


def jobs(
    task: str, model: str | None, steps: int | None, output: Path
) -> list[tuple[runs.Run, Path]]:
    """Return the two runs and their folders.

    Args:
        task: Name of the task.
        model: A folder or hub name; None is the task's tiny model.
        steps: Optimizer steps; None is what the task says.
        output: Where everything is written.

    Raises:
        ValueError: If there is no such task or model, or the task needs one.
    """
    found = find(task)
    for part in ("reward", "is_correct", "answer"):
        found.need(part, "divreg demo")
    if model is None and found.model is None:
        raise ValueError(
            f"divreg demo --task {task} needs a language model; got none. Add --model "
            f"HuggingFaceTB/SmolLM2-135M-Instruct, or a folder."
        )
    if model is not None:
        engines.parameters(model)
    given = dict(found.budget) if model else {}
    usual, rate = given.pop("steps", runs.STEPS), given.pop("learning_rate", runs.LEARNING_RATE)
    return [
        (
            runs.Run(
                replace(row, config=given), 0, steps or usual, rate, task,
                samples=SAMPLES if model else 128, model=model,
            ),
            output / row.name,
        )
        for row in (runs.PLAIN, runs.DIVERSE)
    ]  # fmt: skip


def compare(
    console: Console, both: Sequence[tuple[runs.Run, Path]], output: Path, processes: int
) -> None:
    """Say how long it takes, train both, and print their table.

    Args:
        console: Where to print.
        both: What :func:`jobs` returns.
        output: Where everything is written.
        processes: Runs at a time.

    Raises:
        ValueError: If a run cannot be built.
        KilledError: A process that trained was.
    """
    from divreg.tasks import progress

    started = time.perf_counter()
    run, _ = both[0]
    console.print(
        f"[bold]divreg demo[/bold]: {escape(run.model or 'a tiny model')} on {run.task}, trained "
        f"twice with reinforcement learning.\nBoth runs: the same base model, prompts, seed, rate "
        f"{run.learning_rate:g} and {run.steps} steps of "
        f"{run.settings['per_device_train_batch_size']} answers.",
        soft_wrap=True,
    )
    base = (
        Path(run.model)
        if run.model
        else progress.base_model(console, run.found.need("model", "divreg demo"))
    )
    for one, folder in both:
        runs.rehearse(one, base, folder)
        shutil.rmtree(folder, ignore_errors=True)
    seconds = workers.seconds_of(run, base, output / "trial", _TIMED, console)
    shutil.rmtree(output / "trial", ignore_errors=True)
    turns = len(both) / min(processes, len(both))
    console.print(
        f"About {workers.duration(seconds * turns / 3600)}, from {_TIMED} steps; longer where two "
        f"runs share a GPU or cores.\n"
    )
    lines = side_by_side.race(console, both, base, processes)
    with console.status("Scoring the base model"):
        score = runs.evaluated(run, *building.load(run, base))
    side_by_side.show(console, score, lines, [folder for _, folder in both], output)
    console.print(
        f"Took {time.perf_counter() - started:.0f} s. One seed proves little: [bold]divreg "
        f"bench[/bold] compares more, with standard errors.",
        soft_wrap=True,
    )
