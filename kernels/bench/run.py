"""Compare the loss heads that TRL's users have, side by side in one run.

python kernels/bench/run.py [--rounds 8] [--only hidden] [--out runs/kernels.json]

On a GPU where there is one, else on the CPU with one thread and small shapes. First comes what the
machine can do at best: copies, reads, the vendor's products. Then every provider is judged against
float64, on fresh inputs and on some rows of those that are timed; ours is not timed if it fails.
Then all take turns, in another order each round, each time on another set of inputs. The tables
give medians, the tenth and ninetieth percentile, the ratio to TRL of the same round, the share of
the ceiling (of the forward alone, of the whole), and peak memory beyond the inputs: the gradients
are in it. "divreg again" is the same code a second time: what it differs by is noise.
"""

import argparse
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from cases import CPU, FULL, GPU, Case
from ceilings import measure
from compare import Settings, compare
from machine import facts
from table import ceilings, table

ROUNDS = {"cuda": 20, "cpu": 8}
MINUTES = {"cuda": 8.5, "cpu": float("inf")}


def main() -> None:
    """Compare, print tables and write the numbers, after every case."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # pyright: ignore[reportOptionalMemberAccess]
    parser.add_argument("--rounds", type=int, help="turns of each provider (20; on a CPU 8)")
    parser.add_argument("--only", default="", help="cases whose name contains this")
    parser.add_argument("--without", action="append", default=[], help="a provider to leave out")
    parser.add_argument("--full", action="store_true", help="on a GPU: all sizes, no end")
    parser.add_argument("--minutes", type=float, help="begin nothing later (8.5; on a CPU no end)")
    parser.add_argument("--no-memory", action="store_true", help="measure no peaks")
    parser.add_argument("--device", help="cuda or cpu (cuda where there is one)")
    parser.add_argument("--out", type=Path, default=Path("runs/kernels.json"), help="JSON file")
    options = parser.parse_args()
    device = options.device or ("cuda" if torch.cuda.is_available() else "cpu")
    minutes = float("inf") if options.full else MINUTES[device]
    end = time.monotonic() + 60 * (minutes if options.minutes is None else options.minutes)
    if device == "cpu":
        torch.set_num_threads(1)
    cases = [c for c in _all(device, options.full) if options.only in c.name]
    if not cases:
        raise SystemExit(f"No case has {options.only!r} in its name.")
    settings = Settings(
        device, options.rounds or ROUNDS[device], not options.no_memory, options.without
    )
    best = measure(cases, device)
    print(ceilings(best), flush=True)
    found: dict[str, Any] = facts(device) | {"rounds": settings.rounds, "ceilings": best}
    found["cases"] = []
    options.out.parent.mkdir(parents=True, exist_ok=True)
    for i, case in enumerate(cases):
        found["cases"].append(_one(case, settings, best, end, len(cases) - i))
        print(table(found["cases"][-1]), flush=True)
        options.out.write_text(json.dumps(found, indent=1) + "\n")
    versions = ", ".join(f"{name} {version}" for name, version in found["versions"].items())
    print(f"\n{found['device']}, {versions}, {found['date']}. All numbers: {options.out}")
    if red := _red(found["cases"]):
        raise SystemExit("Ours fails: " + "\n".join(red))


def _all(device: str, full: bool) -> Sequence[Case]:
    if device == "cpu":
        return CPU
    return FULL if full else GPU


def _one(
    case: Case, settings: Settings, best: dict[str, Any], end: float, left: int
) -> dict[str, Any]:
    """Compare one case within its share of the time that is left; say why where it cannot be."""
    now = time.monotonic()
    skipped = {"case": case.name, "providers": {}, "loss": {}}
    if now > end:
        return skipped | {"skipped": "no time is left"}
    try:
        found = compare(case, settings, best, now + (end - now) / left)
    except torch.OutOfMemoryError:
        return skipped | {"skipped": "out of memory"}
    return found | {"seconds": round(time.monotonic() - now, 1)}


def _red(cases: Sequence[dict[str, Any]]) -> list[str]:
    """Return what of ours is wrong or cannot run."""
    return [
        f"{name}, {case['case']}: {line['missing'] or '; '.join(line['wrong'])}"
        for case in cases
        for section in ("providers", "loss")
        for name, line in case[section].items()
        if name.startswith("divreg") and (line.get("failed") or line.get("wrong"))
    ]


if __name__ == "__main__":
    main()
