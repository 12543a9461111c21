"""An archive of the best response of every kind: one for each combination of attributes.

The store of MAP-Elites, as quality-diversity search with language models has it; the search, which
varies what is in the archive, is left to whoever samples. :func:`rows` feeds ``divreg pairs``.
"""

import json
import os
import tempfile
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

Cell = tuple[str, ...]
Edges = Mapping[str, Sequence[float] | None]
"""Attributes of a response: where the bins of a number end, or None for a value that is a kind."""


@dataclass(frozen=True)
class Elite:
    """The best response of its cell.

    Attributes:
        prompt: What it answers, as a text or as messages.
        cell: The bin or the value of each attribute.
        completion: What it says, as a text or as messages.
        reward: In the unit of the scorer.
        seen: Responses of this prompt and cell so far.
    """

    prompt: Any
    cell: Cell
    completion: Any
    reward: float
    seen: int


Archive = dict[str, Elite]
"""Elites by prompt and cell."""


def cell_of(fields: Mapping[str, Any], edges: Edges) -> Cell:
    """Return the cell of a response.

    Args:
        fields: Its columns.
        edges: Which of them are attributes, in this order. ``n`` ascending edges make ``n + 1``
            bins, numbered from 0; a value on an edge is in the upper one.

    Raises:
        ValueError: If an attribute is missing, or is no number where there are edges.

    >>> cell_of({"tone": "dark", "words": 40}, {"tone": None, "words": [20, 40, 80]})
    ('dark', '2')
    """
    cell = []
    for name, ends in edges.items():
        value = fields.get(name)
        if value is None:
            raise ValueError(f"The archive needs the attribute {name!r}; got {sorted(fields)}.")
        if ends is None:
            cell.append(str(value))
            continue
        if not isinstance(value, int | float) or value != value:
            raise ValueError(f"The attribute {name!r} has edges and needs a number; got {value!r}.")
        if list(ends) != sorted(set(ends)):
            raise ValueError(f"The edges of {name!r} need to ascend; got {list(ends)}.")
        cell.append(str(bisect_right(ends, value)))
    return tuple(cell)


def place(
    archive: Mapping[str, Elite],
    responses: Iterable[Mapping[str, Any]],
    edges: Edges,
    *,
    reward: str = "reward",
) -> Archive:
    """Return the archive with more responses: each stays if its cell has none as good.

    Args:
        archive: What there is; it is left as it was.
        responses: Rows of ``prompt``, ``completion``, the reward and the attributes. Of two with
            the same reward the earlier stays.
        edges: See :func:`cell_of`.
        reward: Column of the reward; higher is better.

    Raises:
        ValueError: If a row has no finite reward, or a column is missing.

    Source:
        Mouret and Clune, MAP-Elites, arXiv:1504.04909; Bradley et al., Quality-Diversity through AI
        Feedback (QDAIF), arXiv:2310.13032, where a model judges the attributes and the quality.

    Differs from the paper:
        An archive of its own for every prompt, and the counts of what was seen, are ours.
    """
    found = dict(archive)
    for i, row in enumerate(responses):
        if missing := {"prompt", "completion"} - set(row):
            raise ValueError(f"The archive needs {sorted(missing)}; row {i} has {sorted(row)}.")
        value = row.get(reward)
        if not isinstance(value, int | float) or abs(value) == float("inf") or value != value:
            raise ValueError(
                f"The archive needs a finite number in {reward!r}; got {value!r} in row {i}."
            )
        cell = cell_of(row, edges)
        key = _key(row["prompt"], cell)
        old = found.get(key)
        seen = 1 if old is None else old.seen + 1
        if old is None or value > old.reward:
            found[key] = Elite(row["prompt"], cell, row["completion"], float(value), seen)
        else:
            found[key] = Elite(old.prompt, cell, old.completion, old.reward, seen)
    return found


def rows(archive: Mapping[str, Elite]) -> list[dict[str, Any]]:
    """Return the elites as ``divreg pairs`` reads them.

    ``rarity`` is how many responses of the prompt were seen over those of the cell:
    ``divreg pairs archive.jsonl --diversity rarity`` prefers good responses of seldom kinds.
    """
    seen: Counter[str] = Counter()
    for elite in archive.values():
        seen[_key(elite.prompt, ())] += elite.seen
    return [
        asdict(e) | {"cell": list(e.cell), "rarity": seen[_key(e.prompt, ())] / e.seen}
        for e in archive.values()
    ]


def coverage(archive: Mapping[str, Elite], cells: int) -> float:
    """Return the share of cells that have an elite, mean over prompts, in [0, 1].

    Args:
        archive: With at least one elite.
        cells: How many cells a prompt has: the product of the bins and kinds of all attributes.

    Raises:
        ValueError: If the archive is empty, or a prompt has more.
    """
    filled = Counter(_key(elite.prompt, ()) for elite in archive.values())
    if not filled or max(filled.values()) > cells:
        raise ValueError(
            f"coverage needs an archive with at most {cells} cells a prompt; got "
            f"{max(filled.values(), default=0)}. Count all bins and kinds."
        )
    return sum(filled.values()) / (cells * len(filled))


def qd_score(archive: Mapping[str, Elite], worst: float = 0.0) -> float:
    """Return the sum of the elites' rewards: grows with better ones and with more cells.

    Args:
        archive: Of rewards in one unit.
        worst: The least that a response can get: an empty cell counts as one.

    Raises:
        ValueError: If a reward is less than ``worst``, so that a filled cell would cost.
    """
    rewards = [elite.reward for elite in archive.values()]
    if rewards and min(rewards) < worst:
        raise ValueError(
            f"qd_score needs rewards of at least {worst}; got {min(rewards)}. Pass worst=, the "
            f"least that there is."
        )
    return float(sum(reward - worst for reward in rewards))


def save(path: Path, archive: Mapping[str, Elite]) -> None:
    """Write an archive as JSON lines, in one rename: a kill leaves the old file or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = "".join(json.dumps(row) + "\n" for row in rows(archive))
    handle, name = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(lines)
            file.flush()
            os.fsync(file.fileno())
        Path(name).replace(path)
    finally:
        Path(name).unlink(missing_ok=True)


def load(path: Path) -> Archive:
    """Read an archive; one that is not there yet is empty.

    Raises:
        ValueError: If a line is none of :func:`save`; it is named.
    """
    found: Archive = {}
    if not path.exists():
        return found
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        try:
            row = json.loads(line)
            elite = Elite(
                row["prompt"], tuple(row["cell"]), row["completion"], row["reward"], row["seen"]
            )
        except (ValueError, TypeError, KeyError) as error:
            raise ValueError(
                f"{path.name}:{number} is no line of an archive ({error!r}). Delete that line, or "
                f"the file to begin again."
            ) from error
        found[_key(elite.prompt, elite.cell)] = elite
    return found


def _key(prompt: Any, cell: Cell) -> str:
    return json.dumps([prompt, cell], sort_keys=True)
