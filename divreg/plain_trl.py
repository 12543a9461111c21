"""The history of a plain TRL run that never heard of divreg, from what it left on disk.

``GRPOTrainer`` with ``log_completions=True`` writes ``completions/completions_STEP.parquet``, one
row a completion; checkpoints hold the logged scalars in ``trainer_state.json``. Group size, reward
weights and correctness are not in there: what cannot be inferred is said, not guessed.
"""

import difflib
import json
import math
import re
from collections import Counter
from collections.abc import Callable
from itertools import groupby
from pathlib import Path
from typing import Any

from divreg.history import History, entropy_of, merged, replay

_NOT_REWARDS = {"step", "prompt", "completion", "advantage", "image", "images", "__index_level_0__"}
_CONDITION = re.compile(r"^\s*(?P<column>.+?)\s*>=\s*(?P<bound>[^>=\s]+)\s*$")


def read_completions(output_dir: Path, correct: str | None = None) -> History:
    """Build a history from ``output_dir/completions`` and the newest ``trainer_state.json``.

    Args:
        output_dir: The ``output_dir`` of the run.
        correct: ``COLUMN>=X``; by default the only column that holds nothing but 0 and 1.

    Raises:
        ValueError: No completions, no groups in them, or a correctness that names no column.
    """
    paths = _paths(output_dir)
    if not paths:
        raise ValueError(
            f"divreg report needs completions/completions_*.parquet; got none in {output_dir}. "
            "Train with log_completions=True."
        )
    history = History(path=output_dir, source="trl")
    state = _trainer_state(output_dir)
    runs, values = _survey(paths)
    size = _group_size(runs, history, output_dir)
    rewards = _reward_columns(state, values)
    column, bound, why_not = _correctness(correct, rewards, values)
    _read_logs(history, state, max(paths))
    evaluated = {row["step"] for row in history.logs if row["mode"] == "eval"}
    load = _loader(size, rewards, column, bound)
    for step, path in paths.items():
        if set(runs[step]) != {size}:
            continue
        mode = "eval" if step in evaluated else "train"
        seen = load(path)
        row = {"step": step, "mode": mode, "signals": seen.signals, "groups": seen.groups}
        history.steps.append(row)
        history.parts[(mode, step)] = path
    history.load = lambda path: load(path).columns
    history.run = _run(output_dir, state, size, rewards, column, bound)
    _say_what_is_missing(history, why_not, rewards, evaluated, max(paths))
    history.alerts, _ = replay(history)
    return history


def _paths(output_dir: Path) -> dict[int, Path]:
    found = {}
    for path in (output_dir / "completions").glob("completions_*.parquet"):
        digits = path.stem.removeprefix("completions_")
        if digits.isdigit():
            found[int(digits)] = path
    return dict(sorted(found.items()))


def text_of(message: Any) -> str:
    """Return the text of a prompt or completion: itself, or the contents of its messages.

    >>> text_of([{"role": "user", "content": "2+2?"}])
    '2+2?'
    """
    if message is None or isinstance(message, str):
        return message or ""
    if isinstance(message, dict):
        return text_of(message.get("content", message.get("text")))
    if isinstance(message, (list, tuple)):
        return "\n".join(filter(None, map(text_of, message)))
    return str(message)


def _read(path: Path, survey: bool = False) -> dict[str, list[Any]]:
    """Read a part as lists; a survey leaves out the completions and every other long column."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    def short(kind: Any) -> bool:
        tests = (pa.types.is_integer, pa.types.is_floating, pa.types.is_boolean, pa.types.is_null)
        return any(test(kind) for test in tests)

    try:
        with path.open("rb") as file:
            part = pq.ParquetFile(file)
            names = part.schema_arrow.names
            if not {"prompt", "completion"} <= set(names):
                raise ValueError(f"it has no columns prompt and completion, but {names}")
            wanted = [f.name for f in part.schema_arrow if f.name == "prompt" or short(f.type)]
            return part.read(columns=wanted if survey else None).to_pydict()
    except (OSError, ValueError, KeyError) as error:
        raise ValueError(
            f"divreg report cannot read {path}: {error}. Pass the output_dir of a TRL run made "
            "with log_completions=True, and delete files that a kill cut short."
        ) from error


def _survey(paths: dict[int, Path]) -> tuple[dict[int, list[int]], dict[str, set[float]]]:
    """Lengths of the runs of equal prompts by step; the values of every column of numbers.

    A column keeps at most three values: enough to know whether it holds nothing but 0 and 1.
    """
    runs: dict[int, list[int]] = {}
    values: dict[str, set[float]] = {}
    for step, path in paths.items():
        table = _read(path, survey=True)
        prompts = map(text_of, table.pop("prompt"))
        runs[step] = [sum(1 for _ in same) for _, same in groupby(prompts)]
        for name in [name for name in table if name not in _NOT_REWARDS]:
            known = {float(v) for v in table[name] if v is not None and not math.isnan(v)}
            kept = values.get(name, set()) | known
            values[name] = (kept & {0.0, 1.0}) | set(list(kept - {0.0, 1.0})[:1])
    return runs, values


def _group_size(runs: dict[int, list[int]], history: History, where: Path) -> int:
    """The length that all runs of equal prompts have; steps that disagree are left out, in words.

    Raises:
        ValueError: Most steps disagree, or no prompt comes twice in a row.
    """
    agreed = Counter(lengths[0] for lengths in runs.values() if len(set(lengths)) == 1)
    size, steps = agreed.most_common(1)[0] if agreed else (0, 0)
    if 2 * steps <= len(runs):
        seen = sorted({length for lengths in runs.values() for length in lengths})
        raise ValueError(
            f"divreg report needs groups of one size; got runs of {', '.join(map(str, seen[:8]))} "
            f"equal prompts in {where / 'completions'}. Attach CollapseMonitor(trainer), which "
            "knows num_generations."
        )
    if size < 2:
        raise ValueError(
            f"divreg report needs several completions of a prompt in a row; got runs of 1 in "
            f"{where / 'completions'}. Train with num_generations of at least 2."
        )
    if odd := [step for step, lengths in runs.items() if set(lengths) != {size}]:
        others = sorted({n for step in odd for n in runs[step]} - {size})
        history.notes.append(
            f"{len(odd)} of {len(runs)} steps are left out (the first is {odd[0]}): their runs of "
            f"equal prompts have lengths {', '.join(map(str, others[:8]))}, the others' have "
            f"{size}, so where their groups end is not known"
        )
    return size


def _reward_columns(state: dict[str, Any], values: dict[str, set[float]]) -> list[str]:
    """Names of the reward functions: from the logged scalars, else every column of numbers."""
    logged = {
        key.split("/", 1)[1].rsplit("/", 1)[0]
        for row in state.get("log_history", [])
        for key in row
        if key.startswith("rewards/") and key.endswith("/mean")
    }
    return [name for name in values if name in logged] or list(values)


def _correctness(
    wanted: str | None, rewards: list[str], values: dict[str, set[float]]
) -> tuple[str | None, float, str]:
    """Which column says what is right, from which value on; else why none does."""
    if wanted is not None:
        return *_named(wanted, values), ""
    binary = [name for name in rewards if values[name] and values[name] <= {0.0, 1.0}]
    if len(binary) == 1:
        return binary[0], 1.0, ""
    columns = ", ".join(rewards) or "none"
    count = "no column holds" if not binary else f"{len(binary)} columns hold"
    why_not = (
        f"correctness: {count} nothing but 0 and 1 (columns: {columns}), so pass@1, pass@k and "
        f"distinct correct answers are left out; name it with --correct "
        f'"{rewards[0] if rewards else "COLUMN"}>=1"'
    )
    return None, 1.0, why_not


def condition(text: str) -> tuple[str, float] | None:
    """Return column and bound of ``COLUMN>=X``; None for what is no such condition.

    >>> condition("reward >= 0.5"), condition("reward>=much")
    (('reward', 0.5), None)
    """
    match = _CONDITION.match(text)
    try:
        bound = float(match["bound"]) if match else math.nan
    except ValueError:
        return None
    return None if match is None or math.isnan(bound) else (match["column"], bound)


def _named(wanted: str, values: dict[str, set[float]]) -> tuple[str, float]:
    found = condition(wanted)
    if found is None:
        raise ValueError(
            f"--correct needs COLUMN>=X with a number X; got {wanted!r}. "
            'Type for example --correct "accuracy_reward>=1".'
        )
    column, bound = found[0].removeprefix("reward/"), found[1]
    if column not in values:
        near = difflib.get_close_matches(column, values, n=1)
        hint = f"Did you mean {near[0]!r}?" if near else "Name one of those."
        raise ValueError(
            f"--correct needs a column of numbers; got {column!r}, and the columns are "
            f"{', '.join(values) or 'none'}. {hint}"
        )
    return column, bound


def _loader(
    size: int, rewards: list[str], column: str | None, bound: float
) -> Callable[[Path], Any]:
    """A function that reads one part and observes it, as the monitor would have."""
    import numpy as np

    from divreg.monitor.observe import Batch, observe

    def load(path: Path) -> Any:
        table = _read(path)
        rows = len(table["prompt"])
        columns = [[_number(v) for v in table.get(name, [None] * rows)] for name in rewards]
        scores = np.array(columns, dtype=float).reshape(len(rewards), rows).T
        totals = np.nansum(scores, axis=1) if rewards else None
        if totals is not None:
            totals[np.isnan(scores).all(axis=1)] = np.nan
        marks = None
        if column is not None:
            marks = [_number(v) for v in table.get(column, [None] * rows)]
            marks = [None if math.isnan(v) else v >= bound for v in marks]
        advantages = table.get("advantage")
        return observe(
            Batch(
                prompts=list(map(text_of, table["prompt"])),
                completions=list(map(text_of, table["completion"])),
                group_size=size,
                rewards=scores,
                reward_names=rewards,
                totals=totals,
                advantages=None if advantages is None else np.array(advantages, dtype=float),
                correct=marks,
            )
        )

    return load


def _number(value: Any) -> float:
    return math.nan if value is None else float(value)


def _trainer_state(output_dir: Path) -> dict[str, Any]:
    """The ``trainer_state.json`` that goes furthest; empty when there is none that can be read."""
    best: dict[str, Any] = {}
    for path in [
        *output_dir.glob("checkpoint-*/trainer_state.json"),
        output_dir / "trainer_state.json",
    ]:
        try:
            state = json.loads(path.read_text())
        except (OSError, ValueError):
            continue
        if isinstance(state, dict) and state.get("global_step", 0) >= best.get("global_step", 0):
            best = state
    return best


def _read_logs(history: History, state: dict[str, Any], last: int) -> None:
    for row in state.get("log_history", []):
        step = row.get("step")
        scalars = {k: v for k, v in row.items() if isinstance(v, (int, float)) and k != "step"}
        if not isinstance(step, int) or step > last:
            continue
        evaluation = {k[5:]: v for k, v in scalars.items() if k.startswith("eval_")}
        mode, logs = ("eval", evaluation) if evaluation else ("train", scalars)
        history.logs.append({"step": step, "mode": mode, "logs": logs})
    history.logs = merged(history.logs)
    for folder in history.path.glob("checkpoint-*"):
        digits = folder.name.removeprefix("checkpoint-")
        if digits.isdigit():
            history.checkpoints.append({"step": int(digits), "path": str(folder)})
    history.checkpoints.sort(key=lambda row: row["step"])


def _run(
    output_dir: Path,
    state: dict[str, Any],
    size: int,
    rewards: list[str],
    column: str | None,
    bound: float,
) -> dict[str, Any]:
    card = output_dir / "README.md"
    text = card.read_text(errors="replace") if card.is_file() else ""
    names = "TRL|Transformers|Pytorch|PyTorch|Datasets|Tokenizers"
    versions = {k.lower(): v for k, v in re.findall(rf"^- ({names}): (\S+)$", text, re.MULTILINE)}
    return {
        "trainer": "plain TRL, log_completions=True",
        "output_dir": str(output_dir),
        "versions": versions,
        "config": {"num_generations": size, "max_steps": state.get("max_steps")},
        "interventions": [],
        "equivalence": "text",
        "correct": None if column is None else f"{column}>={bound:g}",
        "rewards": rewards,
    }


def _say_what_is_missing(
    history: History, why_not: str, rewards: list[str], evaluated: set[int], last: int
) -> None:
    if why_not:
        history.missing.append(why_not)
    logged = [row["step"] for row in history.logs]
    if not entropy_of(history):
        history.missing.append(
            "token entropy: no checkpoint-*/trainer_state.json holds it (or it is exactly 0)"
        )
    elif (saved := max(logged)) < last:
        history.notes.append(
            f"token entropy is known up to step {saved}, where the last checkpoint was saved"
        )
    if len(rewards) > 1:
        history.notes.append(
            "reward weights are not on disk: groups are called zero-variance by the plain sum of "
            + ", ".join(rewards)
        )
    if marked := [step for step in evaluated if ("eval", step) in history.parts]:
        history.notes.append(
            f"{len(marked)} steps hold the completions of an evaluation, because TRL writes both "
            "to one file; they are not counted as training"
        )
    times = [path.stat().st_mtime for path in history.parts.values()]
    if times and max(times) - times[-1] > 60:
        history.notes.append(
            "some files are older than those of earlier steps: the directory may hold two runs"
        )
