"""``divreg trace``: sample a lineage of checkpoints, and say at which stage the variety went."""

import argparse
import contextlib
import json
import math
import shlex
import sys
import time
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from divreg.measure.compare import cell, split_name
from divreg.measure.run import Measurement, Options, measure
from divreg.trace import engines, page, result
from divreg.trace.options import add_sampling
from divreg.trace.result import Traced

if TYPE_CHECKING:
    from divreg.tasks.task import Task
    from divreg.trace.sampling import Plan

SHOWN = ("pass_at_1", "distinct_correct_at_k", "distinct_at_k", "class_entropy")
_WHOLE = 3  # tasks whose tables are printed whole


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Give a parser the arguments of ``divreg trace``."""
    parser.add_argument(
        "stages",
        nargs="+",
        metavar="NAME=MODEL",
        help="folders or hub names, in the order of training",
    )
    parser.add_argument(
        "--task",
        nargs="+",
        default=["expressions"],
        help="by name, all, or your own by dotted path (expressions)",
    )
    parser.add_argument(
        "--embedded", action="store_true", help="five prompts a family that come along, no hub"
    )
    parser.add_argument(
        "--split", default="held_out", help="of the prompts (held_out: those to test on)"
    )
    parser.add_argument("--prompts", type=int, metavar="N", help="the first N of each task (all)")
    parser.add_argument("--samples", type=int, default=32, help="of each prompt (32)")
    parser.add_argument("--k", type=int, help="samples that counts are brought to (all)")
    parser.add_argument("--max-tokens", type=int, metavar="N", help="of a sample (the task's)")
    parser.add_argument(
        "--no-thinking",
        nargs="*",
        metavar="NAME",
        help="stages kept from reasoning by an empty block; no name: all",
    )
    parser.add_argument("--encoder", metavar="NAME", help="sentence-transformers model or folder")
    parser.add_argument(
        "--unsandboxed", action="store_true", help="run code of samples without isolation"
    )
    add_sampling(parser, "runs/trace")


def main(chosen: argparse.Namespace) -> int:
    """Run ``divreg trace`` and return its exit code: 0, or 130 interrupted.

    Raises:
        ValueError: For fewer than two stages, or an argument that cannot be.
    """
    from divreg.trace.sampling import sample

    console = Console(highlight=False, soft_wrap=True)
    stages = _stages(chosen.stages)
    _refuse(chosen, stages)
    tasks = _tasks(chosen)
    encoder: Any = None
    if chosen.encoder is not None:
        from divreg.encoders import SentenceEncoder

        encoder = SentenceEncoder(chosen.encoder)
    output = chosen.output_dir or Path("runs") / "trace"
    engine = engines.chosen(chosen.engine)
    sizes = {name: engines.parameters(model) for name, model in stages.items()}
    plans = {
        name: _plans(name, model, tasks, sizes[name], engine, chosen, output)
        for name, model in stages.items()
    }
    try:
        sample({name: list(own.values()) for name, own in plans.items()})
    except KeyboardInterrupt:
        console.print("\nInterrupted. Type the same command once more: finished prompts are kept.")
        return 130
    found = []
    for task in tasks:
        classes = None if task.answer is None else "class"
        how = Options(k=chosen.k, classes=classes, encoder=encoder, seed=chosen.seed)
        files = {name: plans[name][task.name].path for name in stages}
        measured: dict[str, Measurement] = {n: measure(path, how) for n, path in files.items()}
        found.append(result.traced(task.name, _facts(task, chosen), files, measured, chosen.seed))
    whole = result.build(found, _written(chosen, stages, sizes, engine, encoder), chosen.seed)
    _show(console, found, chosen)
    for sentence in whole["verdict"]:
        console.print(sentence, markup=False)
    (output / "trace.json").write_text(
        json.dumps(whole, indent=1, ensure_ascii=False) + "\n", encoding="utf-8"
    )
    page.write(output / "trace.html", whole)
    console.print(f"Report: {output / 'trace.html'}. Numbers: {output / 'trace.json'}. "
                  f"Samples: {output / 'samples'}")  # fmt: skip
    return 0


def _stages(words: Sequence[str]) -> dict[str, str]:
    found = dict(_stage(word) for word in words)
    if len(found) < max(2, len(words)):
        raise ValueError(
            f"divreg trace needs two stages or more, each with a name of its own; got "
            f"{', '.join(words)}. Write base=FOLDER sft=FOLDER."
        )
    return found


def _stage(word: str) -> tuple[str, str]:
    name, model = split_name(word)
    if Path(name).name != name:
        raise ValueError(f"divreg trace needs a name without '/'; got {name!r}. Write rl=FOLDER.")
    return name or Path(model).name, model


def _refuse(chosen: argparse.Namespace, stages: Mapping[str, str]) -> None:
    least = {"samples": 2, "prompts": 1, "max_tokens": 1, "batch_size": 1}
    for name, value in ((name, getattr(chosen, name)) for name in least):
        if value is not None and value < least[name]:
            flag = f"--{name.replace('_', '-')}"
            raise ValueError(f"divreg trace {flag} is too small; got {value}. Use {flag} 32.")
    if chosen.k is not None and not 2 <= chosen.k <= chosen.samples:
        raise ValueError(
            f"divreg trace --k needs 2 to {chosen.samples}, the samples; got {chosen.k}. Use --k 8."
        )
    if not chosen.temperature > 0:
        raise ValueError(
            f"divreg trace --temperature needs to be above 0, as equal samples say nothing about "
            f"variety; got {chosen.temperature:g}. Use --temperature 1."
        )
    if not 0 < chosen.top_p <= 1:
        raise ValueError(
            f"divreg trace --top-p needs to be above 0 and at most 1; got {chosen.top_p:g}. Use "
            f"--top-p 0.95."
        )
    for name in chosen.no_thinking or ():
        if name not in stages:
            raise ValueError(
                f"divreg trace --no-thinking names stages; there is no {name!r}, there are "
                f"{', '.join(stages)}. Write the tasks and stages before it."
            )


def _tasks(chosen: argparse.Namespace) -> "list[Task]":
    """Return the tasks that were asked for.

    Raises:
        ValueError: If there is no such task.
    """
    from divreg.tasks import task
    from divreg.trace import families

    found: dict[str, Task] = {}
    for name in families.NAMES if chosen.task == ["all"] else chosen.task:
        if name in families.NAMES:
            one = families.find(name, embedded=chosen.embedded, unsandboxed=chosen.unsandboxed)
        elif name in task.TASKS or "." in name:
            one = task.find(name)
        else:
            near = task.nearest(name, (*task.TASKS, *families.NAMES))
            raise ValueError(
                f"divreg trace has no task {name!r}; it has "
                f"{', '.join((*task.TASKS, *families.NAMES))}. {near}"
            )
        found[one.name] = one
    return list(found.values())


def _plans(
    name: str,
    model: str,
    tasks: "Sequence[Task]",
    parameters: int,
    engine: engines.EngineName,
    chosen: argparse.Namespace,
    output: Path,
) -> "dict[str, Plan]":
    """Return what a stage is asked, by task."""
    from divreg.tasks.sampling import Way
    from divreg.trace.sampling import plan

    found = {}
    for task in tasks:
        rows: list[Any] = list(task.dataset(chosen.split))[: chosen.prompts]
        way = Way(
            chosen.samples, chosen.max_tokens or task.max_tokens, chosen.temperature, chosen.top_p,
            task.stop, chosen.seed,
        )  # fmt: skip
        found[task.name] = plan(
            name, model, task, rows, way, output, thinking=not _is_quiet(name, chosen),
            engine=engine, rows_at_once=chosen.batch_size, parameters=parameters,
        )  # fmt: skip
    return found


def _is_quiet(name: str, chosen: argparse.Namespace) -> bool:
    """Whether a stage is kept from reasoning."""
    quiet = chosen.no_thinking
    return quiet is not None and (not quiet or name in quiet)


def _facts(task: "Task", chosen: argparse.Namespace) -> dict[str, Any]:
    """Return what is told of a task."""
    return {
        "group": task.group,
        "graded": task.is_correct is not None,
        "source": _source(task, chosen),
        "max_tokens": chosen.max_tokens or task.max_tokens,
    }


def _source(task: "Task", chosen: argparse.Namespace) -> str:
    """Return where a task's prompts come from."""
    from divreg.trace.families import FAMILIES

    if task.name not in FAMILIES:
        return "divreg"
    return "embedded" if chosen.embedded else FAMILIES[task.name].source


def _written(
    chosen: argparse.Namespace,
    stages: Mapping[str, str],
    sizes: Mapping[str, int],
    engine: str,
    encoder: Any,
) -> dict[str, Any]:
    """Return what every number was made with."""
    versions = {}
    for name in ("divreg", "torch", "transformers", "vllm"):
        with contextlib.suppress(metadata.PackageNotFoundError):
            versions[name] = metadata.version(name)
    quiet = [name for name in stages if _is_quiet(name, chosen)]
    suppressed = "suppressed" if len(quiet) == len(stages) else f"suppressed in {', '.join(quiet)}"
    return {
        "written": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
        "command": shlex.join(["divreg", *sys.argv[1:]]),
        "versions": versions,
        "stages": [
            {"name": name, "model": model, "parameters": sizes[name]}
            for name, model in stages.items()
        ],
        "sampling": {
            "temperature": chosen.temperature,
            "top_p": chosen.top_p,
            "samples": chosen.samples,
            "k": chosen.k or chosen.samples,
            "seed": chosen.seed,
            "chain_of_thought": suppressed if quiet else "kept",
            "engine": engine,
        },
        "encoder": encoder and encoder.facts,
        "reasoning": "removed",
    }


def _show(console: Console, tasks: Sequence[Traced], chosen: argparse.Namespace) -> None:
    """Print the tables of a few tasks, or one line each of many."""
    k = chosen.k or chosen.samples
    cut = "" if chosen.top_p >= 1 else f", top-p {chosen.top_p:g}"
    console.print(
        f"\n{chosen.samples} samples a prompt, temperature {chosen.temperature:g}{cut}, k = {k}. "
        f"Change: against the stage before, paired by prompt, ± half of the 95 % interval."
    )
    leads = result.leads(tasks)
    if len(tasks) > _WHOLE:
        console.print(_summary(tasks, leads))
        console.print("All numbers of every task are in the report.\n", style="dim")
        return
    for one in tasks:
        table = Table(box=None, pad_edge=False)
        prompts = next(iter(one.found.values())).facts["prompt_count"]
        table.add_column(f"{escape(one.task)}, {prompts:,} prompts", no_wrap=True)
        for name in one.found:
            table.add_column(escape(name), justify="right", no_wrap=True)
        measured = list(one.found.values())
        for name in dict.fromkeys((*SHOWN, *leads)):
            if not all(name in m.sets[0].numbers for m in measured):
                continue
            means = [m.sets[0].numbers[name].estimate for m in measured]
            table.add_row(name.replace("_at_k", f"_at_{k}"), *map(_mean, means))
            cells = [cell(step.differences[name]).rstrip("* ") for step in one.steps]
            table.add_row("", "", *cells, style="dim")
        console.print(table)
        console.print()


def _summary(tasks: Sequence[Traced], leads: Mapping[str, str]) -> Table:
    """Return a line a task: how many are right, and how different, at every stage."""
    table = Table(box=None, pad_edge=False)
    for title in ("task", "prompts", "", *next(iter(tasks)).found):
        table.add_column(escape(title), justify="left" if title in ("task", "") else "right")
    for one in tasks:
        first = True
        for name in ("pass_at_1", *leads):
            means = [m.sets[0].numbers.get(name) for m in one.found.values()]
            if None in means:
                continue
            head = (escape(one.task), f"{next(iter(one.found.values())).facts['prompt_count']:,}")
            cells = [_mean(mean.estimate) for mean in means if mean is not None]
            table.add_row(*(head if first else ("", "")), name, *cells)
            first = False
    return table


def _mean(x: float) -> str:
    """Return a mean as it is printed.

    >>> _mean(0.5), _mean(math.nan)
    ('0.50', 'none')
    """
    return "none" if math.isnan(x) else f"{x:.2f}"
