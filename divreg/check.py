"""``divreg check``: how many different right answers a model still has. No run, no training.

The model is asked for one kind of bird, of fruit, of 38 other things, many times each. WordNet says
which answers are right and which of them are the same (:mod:`divreg.tasks.kinds`), so that what is
counted is nobody's opinion.
"""

import argparse
import dataclasses
import difflib
import json
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from divreg.measure import generations, page
from divreg.measure.compare import compare, split_name, verdict
from divreg.measure.run import Measurement, Options, measure
from divreg.metrics.interval import Interval
from divreg.trace import engines

if TYPE_CHECKING:
    from divreg.trace.sampling import Plan

CATEGORIES = 40  # that are asked for where nothing else is said
ENCODER = "sentence-transformers/all-MiniLM-L6-v2"
SHOWN = {
    "pass_at_1": "right answers, share",
    "distinct_correct_at_k": "different right answers",
    "different_pairs_correct": "two right answers differ, share",
    "class_entropy": "entropy of the answers, nats",
    "branching_factor": "branching factor",
    "vendi": "Vendi score",
}
_PROBE = 2048  # rows of the matrix product that the estimate times


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Give a parser the arguments of ``divreg check``."""
    parser.add_argument(
        "models",
        nargs="+",
        metavar="[NAME=]MODEL",
        help="a folder or a hub name; with two or more, the first is what others are held to",
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
    parser.add_argument("--temperature", type=float, default=1.0, help="of sampling (1)")
    parser.add_argument("--top-p", type=float, default=1.0, help="of sampling (1)")
    parser.add_argument(
        "--encoder", default=ENCODER, metavar="NAME", help="of the Vendi score, or none (MiniLM)"
    )
    parser.add_argument(
        "--engine",
        choices=("auto", "transformers", "vllm"),
        default="auto",
        help="auto: vLLM where it is installed and there is a GPU",
    )
    parser.add_argument(
        "--batch-size", type=int, default=256, metavar="N", help="samples at once (256)"
    )
    parser.add_argument("--seed", type=int, default=0, help="of sampling and intervals (0)")
    parser.add_argument(
        "--output-dir", type=Path, metavar="DIR", help="where samples and numbers go (runs/check)"
    )


def main(chosen: argparse.Namespace) -> int:
    """Run ``divreg check`` and return its exit code: 0, or 130 interrupted.

    Raises:
        ValueError: If an argument cannot be, or a model cannot be asked.
    """
    from divreg.trace.sampling import sample

    console = Console(highlight=False, soft_wrap=True)
    models = _models(chosen.models)
    _refuse(chosen)
    names = _categories(chosen.categories)
    encoder = _encoder(chosen.encoder, console)
    engine = engines.chosen(chosen.engine)
    output = chosen.output_dir or Path("runs") / "check"
    plans = {name: _plan(name, model, names, engine, chosen, output)
             for name, model in models.items()}  # fmt: skip
    _say_what_comes(console, plans, chosen)
    started = time.monotonic()
    try:
        sample({name: [plan] for name, plan in plans.items()})
    except KeyboardInterrupt:
        console.print("\nInterrupted. Type the same command once more: finished prompts are kept.")
        return 130
    took = time.monotonic() - started
    how = Options(classes="class", encoder=encoder, seed=chosen.seed)
    found = {name: measure(plan.path, how) for name, plan in plans.items()}
    favourites = {name: _favourites(plan) for name, plan in plans.items()}
    _show(console, found, favourites, plans, chosen)
    path = output / "check.json"
    path.write_text(json.dumps(_result(found, favourites, plans), indent=1) + "\n", "utf-8")
    console.print(f"{took:.0f} s. Numbers: {path}. Answers: {output / 'samples'}", style="dim")
    return 0


def _models(words: Sequence[str]) -> dict[str, str]:
    found = {}
    for word in words:
        name, model = split_name(word)
        found[name or Path(model).name] = model
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

    known = kinds.categories()
    if wanted == ["all"]:
        return known
    if wanted is None:
        halves = [kinds.categories(split)[: CATEGORIES // 2] for split in ("train", "held_out")]
        return [name for half in halves for name in half]
    for name in wanted:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            cure = f"Did you mean {near[0]!r}?" if near else f"It has {', '.join(known)}."
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
        console.print(
            f"No Vendi score: {error} Or name a folder: --encoder FOLDER.",
            style="yellow",
            markup=False,
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
    task = dataclasses.replace(KINDS, name="kinds")
    way = Way(
        chosen.samples, task.max_tokens, chosen.temperature, chosen.top_p, task.stop, chosen.seed
    )
    return plan(
        name, model, task, rows, way, output, thinking=True, engine=engine,
        rows_at_once=chosen.batch_size, parameters=parameters,
    )  # fmt: skip


def _say_what_comes(
    console: Console, plans: "Mapping[str, Plan]", chosen: argparse.Namespace
) -> None:
    """Print what will be asked, and about how long it takes on this machine."""
    prompts = len(next(iter(plans.values())).rows)
    seconds = sum(_seconds(plan) for plan in plans.values() if not plan.path.exists())
    console.print(
        f"{prompts} categories x {chosen.samples} samples of {len(plans)} "
        f"model{'s' if len(plans) > 1 else ''}: about {_minutes(seconds)}."
    )


def _minutes(seconds: float) -> str:
    """Return a time as a reader says it.

    >>> _minutes(0), _minutes(44), _minutes(140)
    ('no time, they lie there', '40 seconds', '2 minutes')
    """
    if not seconds:
        return "no time, they lie there"
    if seconds < 90:
        return f"{max(10, round(seconds, -1)):.0f} seconds"
    return f"{seconds / 60:.0f} minutes"


def _seconds(plan: "Plan") -> float:
    """Estimate what sampling takes, from the speed of one matrix product.

    A token costs two operations a parameter; small batches, the cache and the drawing cost about
    as much again, and loading a second for each hundred million parameters.
    """
    import torch

    from divreg.trace.engines import place

    device, dtype = place()
    a = torch.ones(_PROBE, _PROBE, device=device, dtype=dtype)
    (a @ a).sum().item()
    started = time.perf_counter()
    (a @ a).sum().item()
    speed = 2 * _PROBE**3 / (time.perf_counter() - started)
    parameters = plan.facts["parameters"]
    tokens = len(plan.rows) * (plan.way.samples * plan.way.max_tokens + 64)
    return 2 * 2 * parameters * tokens / speed + parameters / 1e8


def _favourites(plan: "Plan") -> dict[str, list[tuple[str, int, bool]]]:
    """Return the answers to every category, the most frequent first: text, count, right."""
    counts: dict[str, Counter[str]] = {}
    said: dict[str, dict[str, tuple[str, bool]]] = {}
    for sample in generations.read([plan.path], generations.Problems()):
        key = str(sample.fields["class"])
        counts.setdefault(sample.prompt, Counter())[key] += 1
        text = " ".join(sample.text.split()) or "(nothing)"
        own = said.setdefault(sample.prompt, {})
        own.setdefault(key, (text, bool(sample.fields["correct"])))
    from divreg.trace.sampling import asked

    names = {asked(row): row["category"] for row in plan.rows}
    return {
        names[prompt]: [(said[prompt][key][0], n, said[prompt][key][1])
                        for key, n in own.most_common()]
        for prompt, own in counts.items()
    }  # fmt: skip


def _show(
    console: Console,
    found: Mapping[str, Measurement],
    favourites: Mapping[str, dict[str, list[tuple[str, int, bool]]]],
    plans: "Mapping[str, Plan]",
    chosen: argparse.Namespace,
) -> None:
    for name, plan in plans.items():
        style = json.loads(plan.path.read_text(encoding="utf-8").partition("\n")[0])["style"]
        if chosen.style == "chat" and style != "chat":
            console.print(
                f"{name} has no chat template: it was asked in the few-shot style.",
                style="yellow",
                markup=False,
            )
    console.print(_by_category(found, favourites, plans))
    console.print()
    console.print(_overall(found, chosen.samples))
    console.print("±: half of the 95 % interval over categories.\n", style="dim")
    first, *others = found
    for name in [first] if not others else []:
        console.print(_sentence(name, found[name], favourites[name], chosen.samples), markup=False)
    for name in others:
        change = compare({first: found[first], name: found[name]}, name, chosen.seed)
        for sentence in verdict(change, chosen.samples):
            console.print(sentence, markup=False)


def _by_category(
    found: Mapping[str, Measurement],
    favourites: Mapping[str, dict[str, list[tuple[str, int, bool]]]],
    plans: "Mapping[str, Plan]",
) -> Table:
    """Return a line a category: right, different right, and what is said most."""
    from divreg.trace.sampling import asked

    table = Table(box=None, pad_edge=False)
    table.add_column("", no_wrap=True)
    for name in found:
        own = f" {escape(name)}" if len(found) > 1 else ""
        table.add_column(f"right{own}", justify="right")
        table.add_column(f"different{own}", justify="right")
    table.add_column(f"said most{f' by {escape(list(found)[-1])}' if len(found) > 1 else ''}")
    last = list(found)[-1]
    rows = []
    for row in plans[last].rows:
        cells, category = [], row["category"]
        for measured in found.values():
            numbers = {p.prompt: p.numbers for p in measured.sets[0].prompts}[asked(row)]
            cells += [numbers["pass_at_1"] or 0.0, numbers["distinct_correct_at_k"] or 0.0]
        said = favourites[last].get(category, [])[:3]
        words = ", ".join(f"{escape(text[:24])} {n}{'' if right else ' (wrong)'}"
                          for text, n, right in said)  # fmt: skip
        shown = [f"{x:.2f}" if i % 2 == 0 else f"{x:.1f}" for i, x in enumerate(cells)]
        rows.append((cells[-1], (category, *shown, words)))
    for _, cells in sorted(rows, key=lambda row: row[0]):
        table.add_row(*cells)
    return table


def _overall(found: Mapping[str, Measurement], samples: int) -> Table:
    table = Table(box=None, pad_edge=False)
    table.add_column("mean over categories", no_wrap=True)
    for name in found:
        table.add_column(escape(name), justify="right", no_wrap=True)
    for number, words in SHOWN.items():
        values = [measured.sets[0].numbers.get(number) for measured in found.values()]
        known = [x for x in values if x is not None]
        if len(known) == len(values):
            words = f"{words} in {samples}" if number == "distinct_correct_at_k" else words
            table.add_row(words, *map(_cell, known))
    return table


def _cell(x: Interval) -> str:
    return f"{x.estimate:.2f} ±{(x.high - x.low) / 2:.2f}"


def _sentence(
    name: str,
    measured: Measurement,
    favourites: Mapping[str, list[tuple[str, int, bool]]],
    samples: int,
) -> str:
    """Return what one model does, in words, with the category in which it says least."""
    numbers = measured.sets[0].numbers
    right, different = numbers["pass_at_1"], numbers["distinct_correct_at_k"]
    most = max(
        ((category, *said[0]) for category, said in favourites.items() if said and said[0][2]),
        key=lambda row: row[2],
        default=None,
    )
    told = (
        f" Asked for a kind of {most[0]} {samples} times, it says {most[1]!r} {most[2]} times."
        if most
        else ""
    )
    return (
        f"{name}: {right.estimate:.0%} of the answers are right, and among {samples} there are "
        f"{different.estimate:.1f} different right ones ({different.low:.1f} to "
        f"{different.high:.1f}).{told}"
    )


def _result(
    found: Mapping[str, Measurement],
    favourites: Mapping[str, dict[str, list[tuple[str, int, bool]]]],
    plans: "Mapping[str, Plan]",
) -> dict[str, Any]:
    return {
        "divreg_check": 1,
        "models": {
            name: {
                "model": plans[name].model,
                **measured.facts,
                "path": plans[name].path.name,
                "numbers": page.finites(measured.sets[0].numbers),
                "categories": [
                    {"prompt": p.prompt, "n": p.n, **p.numbers} for p in measured.sets[0].prompts
                ],
                "answers": favourites[name],
            }
            for name, measured in found.items()
        },
    }
