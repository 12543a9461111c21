"""``divreg annotate``: documents or responses with annotations, for anchoring."""

import argparse
from pathlib import Path
from typing import Any

from rich.console import Console

from divreg import spec
from divreg.anchors.annotate import Found, annotate
from divreg.anchors.annotators import EndpointAnnotator, ModelAnnotator
from divreg.measure import generations


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Give a parser the arguments of ``divreg annotate``."""
    parser.description = (
        "Writes what a text is about in front of it, paragraph by paragraph (annotation anchoring, "
        "arXiv:2605.09995). Stopped, it goes on where it was when it is called again."
    )
    parser.add_argument("texts", type=Path, metavar="TEXTS", help=".jsonl or .parquet")
    parser.add_argument("--output", type=Path, required=True, metavar="FILE", help=".jsonl")
    parser.add_argument(
        "--key", action="append", required=True, metavar="KEY[=A,B,...]", dest="keys",
        help="what to say of a text, and the values to choose from; may come several times",
    )  # fmt: skip
    parser.add_argument("--column", default="text", metavar="NAME", help="what is annotated (text)")
    parser.add_argument(
        "--whole", action="store_true",
        help="one annotation for the column, such as a response; not one a paragraph",
    )  # fmt: skip
    who = parser.add_argument_group("who says it: one of these")
    who.add_argument(
        "--from-column", action="append", metavar="KEY=NAME", help="a column has the key's value"
    )
    who.add_argument("--model", metavar="FOLDER", help="a model on this machine")
    who.add_argument("--endpoint", metavar="URL", help="an OpenAI-compatible server; needs --name")
    who.add_argument(
        "--annotator", metavar="MODULE.NAME", help="a function from a list of texts to their tags"
    )
    parser.add_argument("--name", metavar="MODEL", help="of the model on that server")
    parser.add_argument(
        "--api-key-env", metavar="VARIABLE", help="environment variable that holds the key"
    )
    parser.add_argument("--batch-size", type=int, default=16, metavar="N", help="at once (16)")


def main(chosen: argparse.Namespace) -> int:
    """Run ``divreg annotate`` and return its exit code.

    Raises:
        ValueError: If an argument cannot be followed, or a row cannot be annotated.
    """
    files = generations.files_of(chosen.texts, "divreg annotate")
    _check(chosen, files)
    known = dict(map(_key, chosen.keys))
    columns = dict(map(_pair, chosen.from_column)) if chosen.from_column else None
    if columns is not None and set(columns) != set(known):
        raise ValueError(
            f"--from-column needs the keys {', '.join(known)}; got {', '.join(columns)}. "
            f"Name a column for each: --from-column {next(iter(known))}=NAME."
        )
    console = Console(highlight=False, soft_wrap=True)
    found = annotate(
        files,
        chosen.output,
        _annotator(chosen, known),
        known,
        column=chosen.column,
        columns=columns,
        whole=chosen.whole,
        batch_size=chosen.batch_size,
    )
    show(console, found, chosen)
    return 0


def _check(chosen: argparse.Namespace, files: list[Path]) -> None:
    """Refuse what cannot be done, before anything is loaded or asked."""
    if chosen.output.suffix != ".jsonl":
        raise ValueError(f"--output needs .jsonl; got {chosen.output}. Use annotated.jsonl.")
    if chosen.output.exists() and any(chosen.output.samefile(other) for other in files):
        raise ValueError(f"--output {chosen.output} is what is read. Name another one.")
    named = ("from_column", "model", "endpoint", "annotator")
    given = [name for name in named if getattr(chosen, name)]
    if len(given) != 1:
        ways = ", ".join(f"--{name.replace('_', '-')}" for name in named)
        raise ValueError(
            f"divreg annotate needs one of {ways}; got {len(given)}. Type --endpoint "
            f"http://localhost:8000/v1 --name MODEL, for example."
        )
    if bool(chosen.endpoint) != bool(chosen.name):
        raise ValueError(
            f"--endpoint and --name need each other; got endpoint={chosen.endpoint!r} and "
            f"name={chosen.name!r}. Give both."
        )
    if chosen.batch_size < 1:
        raise ValueError(f"--batch-size needs 1 or more; got {chosen.batch_size}. Use 16.")


def _annotator(chosen: argparse.Namespace, known: dict[str, list[str]]) -> Any:
    if chosen.model:
        return ModelAnnotator(chosen.model, known)
    if chosen.endpoint:
        return EndpointAnnotator(
            chosen.endpoint, chosen.name, known, api_key_env=chosen.api_key_env
        )
    return spec.named(chosen.annotator, "annotator") if chosen.annotator else None


def _key(text: str) -> tuple[str, list[str]]:
    """Read a key and its values: ``mood=calm,angry``."""
    key, _, values = text.partition("=")
    return key.strip(), [value.strip() for value in values.split(",") if value.strip()]


def _pair(text: str) -> tuple[str, str]:
    key, equals, name = text.partition("=")
    if not equals or not key or not name:
        raise ValueError(f"--from-column needs KEY=NAME; got {text!r}. Write class=kind.")
    return key, name


def show(console: Console, found: Found, chosen: argparse.Namespace) -> None:
    """Print what was done and what was not, and why."""
    if found.earlier:
        console.print(f"Went on behind {found.earlier:,} rows of an earlier call.", markup=False)
    texts = "texts" if chosen.whole else "paragraphs"
    console.print(
        f"{found.parts:,} {texts} annotated in {found.rows:,} rows: {chosen.output}.", markup=False
    )
    fate = "left out" if chosen.whole else "without annotation"
    if found.problems.total:
        console.print(f"{found.problems.total:,} {fate}:", style="yellow", markup=False)
    for sentence in found.problems.sentences("row" if chosen.whole else "paragraph"):
        console.print(sentence, style="yellow", markup=False)
