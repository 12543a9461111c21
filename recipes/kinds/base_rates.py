"""What a model can do of the task kinds before anything is trained: every category and style.

python recipes/kinds/base_rates.py MODEL [--output-dir runs/kinds] [--samples 32]

Samples go to OUTPUT_DIR/samples.jsonl, a category at a time, and what is there is not sampled
again; the numbers go to OUTPUT_DIR/base_rates.json and, as a table, to the console. SmolLM2-135M
takes four seconds of one core for a category and style, 20 minutes for all of them.
"""

import argparse
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from divreg.tasks import kinds
from divreg.tasks.task import KINDS

SPLITS = ("train", "held_out")


def main() -> None:
    """Sample what is missing, write the numbers and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", help="a folder, or a name on the hub")
    parser.add_argument("--output-dir", type=Path, default=Path("runs/kinds"))
    parser.add_argument("--samples", type=int, default=32, help="of each prompt (32)")
    parser.add_argument("--categories", nargs="+", metavar="NAME", help="these and no others")
    parser.add_argument("--styles", nargs="+", choices=kinds.STYLES, default=kinds.STYLES)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    asked = [(s, c) for s in options.styles for c in options.categories or kinds.categories()]
    options.output_dir.mkdir(parents=True, exist_ok=True)
    path = options.output_dir / "samples.jsonl"
    sample(options.model, asked, path, options.samples, options.seed)
    rates = summary(read(path), asked)
    (options.output_dir / "base_rates.json").write_text(json.dumps(rates, indent=1) + "\n")
    show(rates)


def sample(
    model: str, asked: Sequence[tuple[str, str]], path: Path, samples: int, seed: int
) -> None:
    """Add what a file does not have yet; the same is drawn whatever else is asked for."""
    done = {(line["style"], line["category"]) for line in read(path)}
    every = [(style, name) for style in kinds.STYLES for name in kinds.categories()]
    missing = [i for i, pair in enumerate(every) if pair in asked and pair not in done]
    if not missing:
        return
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from divreg.tasks.sampling import Way, draw

    tokenizer: Any = AutoTokenizer.from_pretrained(model)
    lm: Any = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32).eval()
    with path.open("a", encoding="utf-8") as file:
        for i in missing:
            style, name = every[i]
            stop = () if style == "chat" else KINDS.stop
            way = Way(samples, KINDS.max_tokens, stop=stop, seed=seed + i)
            [drawn] = draw(lm, tokenizer, [kinds.prompt(name, style)], way, nuclei=False)
            lines = [
                {"style": style, "category": name, "sample": j, "completion": one.text}
                for j, one in enumerate(drawn)
            ]
            file.write("".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines))
            file.flush()


def read(path: Path) -> list[dict[str, Any]]:
    """Return the samples of a file."""
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def summary(lines: Iterable[Mapping[str, Any]], asked: Sequence[tuple[str, str]]) -> dict[str, Any]:
    """Return of every style and category: samples, right ones, and different right ones."""
    answers: dict[str, dict[str, list[str | None]]] = {}
    for line in lines:
        if (line["style"], line["category"]) in asked:
            found = kinds.answer(line["completion"], line["category"])
            answers.setdefault(line["style"], {}).setdefault(line["category"], []).append(found)
    return {
        style: {
            name: {
                "samples": len(found),
                "right": len(found) - found.count(None),
                "distinct": len({*found} - {None}),
            }
            for name, found in of.items()
        }
        for style, of in answers.items()
    }


def show(rates: Mapping[str, Mapping[str, Mapping[str, int]]]) -> None:
    """Print the means of every style and split, and what is never or always right."""
    print("style      split      categories  pass@1  any right  different right ones")
    for style, of in rates.items():
        for split in SPLITS:
            some = [of[name] for name in kinds.categories(split) if name in of]
            if some:
                print(
                    f"{style:<11}{split:<9}{len(some):>12}"
                    f"{fmean(r['right'] / r['samples'] for r in some):>8.3f}"
                    f"{fmean(r['right'] > 0 for r in some):>11.2f}"
                    f"{fmean(r['distinct'] for r in some):>22.1f}"
                )
    for style, of in rates.items():
        never = [name for name, r in of.items() if not r["right"]]
        always = [name for name, r in of.items() if r["right"] == r["samples"]]
        print(f"{style}: never right: {', '.join(never) or 'none'}; always: {always or 'none'}.")


if __name__ == "__main__":
    main()
