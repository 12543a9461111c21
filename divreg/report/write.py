"""Make the report of one or more runs: an HTML page, its JSON, and a summary for the console."""

import json
import os
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from divreg.history import open_run
from divreg.records import plain
from divreg.report.inert import visible
from divreg.report.offline import replace_file

MOST = 4  # runs in one page: colours and dashes that can be told apart


@dataclass(frozen=True)
class ReportResult:
    """What :func:`write_report` wrote and found.

    Attributes:
        html: The page.
        json: Everything the page says, as data.
        verdicts: One word per run, in the order given.
        exit_code: 0, or 3 if a run collapsed, exploded or has a seed bug.
        summary: A few lines for the console.
    """

    html: Path
    json: Path
    verdicts: tuple[str, ...]
    exit_code: int
    summary: str


def write_report(
    paths: Sequence[str | os.PathLike[str]] | str | os.PathLike[str],
    output: str | os.PathLike[str] | None = None,
    *,
    correct: str | None = None,
) -> ReportResult:
    """Write the report of one run, or of several beside each other.

    Args:
        paths: The ``output_dir`` of each run, ours or a plain TRL run's.
        output: The HTML file; ``report.json`` takes its name with another ending. By default
            ``divreg/report.html`` in the first directory.
        correct: ``COLUMN>=X``: what counts as correct in a plain TRL run.

    Raises:
        ValueError: A directory is missing, empty or foreign, or there are too many.
    """
    from divreg.report.build import build
    from divreg.report.page import render

    given = [paths] if isinstance(paths, (str, os.PathLike)) else list(paths)
    if not 1 <= len(given) <= MOST:
        raise ValueError(
            f"divreg report needs 1 to {MOST} directories; got {len(given)}. "
            "Leave out the runs that matter least."
        )
    folders = [Path(path) for path in given]
    html = _place(output, folders[0])
    histories = [open_run(path, correct) for path in folders]
    report = build(histories, _command(folders, output, correct))
    data = html.with_suffix(".json")
    text = json.dumps(plain(report), ensure_ascii=True, allow_nan=False, indent=1)
    cure = "Name another file: --output F."
    replace_file(html, render(report), "divreg report", cure)
    replace_file(data, text, "divreg report", cure)
    return ReportResult(
        html=html,
        json=data,
        verdicts=tuple(run["verdict"]["word"] for run in report["runs"]),
        exit_code=max(run["verdict"]["exit_code"] for run in report["runs"]),
        summary=_summary(report, html),
    )


def _place(output: str | os.PathLike[str] | None, first: Path) -> Path:
    """The HTML file: as named, in the folder that is named, or beside the records."""
    if output is None:
        return first / "divreg" / "report.html"
    html = Path(output)
    if html.is_dir():
        return html / "report.html"
    if html.suffix == ".json":
        raise ValueError(
            f"--output needs an HTML file; got {output}. Type {html.with_suffix('.html')}: the "
            "JSON is written beside it."
        )
    return html


def _command(folders: list[Path], output: Any, correct: str | None) -> str:
    words = ["divreg", "report", *map(str, folders)]
    words += ["--output", str(output)] if output is not None else []
    words += ["--correct", correct] if correct is not None else []
    return shlex.join(words)


def _summary(report: dict[str, Any], html: Path) -> str:
    lines = []
    for run in report["runs"]:
        verdict = run["verdict"]
        lines.append(f"{run['name']}: {verdict['word']}. {verdict['means']}")
        lines.append(f"  {verdict['sentence']}")
        if run["alerts"]:
            last, count = run["alerts"][-1], len(run["alerts"])
            alerts = "1 alert" if count == 1 else f"{count} alerts, the last"
            lines.append(f"  {alerts} at step {last['step']}: {last.get('message', '')}")
        lines += [f"  missing: {says}" for says in run["missing"]]
        lines += [f"  note: {says}" for says in run["notes"]]
        if run["other_runs"]:
            lines.append(
                f"  note: {len(run['other_runs'])} earlier runs in this directory are not shown"
            )
        if run["torn_lines"]:
            lines.append(f"  note: {run['torn_lines']} torn lines were skipped")
    lines += [f"compare with care: {says}" for says in report["cautions"]]
    # A terminal obeys control characters, so none of a record gets there.
    return "\n".join(map(visible, [*lines, f"report: {html}"]))
