"""``divreg measure``: how different are the completions in these files, prompt by prompt."""

import argparse
from pathlib import Path
from typing import Any

from rich.console import Console

from divreg.measure import page
from divreg.measure.run import Options, measure


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Give a parser the arguments of ``divreg measure``."""
    parser.add_argument("path", type=Path, metavar="FILE_OR_DIR", help=".jsonl, .parquet, a folder")
    parser.add_argument("--by", metavar="COLUMN", help="measure each value apart: step, model")
    parser.add_argument("--worst", type=int, default=3, metavar="N", help="prompts to show (3)")
    add_options(parser)


def add_options(parser: argparse.ArgumentParser) -> None:
    """Give a parser what says how generations are measured."""
    parser.add_argument("--k", type=int, help="samples that counts are brought to (the usual ones)")
    parser.add_argument(
        "--correct", metavar="COLUMN>=X", help="which samples are right (the column `correct`)"
    )
    parser.add_argument(
        "--classes", metavar="COLUMN", help="which samples say the same (by their texts)"
    )
    parser.add_argument("--encoder", metavar="NAME", help="sentence-transformers model or folder")
    parser.add_argument("--keep-reasoning", action="store_true", help="keep <think> blocks")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all numbers")
    parser.add_argument("--seed", type=int, default=0, help="of the intervals (0)")


def options(chosen: argparse.Namespace, by: str | None = None) -> Options:
    """Return what was chosen, with the encoder loaded."""
    encoder: Any = None
    if chosen.encoder is not None:
        from divreg.encoders import SentenceEncoder

        encoder = SentenceEncoder(chosen.encoder)
    return Options(
        by, chosen.k, chosen.correct, chosen.classes, encoder, chosen.keep_reasoning, chosen.seed
    )


def main(chosen: argparse.Namespace) -> int:
    """Run ``divreg measure`` and return its exit code.

    Raises:
        ValueError: If nothing can be measured, or an argument cannot be.
    """
    console = Console(highlight=False, soft_wrap=True)
    found = measure(chosen.path, options(chosen, chosen.by))
    page.show(console, found, chosen.worst)
    if chosen.json:
        page.write(chosen.json, found)
        console.print(f"Every prompt's numbers: {chosen.json}")
    return 0
