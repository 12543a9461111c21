"""Generations from files of any common shape, one sample at a time.

JSON lines or parquet, rows of one sample or of all samples of a prompt: what TRL writes with
``log_completions=True``, NoveltyBench's ``generations.jsonl``, ``lm_eval --log_samples``, and plain
``{"prompt": .., "completion": ..}``. A row that is none of these is counted and named.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from divreg.plain_trl import text_of

PROMPTS = ("prompt", "question", "instruction", "input")
ONE = ("completion", "response", "output", "generation")
MANY = ("completions", "responses", "outputs", "generations")
ENDINGS = (".jsonl", ".parquet")
_ROWS_AT_A_TIME = 1024
_NAMED = 5  # problems of one kind that are told one by one


@dataclass(frozen=True, slots=True)
class Sample:
    """One completion of one prompt.

    Attributes:
        prompt: What it answers.
        text: What it says.
        fields: The other columns of its row, its own value where the row has a list of them.
        messages: Prompt and completion as conversations, where one of the two is one.
        place: File and number of its row, and which one it is where the row has several.
    """

    prompt: str
    text: str
    fields: Mapping[str, Any]
    messages: tuple[list[Any], list[Any]] | None = field(default=None, repr=False)
    place: str = field(default="", repr=False, compare=False)


@dataclass
class Problems:
    """What could not be read: how often, and where it first happened."""

    counts: dict[str, int] = field(default_factory=dict)
    places: dict[str, list[str]] = field(default_factory=dict)

    def add(self, kind: str, place: str) -> None:
        """Count one more."""
        self.counts[kind] = self.counts.get(kind, 0) + 1
        places = self.places.setdefault(kind, [])
        if len(places) < _NAMED:
            places.append(place)

    def sentences(self, what: str = "row") -> list[str]:
        """Return one sentence a kind: how many of what, and where the first ones are."""
        found = []
        for kind, count in self.counts.items():
            more = ", ..." if count > len(self.places[kind]) else ""
            rows = what if count == 1 else f"{what}s"
            found.append(f"{count:,} {rows} {kind}: {', '.join(self.places[kind])}{more}.")
        return found

    @property
    def total(self) -> int:
        """How many rows are not measured."""
        return sum(self.counts.values())


def files_of(path: Path, who: str = "divreg measure") -> list[Path]:
    """Return the files of generations that a path names, in order.

    Args:
        path: A file, a folder of them, or the output folder of a TRL run.
        who: Who reads them, for the message of an error.

    Raises:
        ValueError: If there is none.
    """
    if path.is_file():
        if path.suffix not in ENDINGS:
            raise ValueError(
                f"{who} needs .jsonl or .parquet; got {path}. Write one JSON object a "
                f'line: {{"prompt": .., "completion": ..}}.'
            )
        return [path]
    if not path.exists():
        raise ValueError(f"{who} needs generations; there is no {path}.")
    inside = path / "completions" if (path / "completions").is_dir() else path
    found = sorted(p for p in inside.iterdir() if p.suffix in ENDINGS and p.is_file())
    samples = [p for p in found if p.name.startswith("samples_")]  # lm_eval writes results beside
    if not found:
        raise ValueError(
            f"{who} needs .jsonl or .parquet files; got none in {inside}. Pass a file, or "
            f"the output_dir of a TRL run made with log_completions=True."
        )
    return samples or found


def read(files: Sequence[Path], problems: Problems) -> Iterator[Sample]:
    """Yield the samples of files, one at a time; rows that hold none go to ``problems``.

    Args:
        files: Of :func:`files_of`.
        problems: Where what cannot be read is counted.
    """
    for path in files:
        rows = _parquet(path) if path.suffix == ".parquet" else _lines(path, problems)
        kept = None
        for place, row in rows:
            if isinstance(row, dict) and "resps" in row and row.get("filter") is not None:
                kept = kept or row["filter"]
                if row["filter"] != kept:  # lm_eval writes each document once for every filter
                    problems.add(f"of another filter than {kept!r}, with the same samples", place)
                    continue
            try:
                yield from samples(row, place)
            except ValueError as error:
                problems.add(str(error), place)


def rows_of(files: Sequence[Path], problems: Problems) -> Iterator[tuple[str, Any]]:
    """Yield the rows of files of any kind, each with its place; what is no JSON goes to problems.

    Raises:
        ValueError: If a file cannot be read.
    """
    for path in files:
        yield from _parquet(path) if path.suffix == ".parquet" else _lines(path, problems)


def samples(row: Any, place: str = "") -> list[Sample]:
    """Return the samples that one row holds.

    Args:
        row: What was read.
        place: Where it was read, for :attr:`Sample.place`.

    Raises:
        ValueError: If it holds none; the message completes "rows ...".

    >>> samples({"prompt": "2+2?", "completions": ["4", "5"], "correct": [True, False]})[1]
    Sample(prompt='2+2?', text='5', fields={'correct': False})
    """
    if not isinstance(row, dict):
        raise ValueError("not a JSON object")
    if "resps" in row:
        return _harness(row, place)
    prompt = next((row[name] for name in PROMPTS if row.get(name) is not None), None)
    if prompt is not None and prompt is row.get("instruction") and row.get("input"):
        prompt = f"{_text(prompt, 'prompt')}\n\n{_text(row['input'], 'prompt')}"
    if prompt is None:
        raise ValueError(f"without a prompt (known: {', '.join(PROMPTS)})")
    for name in ONE:
        if isinstance(row.get(name), str | list | dict) and not _is_texts(row[name]):
            return [_sample(prompt, row[name], name, _rest(row, name), place)]
    for name in (*MANY, *ONE):
        if isinstance(row.get(name), list):
            return _several(prompt, row[name], _rest(row, name), place)
    raise ValueError(f"without a completion (known: {', '.join((*ONE, *MANY))})")


def _several(prompt: Any, texts: list[Any], rest: Mapping[str, Any], place: str) -> list[Sample]:
    """Return a sample a text; columns with as many values give each its own."""
    if not texts:
        raise ValueError("with an empty list of completions")
    found = []
    for i, text in enumerate(texts):
        own = {
            name: value[i] if isinstance(value, list) and len(value) == len(texts) else value
            for name, value in rest.items()
        }
        found.append(_sample(prompt, text, "completion", own, f"{place}[{i}]"))
    return found


def _sample(prompt: Any, said: Any, name: str, rest: Mapping[str, Any], place: str) -> Sample:
    """Return one sample; where one side is a conversation, the text on the other becomes one."""
    asked, answered = _messages(prompt), _messages(said)
    texts = _text(prompt, "prompt"), _text(said, name)
    both = None
    if asked or answered:
        both = (
            asked or [{"role": "user", "content": texts[0]}],
            answered or [{"role": "assistant", "content": texts[1]}],
        )
    return Sample(*texts, rest, both, place)


def _messages(value: Any) -> list[Any] | None:
    listed = [value] if isinstance(value, dict) else value
    if not isinstance(listed, list) or not listed:
        return None
    return listed if all(isinstance(x, dict) and "role" in x for x in listed) else None


def _harness(row: Mapping[str, Any], place: str) -> list[Sample]:
    """Return the samples of a row of ``lm_eval --log_samples``: all repeats of one document."""
    arguments = row.get("arguments")
    if isinstance(arguments, dict):  # {"gen_args_0": {"arg_0": prompt, "arg_1": settings}}
        arguments = [list(x.values()) if isinstance(x, dict) else x for x in arguments.values()]
    try:
        prompt = arguments[0][0]  # pyright: ignore[reportOptionalSubscript]
        texts = row["resps"][0]
    except (TypeError, IndexError, KeyError):
        raise ValueError("of lm_eval without arguments or resps") from None
    texts = texts if isinstance(texts, list) else [texts]
    rest = {k: v for k, v in row.items() if isinstance(v, str | int | float | bool)}
    if len(texts) > 1:
        rest.pop("exact_match", None)  # of the document, not of each repeat
    return _several(prompt, texts, rest, place)


def _rest(row: Mapping[str, Any], taken: str) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name != taken and name not in PROMPTS}


def _is_texts(value: Any) -> bool:
    """Whether a value is a list of texts or of conversations, and no conversation itself."""
    return isinstance(value, list) and not (value and isinstance(value[0], dict))


def _text(value: Any, what: str) -> str:
    if not isinstance(value, str | list | dict):
        raise ValueError(f"with a {what} that is no text")
    return text_of(value).encode("utf-8", "replace").decode("utf-8")  # no half of a pair


def _lines(path: Path, problems: Problems) -> Iterator[tuple[str, Any]]:
    with path.open(encoding="utf-8-sig", errors="replace") as file:
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            place = f"{path.name}:{number}"
            try:
                yield place, json.loads(line)
            except ValueError:
                problems.add("not JSON", place)


def _parquet(path: Path) -> Iterator[tuple[str, Any]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    number = 0
    try:
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=_ROWS_AT_A_TIME):
                for row in batch.to_pylist():
                    number += 1
                    yield f"{path.name}:{number}", row
    except (OSError, pa.ArrowInvalid) as error:
        raise ValueError(
            f"divreg cannot read {path}: {error}. Delete files that a kill cut short."
        ) from error
