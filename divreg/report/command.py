"""``divreg report OUTPUT_DIR [OTHER_DIR]``: its arguments, its exit codes, what it prints."""

import argparse
import json
import sys

from divreg.report.write import write_report


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Give a parser the arguments of ``divreg report``."""
    parser.add_argument(
        "paths",
        nargs="+",
        metavar="OUTPUT_DIR",
        help="output_dir of a run, or of a plain TRL run with log_completions=True; two to compare",
    )
    parser.add_argument("--output", metavar="F", help="HTML file (OUTPUT_DIR/divreg/report.html)")
    parser.add_argument(
        "--correct",
        metavar='"COLUMN>=X"',
        help="what is correct in a plain TRL run (the only column with nothing but 0 and 1)",
    )
    parser.add_argument(
        "--json", action="store_true", help="print the verdicts and numbers as JSON, not as text"
    )


def main(args: argparse.Namespace) -> int:
    """Run ``divreg report`` and return its exit code.

    0: nothing is wrong, or only narrowing, saturated, stalled or unknown. 3: a run collapsed,
    exploded or has a seed bug. 2: bad input, explained in one line on the error stream.
    """
    from rich.console import Console

    try:
        result = write_report(args.paths, args.output, correct=args.correct)
    except (ValueError, OSError) as error:
        Console(stderr=True, soft_wrap=True).print(f"{error}", markup=False, highlight=False)
        return 2
    if args.json:
        runs = json.loads(result.json.read_text(encoding="utf-8"))["runs"]
        kept = ("name", "path", "verdict", "numbers", "alerts", "missing", "notes")
        found = {"html": str(result.html), "json": str(result.json), "exit_code": result.exit_code}
        found["runs"] = [{key: run[key] for key in kept} for run in runs]
        json.dump(found, sys.stdout, indent=1)
        sys.stdout.write("\n")
    else:
        Console(soft_wrap=True).print(result.summary, markup=False, highlight=False)
    return result.exit_code
