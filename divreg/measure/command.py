"""``divreg measure``: how different are the completions in these files, prompt by prompt."""

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from divreg.measure import judges, page
from divreg.measure.run import Options, measure
from divreg.metrics.format_shares import ECHO_CHAMBER, format_classifier


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
    parser.add_argument(
        "--judge", metavar="NAME", help="classifier of pairs that makes the classes"
    )
    parser.add_argument(
        "--threshold", type=float, metavar="P", help="of the judge: the same from here on (0.5)"
    )
    parser.add_argument(
        "--nli", metavar="NAME", help="NLI model: how far samples entail each other"
    )
    for name, what in (("judge", "PairClassifier"), ("nli", "NLIClassifier")):
        parser.add_argument(
            f"--{name}-option",
            action="append",
            default=[],
            metavar="KEY=VALUE",
            help=f"an argument of {what}: tokenizer=NAME, max_tokens=64",
        )
    parser.add_argument("--utility", metavar="COLUMN", help="how good a sample is, as a number")
    parser.add_argument("--code", action="store_true", help="samples are Python: compare syntax")
    parser.add_argument(
        "--formats",
        nargs="*",
        metavar="NAME=REGEX",
        help="shares of formats (llm-code, def and text)",
    )
    parser.add_argument("--keep-reasoning", action="store_true", help="keep <think> blocks")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all numbers")
    parser.add_argument("--seed", type=int, default=0, help="of the intervals (0)")


def options(chosen: argparse.Namespace, by: str | None = None, *, centres: bool = False) -> Options:
    """Return what was chosen, with its models loaded.

    Args:
        chosen: The arguments.
        by: Column whose values are sets of their own.
        centres: Whether the mean embedding of every prompt is kept.

    Raises:
        ValueError: If two of them exclude each other, or one is read by none.
    """
    _refuse(chosen)
    encoder: Any = None
    if chosen.encoder is not None:
        from divreg.encoders import SentenceEncoder

        encoder = SentenceEncoder(chosen.encoder)
    judge = nli = None
    if chosen.judge is not None:
        judge = judges.judge(chosen.judge, chosen.judge_option, chosen.threshold)
    if chosen.nli is not None:
        nli = judges.nli(chosen.nli, chosen.nli_option)
    return Options(
        by,
        chosen.k,
        chosen.correct,
        chosen.classes,
        encoder,
        chosen.keep_reasoning,
        chosen.seed,
        nli=nli,
        judge=judge,
        utility=chosen.utility,
        code=chosen.code,
        formats=_formats(chosen.formats),
        centres=centres and encoder is not None,
    )


def _refuse(chosen: argparse.Namespace) -> None:
    if chosen.judge is not None and chosen.classes is not None:
        raise ValueError(
            f"--judge and --classes both say which samples are the same; got {chosen.judge} and "
            f"{chosen.classes}. Leave one out."
        )
    for flag, given, model in (
        ("--threshold", chosen.threshold is not None, "judge"),
        ("--judge-option", chosen.judge_option, "judge"),
        ("--nli-option", chosen.nli_option, "nli"),
    ):
        if given and getattr(chosen, model) is None:
            raise ValueError(
                f"{flag} needs a model to read it; got no --{model}. Add --{model} NAME."
            )


def _formats(words: Sequence[str] | None) -> Mapping[str, str] | None:
    """Return the expressions of formats by name; those of the Echo Chamber where none is named."""
    if words is None:
        return None
    found = dict(ECHO_CHAMBER)
    if words:
        if bad := [word for word in words if "=" not in word]:
            raise ValueError(
                f"--formats needs NAME=REGEX; got {bad[0]!r}. Write --formats boxed=boxed "
                f"code='^def '."
            )
        found = {name: regex for name, _, regex in (word.partition("=") for word in words)}
    format_classifier(found)  # refuses what is of no use, before anything is read
    return found


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
