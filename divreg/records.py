"""The append-only history of a run: ``OUTPUT_DIR/divreg/events.jsonl`` and parquet parts beside it.

One JSON object a line, written at once and never changed; the completions of a recorded step in one
parquet file, renamed into place before an event vouches for it. Killing the process loses at most
the step in flight. Readers build a *view*: the latest run, without what a resume took back, without
a torn line.
"""

import json
import math
import os
import re
import secrets
import shlex
import sys
import time
import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from divreg.history import SCHEMA, parse
from divreg.history import History as History
from divreg.history import entropy_of as entropy_of
from divreg.history import open_run as open_run
from divreg.history import read as read
from divreg.history import read_trl as read_trl

MAX_LINE = 18_000  # bytes of a step event: with its log and alerts a step stays under 20 kB
_SECRET = re.compile(r"token|secret|passw|api[-_]?key|credential", re.IGNORECASE)


def plain(value: Any) -> Any:
    """Turn ``value`` into what JSON has: arrays and tensors into lists, NaN and infinity into None.

    >>> plain({"a": (1, float("nan"))})
    {'a': [1, None]}
    """
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(k): plain(v) for k, v in value.items()}
    if hasattr(value, "tolist"):  # numpy and torch, without importing either
        return plain(value.tolist())
    if isinstance(value, (set, frozenset)):
        return sorted((plain(v) for v in value), key=str)
    if isinstance(value, Iterable) and not isinstance(value, (bytes, os.PathLike)):
        return [plain(v) for v in value]
    return str(value)


def _line(record: dict[str, Any]) -> bytes:
    return json.dumps(record, allow_nan=False, separators=(",", ":")).encode() + b"\n"


def _bounded(record: dict[str, Any]) -> bytes:
    """Encode a step in at most MAX_LINE bytes: evenly spaced groups of many, and how many."""
    line = _line(record)
    groups = record.get("groups")
    if len(line) <= MAX_LINE or not isinstance(groups, dict) or not groups:
        return line
    count = max(len(v) for v in groups.values() if isinstance(v, list))
    fixed = len(_line({**record, "groups": {}, "groups_of": count}))
    keep = max(1, int(count * 0.9 * (MAX_LINE - fixed) / (len(line) - fixed)))
    rows = sorted({round(i * (count - 1) / max(1, keep - 1)) for i in range(keep)})
    sample = {
        k: [v[i] for i in rows] if isinstance(v, list) and len(v) == count else v
        for k, v in groups.items()
    }
    return _line({**record, "groups": sample, "groups_of": count})


def _command() -> str:
    """The command line of this process, without what looks like a secret."""
    words, hide = [], False
    for word in [os.path.basename(sys.executable or "python"), *sys.argv]:
        name, equals, _ = word.partition("=")
        if hide and not word.startswith("-"):
            word = "***"
        elif equals and _SECRET.search(name):
            word = f"{name}=***"
        hide = bool(_SECRET.search(word)) and word.startswith("-") and not equals
        words.append(word)
    return shlex.join(words)


class Recorder:
    """Writes the history of one run; does nothing on processes that are not the main one.

    Args:
        output_dir: The trainer's ``output_dir``; records go to ``output_dir/divreg``.
        run: What the run is (trainer, versions, config, ...), recorded once.
        enabled: Whether this is the main process.
        resume_step: The step of the checkpoint that training continues from, or None for a new run.
            Readers then drop what the earlier attempt recorded after that step.
    """

    def __init__(
        self,
        output_dir: str | os.PathLike[str],
        run: Mapping[str, Any] | None = None,
        enabled: bool = True,
        resume_step: int | None = None,
    ) -> None:
        self.directory = Path(output_dir) / "divreg"
        self.enabled = enabled
        self.run_id = secrets.token_hex(4)
        self._file: Any = None
        if not enabled:
            return
        path = self.directory / "events.jsonl"
        self.directory.mkdir(parents=True, exist_ok=True)
        earlier = _last_run(path) if resume_step is not None else None
        torn = _ends_torn(path)
        self._file = path.open("ab", buffering=0)
        if torn:  # close the line that a kill left open, so that ours is not joined to it
            self._write(b"\n")
        if earlier is None:
            self.event(
                "run", **{"output_dir": str(output_dir), "command": _command(), **(run or {})}
            )
        else:
            self.run_id = earlier
        if resume_step is not None:
            self.event("resume", step=int(resume_step))

    def event(self, kind: str, /, **fields: Any) -> None:
        """Append one event; keyword arguments are its fields, numpy and torch values included."""
        if self._file is None:
            return
        head = {"v": SCHEMA, "event": kind, "run": self.run_id, "time": round(time.time(), 3)}
        record = {**head, **plain(fields), **head}
        self._write(_bounded(record))

    def completions(self, step: int, mode: str, columns: Mapping[str, list[Any]]) -> None:
        """Write the completions of one step as a parquet part, and vouch for it with an event.

        Args:
            step: The optimizer step.
            mode: ``train``, ``eval`` or ``probe``.
            columns: Equally long lists: ``prompt``, ``completion``, ``group``, ``prompt_id``,
                ``class``, ``correct``, ``reward``, ``advantage``, ``reward/<function>``, ...

        Raises:
            ValueError: The columns are not equally long.
        """
        if self._file is None:
            return
        sizes = {name: len(values) for name, values in columns.items()}
        if len(set(sizes.values())) > 1:
            raise ValueError(
                f"completions needs columns of one length; got {sizes}. "
                "Pass one value per completion in every column."
            )
        name = f"{self.run_id}-{mode}-{step:06d}.parquet"
        try:
            _write_part(self.directory / "completions" / name, step, mode, columns)
        except OSError as error:
            self._give_up(error)
            return
        self.event("completions", step=int(step), mode=mode, part=name, rows=max(sizes.values()))

    def close(self) -> None:
        """Close the file; later calls record nothing."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def __enter__(self) -> "Recorder":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _write(self, line: bytes) -> None:
        try:
            if self._file.write(line) != len(line):
                raise OSError("the disk took only part of a line")
        except OSError as error:
            self._give_up(error)

    def _give_up(self, error: OSError) -> None:
        """A full disk must not end a training run that could go on."""
        warnings.warn(f"divreg stopped recording: {error}. Training goes on.", stacklevel=4)
        self.close()


def _write_part(path: Path, step: int, mode: str, columns: Mapping[str, list[Any]]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    path.parent.mkdir(exist_ok=True)
    rows = len(next(iter(columns.values()), []))
    table = {"step": [int(step)] * rows, "mode": [mode] * rows, **columns}
    arrays = {name: _column(pa, name, values) for name, values in table.items()}
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    few: Any = [name for name in ("mode", "prompt", "prompt_id") if name in arrays]
    pq.write_table(
        pa.table(arrays),
        temporary,
        compression="zstd",
        use_dictionary=few,
        write_statistics=False,
    )
    os.replace(temporary, path)


def _column(pa: Any, name: str, values: Any) -> Any:
    kinds = {"step": "int64", "group": "int32", "class": "int32", "correct": "bool_"}
    numeric = name in ("reward", "advantage") or name.startswith("reward/")
    values = plain(values)
    if name in kinds or numeric:
        kind = getattr(pa, kinds.get(name, "float64"))()
        return pa.array([None if v is None else _cast(v, name) for v in values], type=kind)
    if any(not isinstance(v, str) for v in values):
        scalars = all(v is None or isinstance(v, (bool, int, float)) for v in values)
        if scalars and len({type(v) for v in values if v is not None}) <= 1:
            return pa.array(values)
        values = [v if v is None or isinstance(v, str) else json.dumps(v) for v in values]
    try:
        return pa.array(values, type=pa.string())
    except (
        UnicodeEncodeError
    ):  # lone surrogates: tokenizers can produce them, UTF-8 cannot hold them
        clean = [v and v.encode("utf-8", "backslashreplace").decode() for v in values]
        return pa.array(clean, type=pa.string())


def _cast(value: Any, name: str) -> Any:
    if name == "correct":
        return bool(value)
    return int(value) if name in ("step", "group", "class") else float(value)


def _ends_torn(path: Path) -> bool:
    if not path.exists() or path.stat().st_size == 0:
        return False
    with path.open("rb") as file:
        file.seek(-1, os.SEEK_END)
        return file.read(1) != b"\n"


def _last_run(path: Path) -> str | None:
    last = None
    for event in parse(path, [0]):
        if event["event"] == "run":
            last = event.get("run")
    return last
