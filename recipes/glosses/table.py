"""Write README.md beside this file from results/glosses.json.

python recipes/glosses/table.py
"""

import json
import statistics
from pathlib import Path
from typing import Any

from divreg.anchors.drift import gap_closed

HERE = Path(__file__).parent
ARMS = {
    "base": "base",
    "annotated_base": "base, annotated",
    "sft": "SFT",
    "sft_with_annotations": "SFT with annotations on the plain base",
    "annotated_base_unmasked": "SFT on the annotated base, annotations learned",
    "anchored": "anchored",
    "anchored_key_given": "anchored, key given",
    "anchored_balanced": "anchored, balanced classes drawn",
    "unmasked_balanced": "annotations learned, balanced classes drawn",
    "plain_base_balanced": "plain base, annotations learned, balanced classes drawn",
}
WRITTEN = ("anchored", "anchored_balanced", "unmasked_balanced", "plain_base_balanced")
DIVERSITY = {
    "class_entropy_nats": "class entropy, nats",
    "cosine_distance": "cosine distance",
    "vendi": "Vendi",
}
COLUMNS = {
    **DIVERSITY,
    "followed_frac": "instruction followed",
    "nonempty_frac": "not empty",
    "annotated_frac": "annotated",
    "agreed_frac": "text agrees with annotation",
    "anchor_kl_nats": "KL of annotations, nats",
}


def main() -> None:
    """Read the results and write the page."""
    results = json.loads((HERE / "results" / "glosses.json").read_text())
    text = (HERE / "page.md").read_text()
    (HERE / "README.md").write_text(text.replace("{tables}", "\n".join(tables(results))))


def tables(results: dict[str, Any]) -> list[str]:
    """Return the lines of every table, one for each size and setting."""
    runs = results["runs"]
    accuracy = results["classifier"]
    lines = [
        f"Classes are told by logistic regression on all-MiniLM-L6-v2, right for "
        f"{accuracy['accuracy']:.1%} of {accuracy['tested_on']:,} glosses not seen before.",
    ]
    settings = sorted({key.partition("@")[2] for key in runs})
    for setting in settings:
        for size in ("small", "large"):
            found = {arm: seeds(runs, size, arm, setting) for arm in ARMS}
            if any(v for arm, v in found.items() if not arm.endswith("base")):
                lines += ["", f"### {size}{', ' + told(setting) if setting else ''}", ""]
                lines += table(found)
                lines += ["", *ratios(found)]
    return lines


def told(setting: str) -> str:
    """Say in words how a setting of fine-tuning differs: ``0.003x2@0.5+0.2``."""
    pace, _, shares = setting.partition("@")
    rate, _, epochs = pace.partition("x")
    words = f"learning rate {rate}, {epochs} epochs"
    return words + (f", favoured classes {shares.replace('+', ' and ')}" if shares else "")


def seeds(runs: dict[str, Any], size: str, arm: str, setting: str) -> dict[str, dict[str, float]]:
    """Return what was measured of an arm, by seed; bases are the same in all settings."""
    tail = "" if arm.endswith("base") or not setting else f"@{setting}"
    return {
        key.split("/")[1]: value
        for key, value in runs.items()
        if key.split("/")[0] == size and key.split("/")[2] == arm + tail
    }


def table(found: dict[str, dict[str, Any]]) -> list[str]:
    """Return a table: means over seeds, and the standard error where there are several."""
    lines = [
        f"| | seeds | {' | '.join(COLUMNS.values())} |",
        f"|---|---|{'---|' * len(COLUMNS)}",
    ]
    for arm, of in found.items():
        if of:
            cells = [shown([row[c] for row in of.values() if c in row]) for c in COLUMNS]
            lines.append(f"| {ARMS[arm]} | {len(of)} | {' | '.join(cells)} |")
    return lines


def ratios(found: dict[str, dict[str, Any]]) -> list[str]:
    """Return, of each measure, how much of the gap anchoring closes, seed by seed."""
    lines: list[str] = []
    for name, title in DIVERSITY.items():
        told = []
        for arm in WRITTEN:
            shared = sorted(set(found["base"]) & set(found["sft"]) & set(found[arm]))
            rows = [[found[x][seed][name] for x in ("base", "sft", arm)] for seed in shared]
            if rows:
                # Of mean drops: a seed that loses next to nothing would decide a mean of ratios.
                _, ratio = gap_closed(
                    *(statistics.mean(column) for column in zip(*rows, strict=True))
                )
                closed = shown([gap_closed(*row)[0] for row in rows])
                told.append(f"{ARMS[arm]} {closed} (drop {ratio:.1f} times smaller)")
        if told:
            lines.append(f"- {title}, share of the gap closed: {'; '.join(told)}.")
    return lines


def shown(values: list[float]) -> str:
    """Write a mean and its standard error."""
    if not values:
        return ""
    mean = f"{statistics.mean(values):.3f}"
    if len(values) < 2:
        return mean
    return f"{mean} ± {statistics.stdev(values) / len(values) ** 0.5:.3f}"


if __name__ == "__main__":
    main()
