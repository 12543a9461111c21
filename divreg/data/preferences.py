"""Preference pairs as TRL reads them: prompt, chosen and rejected, in JSON lines or parquet.

Where a prompt or a response was a conversation, all rows are; other texts become messages.
"""

import json
import os
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from divreg.data.scored import Found, Pair, Response

ENDINGS = (".jsonl", ".parquet")


def rows(found: Found) -> list[dict[str, Any]]:
    """Return one row a pair, with where it comes from and what it counts.

    Beside ``prompt``, ``chosen`` and ``rejected``, which TRL reads, and for each of the two, the
    ``_reward``, the ``_diversity`` (in the unit of the criterion), the ``_deviation`` (the weight
    less 1) and the ``_row`` it was read from; ``weight``, what DDPO multiplies the pair's loss by;
    ``responses``, how many there were to choose from; and ``selection``, how it was done.
    """
    talk = any(pair.chosen.sample.messages is not None for pair in found.pairs)
    facts = found.facts
    how = f"divpo, {facts['threshold']}, rho {facts['rho']:g}; {facts['diversity']}"
    return [_row(pair, talk, how) for pair in found.pairs]


def _row(pair: Pair, talk: bool, how: str) -> dict[str, Any]:
    (prompt, chosen), (_, rejected) = (_sides(r, talk) for r in (pair.chosen, pair.rejected))
    row = {"prompt": prompt, "chosen": chosen, "rejected": rejected}
    for name, response in (("chosen", pair.chosen), ("rejected", pair.rejected)):
        row |= {
            f"{name}_reward": response.reward,
            f"{name}_diversity": response.diversity,
            f"{name}_deviation": response.weight - 1,
            f"{name}_row": response.sample.place,
        }
    return row | {"weight": pair.chosen.weight, "responses": pair.of, "selection": how}


def _sides(response: Response, talk: bool) -> tuple[Any, Any]:
    """Return prompt and response, as texts or as messages."""
    sample = response.sample
    if sample.messages is not None:
        return _clean(sample.messages[0]), _clean(sample.messages[1])
    if not talk:
        return sample.prompt, sample.text
    return (
        [{"role": "user", "content": sample.prompt}],
        [{"role": "assistant", "content": sample.text}],
    )


def _clean(value: Any) -> Any:
    """Return messages as they were before a table filled them up, and without half characters."""
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode("utf-8")
    if isinstance(value, Mapping):
        return {key: _clean(x) for key, x in value.items() if x is not None}
    if isinstance(value, Sequence):
        return [_clean(x) for x in value]
    return value


def check(path: Path, read: Sequence[Path]) -> None:
    """Refuse a file that cannot be written, before anything is read.

    Raises:
        ValueError: If it is neither JSON lines nor parquet, or is one of those that are read.
    """
    if path.suffix not in ENDINGS:
        raise ValueError(f"--output needs .jsonl or .parquet; got {path}. Use pairs.jsonl.")
    if path.is_dir():
        raise ValueError(f"--output needs a file; {path} is a folder. Use {path / 'pairs.jsonl'}.")
    if path.exists() and any(path.samefile(other) for other in read):
        raise ValueError(f"--output {path} is one of the files that are read. Name another one.")


def write(path: Path, table: Sequence[Mapping[str, Any]]) -> None:
    """Write rows in one rename: a kill leaves the whole file or none.

    Args:
        path: Ends in ``.jsonl`` or ``.parquet``.
        table: Of :func:`rows`.

    Raises:
        ValueError: If parquet cannot hold them.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)
    os.close(handle)
    staging = Path(name)
    try:
        if path.suffix == ".parquet":
            _write_parquet(staging, table)
        else:
            lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in table)
            staging.write_text(lines, encoding="utf-8")
        umask = os.umask(0)
        os.umask(umask)
        staging.chmod(0o666 & ~umask)  # mkstemp lets nobody else read
        staging.replace(path)
    finally:
        staging.unlink(missing_ok=True)


def _write_parquet(path: Path, table: Sequence[Mapping[str, Any]]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        pq.write_table(pa.Table.from_pylist(list(table)), path)
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        raise ValueError(
            f"Parquet cannot hold these messages: {error}. Write .jsonl instead."
        ) from error
