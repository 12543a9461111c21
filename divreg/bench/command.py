"""``divreg bench PLAN.yaml``: run what is missing, write the results, the table and the page."""

import argparse
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from divreg import spec
from divreg.bench import costs, page, plan, summary
from divreg.tasks import progress, runs, workers
from divreg.tasks.task import find

if TYPE_CHECKING:
    from divreg.bench.plan import Plan

COST = 0.05  # of pass@1: what the best row may give up against the first
JUDGED = 3  # seeds, from which on a row is said to help or to hurt
TRIAL, OWN_TRIAL = 12, 2  # steps trained to know how long one takes here, of a model of one's own
INTERRUPTED, FAILED = 130, 1
_LISTS = ("rows", "costs", "runs")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Give a parser the arguments of ``divreg bench``."""
    parser.add_argument("plan", metavar="PLAN.yaml", help="rows, task and budget")
    parser.add_argument("--seeds", type=int, metavar="N", help="seeds 0 to N-1 (the plan's)")
    parser.add_argument("--steps", type=int, metavar="N", help="optimizer steps (the plan's)")
    parser.add_argument(
        "--rows", metavar="A,B", help="only these rows by name, and the first (all of them)"
    )
    parser.add_argument(
        "--output-dir", type=Path, metavar="DIR", help="where runs and results go (runs/bench-TASK)"
    )
    parser.add_argument(
        "--processes",
        type=int,
        metavar="N",
        help="runs at a time (one per core; with a model of your own, one)",
    )
    parser.add_argument(
        "--results", type=Path, metavar="FILE", help="only draw table and page from these results"
    )


def main(args: argparse.Namespace) -> int:
    """Run ``divreg bench`` and return its exit code: 0, 130 interrupted, 1 a process was killed.

    Raises:
        ValueError: For a plan or an argument that cannot be.
    """
    console = Console(highlight=False, soft_wrap=True)
    own = bool(spec.read_yaml(args.plan).get("model"))
    with progress.quiet(console, alerts=False, alone=not own):
        return _run(args, console, own)


def _run(args: argparse.Namespace, console: Console, own: bool) -> int:
    whole = plan.read(args.plan)
    for name in ("seeds", "steps", "processes"):
        value = getattr(args, name)
        if value is not None and value < 1:
            raise ValueError(f"divreg bench --{name} needs at least 1; got {value}.")
        if value is not None and name != "processes":
            whole = replace(whole, **{name: value})
    chosen = whole.only(args.rows.split(",")) if args.rows else whole
    output = args.output_dir or Path("runs") / f"bench-{whole.task}"
    if args.results:
        write(read_results(args.results), output, console)
        return 0
    try:
        processes = args.processes or (1 if own else os.cpu_count() or 1)
        write(run(chosen, whole, output, processes, console), output, console)
    except KeyboardInterrupt:
        console.print("\nInterrupted. Type the same command once more: finished runs are kept.")
        return INTERRUPTED
    except workers.KilledError as killed:
        console.print(
            f"\n{killed} Finished runs are kept. Try one at a time: "
            f"divreg bench {args.plan} --processes 1"
        )
        return FAILED
    return 0


def run(
    chosen: "Plan", whole: "Plan", output: Path, processes: int, console: Console
) -> dict[str, Any]:
    """Train what has no result yet; ``results.json`` grows with every run that ends.

    Args:
        chosen: What is run now.
        whole: The plan it is a part of: results of its other rows and seeds are kept.
        output: Where runs and results go.
        processes: Runs at a time.
        console: Where to print.

    Returns:
        All results of the plan.
    """
    base = (
        Path(chosen.model)
        if chosen.model
        else progress.base_model(console, find(chosen.task).need("model", "divreg bench"))
    )
    jobs = [(job, output / "runs" / f"{job.row.name}-{job.seed}") for job in chosen.runs()]
    found, priced = _known(whole, base, output)
    for job, folder in jobs:
        line = found.get(_key(job)) or runs.finished(job, base, folder)
        if line:
            found[_key(job)] = line
    todo = [(job, folder) for job, folder in jobs if _key(job) not in found]
    console.print(
        f"{len(chosen.rows)} rows x {chosen.seeds} seeds on {chosen.task}, {chosen.steps} steps "
        f"each: {len(jobs)} runs, {len(todo)} to do. Results: {output / 'results.json'}"
    )
    if todo:
        with console.status("Building every row once"):
            for job in {job.row.name: job for job, _ in todo}.values():
                runs.rehearse(job, base, output / "rehearsal")
        seconds, told = _seconds(jobs, todo, base, output, console)
        needed = workers.duration(len(todo) * seconds / 3600 / min(processes, len(todo)))
        console.print(
            f"About {needed} with {processes} at a time, from {told}. Ctrl-C at any time: finished "
            f"runs are kept."
        )
        with progress.bar(console) as bar:
            task = bar.add_task("Runs", total=len(jobs), completed=len(jobs) - len(todo), note="")

            def hear(news: workers.News) -> None:
                if line := news.line:
                    found[_key(todo[news.job][0])] = line
                    _save(whole, found, priced, output)
                    note = f"{line['row']}, seed {line['seed']}: pass@1 {line['pass_at_1']:.2f}, "
                    note += f"{line['distinct_correct']:.1f} different"
                    bar.update(task, advance=1, note=note)

            workers.train_all(todo, base, processes, hear)
    rows = [whole.run(row, 0) for row in chosen.rows if row.trained]
    if chosen.costs and any(row.row.name not in priced for row in rows):
        with progress.bar(console) as bar:
            task = bar.add_task("Cost of a step", total=costs.ROUNDS * len(rows), note="")
            lines = costs.measure(rows, base, lambda: bar.update(task, advance=1))
            priced |= {line["row"]: line for line in lines}
    return _save(whole, found, priced, output)


def _seconds(
    jobs: Sequence[tuple[runs.Run, Path]],
    todo: Sequence[tuple[runs.Run, Path]],
    base: Path,
    output: Path,
    console: Console,
) -> tuple[float, str]:
    """Return about how long a run takes here, and what that was told from."""
    trained = [(job, folder) for job, folder in jobs if job.row.trained]
    lines = [runs.finished(job, base, folder) for job, folder in trained]
    took = [line["seconds"] for line in lines if line and "seconds" in line]
    if took:
        return sum(took) / len(took), f"{len(took)} finished before"
    timed = next((job for job, _ in todo if job.row.trained), todo[0][0])
    steps = OWN_TRIAL if timed.model else TRIAL
    seconds = workers.seconds_of(timed, base, output / "trial", steps, console)
    return seconds, f"{steps} steps of the first row to do"


def write(found: Mapping[str, Any], output: Path, console: Console) -> None:
    """Write ``table.md`` and ``pareto.html`` from results, and say what they say."""
    rows = summary.summarise(found)
    k = found["runs"][0]["k"]
    says = verdict(rows, k)
    title = f"{len(rows)} ways to train on {found['task']}"
    budget = (
        f"{found['steps']} steps at {found['learning_rate']:g}; held-out prompts: "
        f"{found['runs'][0]['targets']}, {found['runs'][0]['samples']} answers to each. "
        f"± is a standard error over seeds. More: than {rows[0].label} with the same seed."
    )
    if rows[0].nats:
        budget += " Nats: what a held-out answer costs, its end of text included."
    output.mkdir(parents=True, exist_ok=True)
    (output / "table.md").write_text(markdown(rows, k), encoding="utf-8")
    html = output / "pareto.html"
    html.write_text(page.render(title, [*says, budget], rows, k), encoding="utf-8")
    console.print("\n".join(["", *says]))
    console.print(f"Table: {output / 'table.md'}\nPage: {html}")


def verdict(rows: Sequence[summary.Summary], k: int, cost: float = COST) -> list[str]:
    """Say which row keeps most, against the best baseline, in one sentence each.

    Where some rows have the seeds to be judged, only those can be the best.

    Args:
        rows: The results; the first is what the others are compared with.
        k: Budget of the different right answers.
        cost: What the best may give up of the first row's pass@1.
    """
    first = rows[0]
    judged = [r for r in rows[1:] if r.seeds >= JUDGED]
    among = [first, *judged] if any(not r.baseline for r in judged) else rows
    kept = [r for r in among if r.right.value >= first.right.value - cost]
    methods = [r for r in kept if r is not first and not r.baseline]
    if not methods:
        return [f"No method stays within {cost:g} of the pass@1 of {first.label}."]
    best = max(methods, key=lambda r: r.distinct.value)
    other = max((r for r in kept if r not in methods), key=lambda r: r.distinct.value)
    ratio = best.distinct.value / max(other.distinct.value, 1e-9)
    sentences = [
        f"Of all methods that cost at most {cost:g} of pass@1, {best.label} keeps most different "
        f"right answers: {best.distinct.show()} in {k} at pass@1 {best.right.show(3)}. "
        f"{first.label}: {first.distinct.show()} at {first.right.show(3)}.",
        f"The best of what a user would take instead is {other.label}: {other.distinct.show()} at "
        f"{other.right.show(3)}. {best.label} keeps {ratio:.2f} times as many.",
    ]
    everything = [r for r in judged if not r.baseline]
    idle = [r.label for r in everything if r.gains and _within(r.gains[1])]
    if idle:
        sentences.append(
            f"Within two standard errors of {first.label} in different answers, so no help here: "
            f"{', '.join(idle)}."
        )
    worse = [r.label for r in everything if r.gains and _below(r.gains[0])]
    if worse:
        sentences.append(
            f"Right less often than {first.label} by more than two standard errors: "
            f"{', '.join(worse)}."
        )
    for name in first.nats:
        likelier = [
            r.label for r in everything if name in r.more_nats and _below(r.more_nats[name])
        ]
        if likelier:
            sentences.append(
                f"Held-out answers ({name}) are likelier than under {first.label} by more than two "
                f"standard errors: {', '.join(likelier)}."
            )
    few = sum(r.seeds < JUDGED for r in rows[1:])
    if few:
        sentences.append(
            f"{few} rows have fewer than {JUDGED} seeds: whether they help or hurt is not said."
        )
    return sentences


def markdown(rows: Sequence[summary.Summary], k: int) -> str:
    """Return the table for a README; rows on the front in bold."""
    titles = page.headings(rows, k)
    lines = ["| " + " | ".join(titles) + " |", "|" + "---|" * len(titles)]
    for number, row in enumerate(rows, 1):
        parts = page.cells(number, row, rows[0])
        parts[1] = f"**{parts[1]}**" if row.on_front else parts[1]
        lines.append("| " + " | ".join(parts) + " |")
    return "\n".join(lines) + "\n"


def read_results(path: Path) -> dict[str, Any]:
    """Read ``results.json``.

    Raises:
        ValueError: If it is no such file.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise ValueError(
            f"divreg bench needs the results.json of a benchmark; got {path} ({error}). "
            f"Remove it, or give the path of another."
        ) from error
    if not isinstance(found, dict) or not found.get("runs"):
        raise ValueError(f"divreg bench needs results with runs; {path} has none. Remove it.")
    return found


Found = dict[tuple[int, str], Mapping[str, Any]]
"""Lines of the results by seed and row."""
Costs = dict[str, Mapping[str, Any]]
"""Lines of the costs by row."""


def _key(job: runs.Run) -> tuple[int, str]:
    return job.seed, job.row.name


def _known(whole: "Plan", base: Path, output: Path) -> tuple[Found, Costs]:
    """Return the runs and costs of earlier results that the plan would make, asked for or not.

    A hash knows settings, seed and base model: a line of other settings is never taken.

    Raises:
        ValueError: If the results there are those of another budget, which would be lost.
    """
    path = output / "results.json"
    if not path.exists():
        return {}, {}
    results = read_results(path)
    for name, value in whole.budget.items():
        if results.get(name) != value:
            raise ValueError(
                f"{path} holds runs with {name}={results.get(name)!r}; got {value!r}. Keep them: "
                f"name another --output-dir."
            )
    rows = {row.name: row for row in whole.rows}

    def ours(line: Mapping[str, Any]) -> runs.Run | None:
        row = rows.get(line["row"])
        job = row and whole.run(row, line.get("seed", 0))
        return job if job and job.hash(base.name) == line["hash"] else None

    return (
        {_key(job): line for line in results["runs"] if (job := ours(line))},
        {line["row"]: line for line in results.get("costs", ()) if ours(line)},
    )


def _save(whole: "Plan", found: Found, priced: Costs, output: Path) -> dict[str, Any]:
    """Write the results so far, seed by seed in the order of the rows, and return them."""
    rows = [
        {
            "name": row.name,
            "label": row.label,
            "baseline": row.name in whole.baselines,
            "config": row.config,
            "divreg": row.divreg,
            **({"dataset": row.dataset} if row.dataset else {}),
            **({} if row.trained else {"trained": False}),
        }
        for row in whole.rows
    ]
    order = {row.name: i for i, row in enumerate(whole.rows)}
    lines = [found[key] for key in sorted(found, key=lambda key: (key[0], order[key[1]]))]
    results = {**whole.budget, "rows": rows, "costs": [], "runs": lines}
    results["costs"] = [priced[row.name] for row in whole.rows if row.name in priced]
    output.mkdir(parents=True, exist_ok=True)
    part = output / "results.part"
    part.write_text(_lines(results), encoding="utf-8")
    part.rename(output / "results.json")
    return results


def _lines(results: Mapping[str, Any]) -> str:
    """Write JSON with one line for each row and run, so that a diff shows what came in."""
    parts = []
    for key, value in results.items():
        items = ",\n".join(f"  {json.dumps(item)}" for item in value) if key in _LISTS else ""
        parts.append(f'"{key}": [\n{items}\n]' if items else f'"{key}": {json.dumps(value)}')
    return "{\n" + ",\n".join(parts) + "\n}\n"


def _within(gain: summary.Mean) -> bool:
    return gain.error is not None and abs(gain.value) <= 2 * gain.error


def _below(gain: summary.Mean) -> bool:
    return gain.error is not None and gain.value < -2 * gain.error
