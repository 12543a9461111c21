"""Add generated data to real data, never in its place.

A model that is trained on its own output alone gets worse with every generation; one that keeps the
real data beside it does not (Gerstgrasser et al., Is Model Collapse Inevitable?, arXiv:2404.01413:
for linear models the test error grows with the number of generations in the first case, and stays
below a constant in the second). The checks, the column and the share are ours.
"""

import hashlib
import json
import math
import random
from collections import Counter
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from datasets import Dataset

COLUMN = "provenance"
REAL = "real"


def accumulate(
    real: "Dataset", /, *, least_real: float = 0.0, seed: int = 0, **generations: "Dataset"
) -> "Dataset":
    """Put generated rows beside all real ones, and say of every row where it comes from.

    Args:
        real: The data that has to stay. Rows that an earlier call marked keep their mark, so a mix
            can be added to.
        least_real: Share of the mix that real rows have at least, in [0, 1): where generated rows
            are too many, some of each generation are drawn. 0 takes them all.
        seed: Of that draw.
        generations: Generated data by the name that the column :data:`COLUMN` gets, such as
            ``round_1=...``; the same columns as ``real``.

    Returns:
        All rows of ``real`` in their order, then those of each generation in theirs.

    Raises:
        ValueError: If columns differ, a name is taken, the share cannot be had, or the mix lacks a
            real row.
    """
    from datasets import Features, Value, concatenate_datasets

    if not 0 <= least_real < 1:
        raise ValueError(f"least_real is a share, in [0, 1); got {least_real}. Use 0.5.")
    marked = real if COLUMN in real.column_names else _marked(real, REAL)
    before = shares(marked)
    if not before.get(REAL):
        raise ValueError(f"accumulate needs real rows; got {len(real)} rows, none of them real.")
    for name, rows in generations.items():
        if name in before:
            raise ValueError(f"The mix has rows called {name!r} already. Use another name.")
        if set(rows.column_names) - {COLUMN} != set(real.column_names) - {COLUMN}:
            raise ValueError(
                f"{name} needs the columns of the real data, {sorted(real.column_names)}; got "
                f"{sorted(rows.column_names)}. Rename or remove columns first."
            )
    kept = Counter(marked[COLUMN])[REAL]
    room = _room(kept, len(marked), sum(map(len, generations.values())), least_real)
    features = Features(marked.features | {COLUMN: Value("string")})
    parts = [marked.cast(features)]
    for (name, rows), take in zip(
        generations.items(), _split(room, [len(x) for x in generations.values()]), strict=True
    ):
        drawn = sorted(random.Random(f"{seed} {name}").sample(range(len(rows)), take))
        added = _marked(rows.select(drawn), name)
        parts.append(added.select_columns(marked.column_names).cast(features))
    mix = concatenate_datasets(parts)
    require_all(marked, mix)
    found = shares(mix).get(REAL, 0.0)
    if found < least_real:
        raise ValueError(f"The mix is {found:.3f} real, less than {least_real}. This is a bug.")
    return mix


def require_all(real: "Dataset", mix: "Dataset") -> None:
    """Refuse a mix that lost rows of the real data, whoever made it.

    ``datasets.interleave_datasets`` loses them where it stops with the first source that ends.

    Args:
        real: Every row has to be in the mix as often as here.
        mix: Any rows in any order. The column :data:`COLUMN` is not compared.

    Raises:
        ValueError: If a row is missing; the first one is named.
    """
    there = Counter(map(_print, mix))
    for i, row in enumerate(real):
        key = _print(row)
        there[key] -= 1
        if there[key] < 0:
            common = Counter(map(_print, real)) & Counter(map(_print, mix))
            missing = len(real) - common.total()
            raise ValueError(
                f"The mix lacks {missing:,} of {len(real):,} rows of the real data, the first is "
                f"row {i}: {str(_bare(row))[:80]}. Add generated data with accumulate, which keeps "
                f"all rows, or interleave with stopping_strategy='all_exhausted'."
            )


def shares(mix: "Dataset") -> dict[str, float]:
    """Return the share of each provenance, in the order in which they come.

    Raises:
        ValueError: If the data says nothing of it.
    """
    if COLUMN not in mix.column_names:
        raise ValueError(
            f"shares needs a column {COLUMN!r}; got {mix.column_names}. Mix with accumulate."
        )
    counts = Counter(mix[COLUMN])
    return {str(name): count / len(mix) for name, count in counts.items()}


def _marked(rows: "Dataset", name: str) -> "Dataset":
    if COLUMN in rows.column_names:
        rows = rows.remove_columns(COLUMN)
    return rows.add_column(COLUMN, [name] * len(rows))  # pyright: ignore[reportCallIssue]


def _room(real: int, old: int, new: int, least_real: float) -> int:
    """Return how many of the new rows keep the share of real ones.

    Raises:
        ValueError: If those that are there already leave none.
    """
    if least_real == 0:
        return new
    room = math.floor(real / least_real + 1e-9) - old
    if room < 0:
        raise ValueError(
            f"{real:,} real rows are {real / old:.3f} of the {old:,} that are there, less than "
            f"least_real={least_real}. Begin with less generated data: rows are never taken out."
        )
    return min(room, new)


def _split(room: int, sizes: list[int]) -> list[int]:
    """Divide places among generations by their sizes, the largest remainders first.

    >>> _split(5, [6, 2, 2]), _split(9, [3, 3])
    ([3, 1, 1], [3, 3])
    """
    total = sum(sizes)
    if room >= total:
        return sizes
    exact = [room * size / total for size in sizes]
    taken = [int(x) for x in exact]
    by_rest = sorted(range(len(sizes)), key=lambda i: taken[i] - exact[i])
    for i in by_rest[: room - sum(taken)]:
        taken[i] += 1
    return taken


def _bare(row: Any) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name != COLUMN}


def _print(row: Any) -> bytes:
    """Return a fingerprint of a row, without its provenance."""
    text = json.dumps(_bare(row), sort_keys=True, default=repr)
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()
