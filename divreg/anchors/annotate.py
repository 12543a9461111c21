"""Documents -> documents with annotations: from any annotator, continued where it stopped."""

import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from divreg.anchors.annotators import Annotator, tags_of
from divreg.anchors.tags import MARKERS, Vocabulary, find_fault, render
from divreg.anchors.texts import document, paragraphs
from divreg.measure.generations import Problems, rows_of

PLACE = "annotated_from"
"""Column of the output that names the row of the input: file and number."""


@dataclass
class Found:
    """What came of annotating.

    Attributes:
        rows: Rows in the output.
        parts: Texts that were annotated, in this call.
        earlier: Rows that an earlier call had written or left out.
        problems: Of the rows or paragraphs that have no annotation, why and where.
    """

    rows: int = 0
    parts: int = 0
    earlier: int = 0
    problems: Problems = field(default_factory=Problems)


def annotate(
    files: Sequence[Path],
    output: Path,
    annotator: Annotator | None,
    known: Vocabulary,
    *,
    column: str = "text",
    columns: Mapping[str, str] | None = None,
    whole: bool = False,
    batch_size: int = 16,
    progress: Callable[[Found], Any] | None = None,
) -> Found:
    """Annotate a column of a data set.

    A document is split where a line is empty, and every paragraph gets its annotation: z1 x1 z2 x2,
    ... A paragraph whose tags are refused stands as it is. ``whole`` annotates the column as one
    text, as a response wants to be; a row whose tags are refused is then left out.

    Rows are appended as they are done. Called again with the same output it goes on behind the last
    whole row, and asks about nothing twice. What was left out is kept in a file of the same name
    that ends in ``.left_out``.

    Args:
        files: ``.jsonl`` or ``.parquet``.
        output: ``.jsonl``; rows of the input with the column annotated, and ``annotated_from``.
        annotator: From texts to tags; None where ``columns`` has them.
        known: Of every key its values, or none for any.
        column: What is annotated.
        columns: Of every key the column that has its value already.
        whole: Whether the column is one text.
        batch_size: Texts that the annotator gets at once.
        progress: Called after every batch.

    Raises:
        ValueError: If a row lacks the column or has annotations already, or both or neither of
            ``annotator`` and ``columns`` are given; the message has the row.
    """
    if (annotator is None) == (columns is None):
        raise ValueError(
            "annotate needs an annotator or columns; got "
            f"{'neither' if annotator is None else 'both'}. Pass columns={{'class': 'kind'}}, for "
            f"example."
        )
    output.parent.mkdir(parents=True, exist_ok=True)
    left_out = output.with_name(f"{output.name}.left_out")
    done = {row[PLACE] for path in (output, left_out) for row in _continued(path)}
    found = Found(earlier=len(done))
    waiting: list[_Row] = []
    with (
        output.open("a", encoding="utf-8") as rows,
        left_out.open("a", encoding="utf-8") as without,
    ):
        for place, row in rows_of(files, found.problems):
            if place in done:
                continue
            waiting.append(_Row(place, row, _parts(place, row, column, whole)))
            if sum(len(r.parts) for r in waiting) >= batch_size:
                _finish(waiting, annotator, known, column, columns, whole, found, rows, without)
                waiting = []
                if progress:
                    progress(found)
        _finish(waiting, annotator, known, column, columns, whole, found, rows, without)
    if not left_out.stat().st_size:
        left_out.unlink()
    return found


@dataclass
class _Row:
    place: str
    row: Mapping[str, Any]
    parts: list[str]


def _parts(place: str, row: Any, column: str, whole: bool) -> list[str]:
    """Return the texts of a row that want an annotation."""
    text = row.get(column) if isinstance(row, Mapping) else None
    if not isinstance(text, str):
        has = ", ".join(row) if isinstance(row, Mapping) else type(row).__name__
        raise ValueError(
            f"{place} needs a text in the column {column!r}; got {text!r} (has: {has}). "
            f"Name another: --column NAME."
        )
    if marker := next((m for m in MARKERS if m in text), None):
        raise ValueError(
            f"{place} needs a text without markers; got {marker}: it is annotated already. "
            f"Annotate what it was made of."
        )
    return [text] if whole else paragraphs(text)


def _finish(
    waiting: list[_Row],
    annotator: Annotator | None,
    known: Vocabulary,
    column: str,
    columns: Mapping[str, str] | None,
    whole: bool,
    found: Found,
    rows: Any,
    without: Any,
) -> None:
    """Ask about the texts of some rows, and write these."""
    texts = [text for row in waiting for text in row.parts]
    if annotator is None:
        said: list[Any] = [_own(row, columns or {}) for row in waiting for _ in row.parts]
    else:
        said = list(annotator(texts)) if texts else []
    if len(said) != len(texts):
        raise ValueError(
            f"{waiting[0].place} needs tags for each of {len(texts)} texts; got {len(said)} "
            f"answers of the annotator. Return one for every text."
        )
    answers = iter(said)
    for row in waiting:
        parts: list[tuple[Mapping[str, str] | None, str]] = []
        for number, text in enumerate(row.parts, 1):
            tags: Any = tags_of(next(answers), known)
            fault = find_fault(tags, known) or _missing(tags, known)
            if fault:
                found.problems.add(fault, row.place + ("" if whole else f" paragraph {number}"))
            parts.append((None if fault else tags, text))
            found.parts += not fault
        if whole and parts[0][0] is None:
            without.write(json.dumps({PLACE: row.place}) + "\n")
            continue
        tags, text = parts[0] if whole else (None, "")
        text = render(tags) + text if tags else document(parts)
        line = {**row.row, column: text, PLACE: row.place}
        rows.write(json.dumps(line, ensure_ascii=False) + "\n")
        found.rows += 1
    for file in (rows, without):
        file.flush()


def _own(row: _Row, columns: Mapping[str, str]) -> dict[str, str]:
    """Read the tags that a row has in columns."""
    for key, name in columns.items():
        if row.row.get(name) is None:
            raise ValueError(
                f"{row.place} needs the column {name!r} with the values of {key!r}; got none (has: "
                f"{', '.join(row.row)}). Name another: --from-column {key}=NAME."
            )
    return {key: str(row.row[name]).strip() for key, name in columns.items()}


def _missing(tags: Mapping[str, str], known: Vocabulary) -> str | None:
    """Say which key an annotation lacks."""
    lacking = [key for key in known if key not in tags]
    return (
        f"needs the keys {', '.join(known)}; got none called {lacking[0]!r}." if lacking else None
    )


def _continued(path: Path) -> Iterator[Mapping[str, Any]]:
    """Yield the whole rows of a file that is continued, and cut off a torn one at its end."""
    if not path.exists():
        return
    whole = 0
    with path.open("rb") as file:
        for line in file:
            try:
                row = json.loads(line)
            except ValueError:
                break
            if not line.endswith(b"\n") or not isinstance(row, dict):
                break
            if PLACE not in row:
                raise ValueError(
                    f"{path} needs the column {PLACE!r} to be continued; got a row without it. "
                    f"Name another output."
                )
            whole += len(line)
            yield row
    os.truncate(path, whole)
