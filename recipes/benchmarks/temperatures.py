"""How a benchmark of SFT losses looks at other sampling temperatures than 1.

python recipes/benchmarks/temperatures.py [--rows ce,gem-0.5] [--seeds 5]

A loss such as GEM trains a sharpened copy of the model, so that the model itself is flatter than
one trained with cross-entropy: at temperature 1 they are not sampled alike. Rows of
``expressions_sft.yaml`` are trained again, the same way, and each is scored at every temperature.
Finished seeds of a row are kept in the file of results.
"""

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

import torch

from divreg.bench import plan, summary
from divreg.metrics.richness import rarefied_distinct
from divreg.tasks import expressions, runs, tiny
from divreg.tasks.sampling import Way, draw
from divreg.tasks.task import EXPRESSIONS

HERE = Path(__file__).parent
ROWS = "ce,ce-at-2e-4,ce-at-1e-4,gem-0.7,gem-0.5,tofu-gamma-1"
TEMPERATURES = (0.6, 0.8, 1.0, 1.25, 1.5)
SAMPLES, K = 128, 32


def scores(run: runs.Run, base: Path) -> list[dict[str, Any]]:
    """Train once and score at every temperature."""
    with tempfile.TemporaryDirectory() as folder:
        trainer = runs.train(run, base, Path(folder))
    rows: list[Any] = list(EXPRESSIONS.dataset("held_out"))
    prompts = [row["prompt"] for row in rows]
    found = []
    for t in TEMPERATURES:
        way = Way(SAMPLES, EXPRESSIONS.max_tokens + 2, temperature=t, seed=1234)
        drawn = draw(trainer.model.eval(), trainer.processing_class, prompts, way, nuclei=False)
        right = [
            [
                expressions.answer(x.text)
                for x in own
                if expressions.is_correct(x.text, row["target"])
            ]
            for own, row in zip(drawn, rows, strict=True)
        ]
        found.append(
            {
                "row": run.row.name,
                "seed": run.seed,
                "t": t,
                "right": sum(len(x) for x in right) / SAMPLES / len(right),
                "distinct": sum(rarefied_distinct(x, K, SAMPLES) for x in right) / len(right),
            }
        )
    return found


def table(lines: list[dict[str, Any]]) -> str:
    """Return pass@1 and different right answers of every row and temperature as Markdown."""
    shown = [
        "| pass@1 / different in 32, at temperature | "
        + " | ".join(f"{t:g}" for t in TEMPERATURES)
        + " |",
        "|---|" + "---|" * len(TEMPERATURES),
    ]
    for name in dict.fromkeys(x["row"] for x in lines):
        cells = []
        for t in TEMPERATURES:
            own = [x for x in lines if x["row"] == name and x["t"] == t]
            right, distinct = (summary.mean([x[k] for x in own]) for k in ("right", "distinct"))
            cells.append(f"{right.show(2)} / {distinct.show(1)}")
        shown.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(shown)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", default=ROWS, help="names of rows of the plan")
    parser.add_argument("--seeds", type=int, default=5, metavar="N")
    parser.add_argument(
        "--out", type=Path, default=HERE / "results" / "expressions_sft_temperatures.json"
    )
    options = parser.parse_args()
    runs.quiet_environment()
    torch.set_num_threads(1)  # as the benchmark's runs
    whole = plan.read(HERE / "expressions_sft.yaml")
    rows = {row.name: row for row in whole.rows}
    base = tiny.base_model(tiny.RECIPES["expressions"])
    lines = json.loads(options.out.read_text()) if options.out.exists() else []
    for seed in range(options.seeds):
        for name in options.rows.split(","):
            if not any((x["row"], x["seed"]) == (name, seed) for x in lines):
                lines += scores(whole.run(rows[name], seed), base)
                shown = ",\n".join(f" {json.dumps(x)}" for x in lines)
                options.out.write_text(f"[\n{shown}\n]\n", encoding="utf-8")
    print(table(lines))


if __name__ == "__main__":
    main()
