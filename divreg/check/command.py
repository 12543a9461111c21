"""``divreg check``: how many different right answers a model still has. No run, no training.

The model is asked for one kind of bird, of fruit, of 38 other things, many times each. WordNet says
which answers are right and which of them are the same (:mod:`divreg.tasks.kinds`), so that what is
counted is nobody's opinion.
"""

import argparse
import json
import os
import shlex
import socket
import sys
import time
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from rich.console import Console

from divreg.check import tell
from divreg.check.tell import Checked
from divreg.measure.compare import split_name
from divreg.measure.run import Options, measure
from divreg.trace import engines, page, result
from divreg.trace.options import add_sampling

if TYPE_CHECKING:
    from divreg.trace.sampling import Plan

CATEGORIES = 40  # that are asked for where nothing else is said
ENCODER = "sentence-transformers/all-MiniLM-L6-v2"
_PATIENCE = 3  # seconds for the hub to answer
_PROBE = 1024  # rows of the matrix product that the estimate times


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Give a parser the arguments of ``divreg check``."""
    parser.add_argument(
        "models",
        nargs="+",
        metavar="[NAME=]MODEL",
        help="a folder or a hub name; of two or more, the first is what others are held to",
    )
    parser.add_argument(
        "--categories",
        nargs="+",
        metavar="NAME",
        help=f"bird, fruit, ... or all ({CATEGORIES} of them, half of them those to train on)",
    )
    parser.add_argument("--samples", type=int, default=32, help="of each category (32)")
    parser.add_argument(
        "--style",
        choices=("chat", "few-shot", "short"),
        default="chat",
        help="how a category is asked for (chat; few-shot for a model without chat template)",
    )
    parser.add_argument(
        "--encoder", default=ENCODER, metavar="NAME", help="of the Vendi score, or none (MiniLM)"
    )
    add_sampling(parser, "runs/check")


def main(chosen: argparse.Namespace) -> int:
    """Run ``divreg check`` and return its exit code: 0, or 130 interrupted.

    Raises:
        ValueError: If an argument cannot be, or a model cannot be asked.
    """
    from divreg.trace.sampling import sample

    _give_up_on_an_unreachable_hub()
    console = Console(highlight=False)
    models = _models(chosen.models)
    _refuse(chosen)
    names = _categories(chosen.categories)
    engine = engines.chosen(chosen.engine)
    output = chosen.output_dir or Path("runs") / "check"
    plans = {name: _plan(name, model, names, engine, chosen, output)
             for name, model in models.items()}  # fmt: skip
    for name, plan in plans.items():
        if chosen.style == "chat" and not engines.has_template(plan.model):
            tell.no_template(console, name)
    encoder = _encoder(chosen.encoder, console)
    _say_what_comes(console, plans, chosen)
    started = time.monotonic()
    try:
        sample({name: [plan] for name, plan in plans.items()})
    except KeyboardInterrupt:
        console.print("\nInterrupted. Type the same command once more: finished prompts are kept.")
        return 130
    took = time.monotonic() - started
    how = Options(classes="class", encoder=encoder, seed=chosen.seed)
    found = {
        name: Checked(plan, measure(plan.path, how), tell.favourites(plan))
        for name, plan in plans.items()
    }
    tell.show(console, found, chosen.samples, chosen.seed)
    written = _written(plans, engine, encoder, chosen)
    tell.write(output / "check.json", found, written)
    report = ""
    if len(found) > 1:
        _write_page(output / "check.html", found, written, chosen.seed)
        report = f"Report: {output / 'check.html'}. "
    console.print(
        f"{took:.0f} s. {report}Numbers: {output / 'check.json'}. Answers: {output / 'samples'}",
        style="dim",
        soft_wrap=True,
    )
    return 0


def _give_up_on_an_unreachable_hub() -> None:
    """Look for the hub once, for three seconds: its client would try five times for every file."""
    proxies = ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy")
    if "HF_HUB_OFFLINE" in os.environ or any(name in os.environ for name in proxies):
        return
    hub = urlsplit(os.environ.get("HF_ENDPOINT", "https://huggingface.co"))
    port = hub.port or (80 if hub.scheme == "http" else 443)
    try:
        socket.create_connection((hub.hostname or "", port), timeout=_PATIENCE).close()
    except OSError:
        os.environ["HF_HUB_OFFLINE"] = "1"


def _models(words: Sequence[str]) -> dict[str, str]:
    found = {}
    for word in words:
        name, model = split_name(word)
        name = name or Path(model).name
        if Path(name).name != name:
            raise ValueError(
                f"divreg check needs a name without '/'; got {name!r}. Write tuned=FOLDER."
            )
        found[name] = model
    if len(found) < len(words):
        raise ValueError(
            f"divreg check needs a name of its own for every model; got {', '.join(words)}. Write "
            f"base=FOLDER tuned=FOLDER."
        )
    return found


def _refuse(chosen: argparse.Namespace) -> None:
    for name, least in (("samples", 2), ("batch_size", 1)):
        if getattr(chosen, name) < least:
            flag = f"--{name.replace('_', '-')}"
            raise ValueError(
                f"divreg check {flag} needs at least {least}; got {getattr(chosen, name)}. Use "
                f"{flag} 32."
            )
    if not chosen.temperature > 0 or not 0 < chosen.top_p <= 1:
        raise ValueError(
            f"divreg check needs --temperature above 0 and --top-p above 0 and at most 1; got "
            f"{chosen.temperature:g} and {chosen.top_p:g}. Leave them out for 1 and 1."
        )


def _categories(wanted: Sequence[str] | None) -> list[str]:
    """Return the categories that are asked for.

    Raises:
        ValueError: If there is no such category.
    """
    from divreg.tasks import kinds
    from divreg.tasks.task import nearest

    known = kinds.categories()
    if wanted == ["all"]:
        return known
    if wanted is None:
        halves = [kinds.categories(split)[: CATEGORIES // 2] for split in ("train", "held_out")]
        return [name for half in halves for name in half]
    for name in wanted:
        if name not in known:
            cure = nearest(name, known) or f"It has {', '.join(known)}."
            raise ValueError(f"divreg check has no category {name!r}. {cure}")
    return list(dict.fromkeys(wanted))


def _encoder(name: str, console: Console) -> Any:
    """Load what the Vendi score embeds with; say so where the usual one is not to be had.

    Raises:
        ValueError: If another one was named, and cannot be loaded.
    """
    if name == "none":
        return None
    from divreg.encoders import SentenceEncoder

    try:
        return SentenceEncoder(name)
    except ValueError as error:
        if name != ENCODER:
            raise
        fact = str(error).partition(". ")[0]
        console.print(
            f"No Vendi score: {fact}. Name a folder, or leave it out: --encoder none.",
            style="yellow",
            markup=False,
            soft_wrap=True,
        )
        return None


def _plan(
    name: str,
    model: str,
    names: Sequence[str],
    engine: engines.EngineName,
    chosen: argparse.Namespace,
    output: Path,
) -> "Plan":
    from divreg.tasks import kinds
    from divreg.tasks.sampling import Way
    from divreg.tasks.task import KINDS
    from divreg.trace.sampling import plan

    parameters = engines.parameters(model)
    rows: list[Any] = list(kinds.dataset(style=chosen.style, names=names))
    way = Way(
        chosen.samples, KINDS.max_tokens, chosen.temperature, chosen.top_p, KINDS.stop, chosen.seed
    )
    return plan(
        name, model, KINDS, rows, way, output, thinking=True, engine=engine,
        rows_at_once=chosen.batch_size, parameters=parameters,
    )  # fmt: skip


def _say_what_comes(console: Console, plans: "dict[str, Plan]", chosen: argparse.Namespace) -> None:
    """Print what will be asked, and about how long it takes on this machine."""
    prompts = len(next(iter(plans.values())).rows)
    seconds = sum(_seconds(plan) for plan in plans.values() if not plan.path.exists())
    console.print(
        f"{prompts} categories x {chosen.samples} samples of {len(plans)} "
        f"model{'s' if len(plans) > 1 else ''}: {_minutes(seconds)}."
    )


def _minutes(seconds: float) -> str:
    """Return a time as a reader says it.

    >>> _minutes(0), _minutes(44), _minutes(140)
    ('the answers are there already', 'up to 40 seconds', 'up to 2 minutes')
    """
    if not seconds:
        return "the answers are there already"
    if seconds < 90:
        return f"up to {max(10, round(seconds, -1)):.0f} seconds"
    return f"up to {seconds / 60:.0f} minutes"


def _seconds(plan: "Plan") -> float:
    """Estimate what sampling takes, from the speed of one matrix product.

    A token costs two operations a parameter; small batches, attention and drawing cost about three
    times as much again, and loading a second for each hundred million parameters.
    """
    import torch

    device, dtype = engines.place()
    a = torch.ones(_PROBE, _PROBE, device=device, dtype=dtype)
    (a @ a).sum().item()
    started = time.perf_counter()
    (a @ a).sum().item()
    speed = 2 * _PROBE**3 / (time.perf_counter() - started)
    parameters = plan.facts["parameters"]
    tokens = len(plan.rows) * (plan.way.samples * plan.way.max_tokens + 64)
    return 4 * 2 * parameters * tokens / speed + parameters / 1e8


def _written(
    plans: "dict[str, Plan]", engine: str, encoder: Any, chosen: argparse.Namespace
) -> dict[str, Any]:
    """Return what every number was made with."""
    return {
        "written": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
        "command": shlex.join(["divreg", *sys.argv[1:]]),
        "versions": {n: metadata.version(n) for n in ("divreg", "torch", "transformers")},
        "stages": [
            {"name": name, "model": plan.model, "parameters": plan.facts["parameters"]}
            for name, plan in plans.items()
        ],
        "sampling": {
            "temperature": chosen.temperature,
            "top_p": chosen.top_p,
            "samples": chosen.samples,
            "k": chosen.samples,
            "seed": chosen.seed,
            "chain_of_thought": "kept",
            "engine": engine,
        },
        "encoder": encoder and encoder.facts,
        "reasoning": "removed",
    }


def _write_page(path: Path, found: dict[str, Checked], written: dict[str, Any], seed: int) -> None:
    """Write the page of a trace whose stages are the models."""
    plan = next(iter(found.values())).plan
    facts = {
        "group": plan.task.group,
        "graded": True,
        "source": "divreg",
        "max_tokens": plan.way.max_tokens,
    }
    files = {name: checked.plan.path for name, checked in found.items()}
    measured = {name: checked.measured for name, checked in found.items()}
    one = result.traced(plan.task.name, facts, files, measured, seed)
    page.write(path, json.loads(json.dumps(result.build([one], written, seed))))
