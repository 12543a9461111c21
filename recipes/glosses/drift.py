"""How far the annotations of every model have moved from those of its base, exactly.

python recipes/glosses/drift.py --work FOLDER

Scores all classes of a prompt's part of speech; adds to results/glosses.json what ``run.py`` made.
"""

import argparse
import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import torch
from glosses import CLASSES, tasks
from run import PROMPTS, RESULTS
from train import KEY, load
from transformers import AutoTokenizer

from divreg.anchors.drift import every_annotation, exact
from divreg.anchors.watch import score


def main() -> None:
    """Score the models in a folder beside their base."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--results", type=Path, default=RESULTS)
    options = parser.parse_args()
    torch.set_num_threads(1)
    names = AutoTokenizer.from_pretrained(options.work / "tokenizer")
    every = every_annotation({KEY: CLASSES})
    prompts = [t.prompt for t in tasks(PROMPTS)[1]]
    found = json.loads(options.results.read_text())
    for base in sorted(options.work.glob("*/annotated_base")):
        size, _, seed = base.parent.name.rpartition("-")
        start = score(load(base).eval(), names, prompts, every, batch_size=256)
        for folder in sorted(base.parent.glob("an*")):
            key = f"{size}/{seed}/{folder.name}"
            if key not in found["runs"]:
                continue
            now = score(load(folder).eval(), names, prompts, every, batch_size=256)
            drift = {f"anchor_{k}": round(v, 5) for k, v in exact(now, start).items()}
            found["runs"][key] |= drift
            print(key, drift, flush=True)
    options.results.write_text(json.dumps(found, indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
