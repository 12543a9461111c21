"""Runs side by side, before the user's eyes: a bar for each, then their table and their report."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape

from divreg.tasks import progress, runs, table, workers


def race(
    console: Console, jobs: Sequence[tuple[runs.Run, Path]], base: Path, processes: int
) -> list[dict[str, Any]]:
    """Train with a bar for each run and alerts above them, and return their results in order.

    Args:
        console: Where to print.
        jobs: Runs, and the folder of each.
        base: Folder of the base model.
        processes: Runs at a time.
    """
    labels = [run.row.label for run, _ in jobs]
    with progress.bar(console) as bar:
        tasks = [
            bar.add_task(f"Training: {label}", start=False, total=run.steps, note="starting")
            for label, (run, _) in zip(labels, jobs, strict=True)
        ]

        def hear(news: workers.News) -> None:
            if news.alert:
                text = f"{labels[news.job]}: {news.alert}"
                console.print(f"[yellow]{escape(text)}[/yellow]", soft_wrap=True)
            if news.step is not None:
                bar.start_task(tasks[news.job])
                bar.update(tasks[news.job], completed=news.step)
            if news.note is not None:
                bar.update(tasks[news.job], note=news.note)

        return workers.train_all(jobs, base, processes, hear)


def show(
    console: Console,
    base: table.Line,
    lines: Sequence[table.Line],
    folders: Sequence[Path],
    output: Path,
) -> None:
    """Print the table of some runs, and write the report that compares them.

    Args:
        console: Where to print.
        base: Score of the base model.
        lines: Results of the runs.
        folders: What each of them recorded.
        output: Where the report goes.
    """
    from divreg.report import write_report

    scores = [("base", base), *((runs.ROWS[line["row"]].label, line) for line in lines)]
    console.print()
    console.print(table.score_table([(label, [line]) for label, line in scores]))
    console.print(table.legend(base, lines[0]["task"]))
    report = write_report(folders, output / "report.html")
    console.print(f"Report: [bold]{escape(str(report.html))}[/bold]", soft_wrap=True)
