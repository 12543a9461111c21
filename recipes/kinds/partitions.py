"""How good are cheap partitions? WordNet's synsets are the truth.

python recipes/kinds/partitions.py [--encoder FOLDER] [--samples SAMPLES.jsonl]

Two right answers to one question are the same if they are one synset. What do equal text, word and
character n-grams and a sentence encoder say of the same pairs? Thresholds are picked on the
categories to train on, and everything is measured on the held-out ones. The answers are those of
SmolLM2-135M-Instruct, untrained, 32 to each category in the two text styles; --samples reads them
anew from what base_rates.py has drawn.
"""

import argparse
import json
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import torch

from divreg import calibrate
from divreg.calibrate import Point
from divreg.encoders import SentenceEncoder
from divreg.encoders.ngrams import character_ngrams
from divreg.signals.partition import by_embedding, by_ngram, by_text
from divreg.signals.similarity import similarity
from divreg.tasks import kinds

ANSWERS = Path(__file__).parent / "results" / "right_answers.json"
ENCODER = "sentence-transformers/all-MiniLM-L6-v2"
STYLES = ("few-shot", "short")
THRESHOLDS = (0.6, 0.7, 0.8)
Group = Sequence[tuple[str, str]]
"""Right answers to one question: text and synset."""


def right_answers(samples: Path) -> dict[str, dict[str, list[tuple[str, str]]]]:
    """Return text and synset of the right answers, by style and category."""
    found: dict[str, dict[str, list[tuple[str, str]]]] = {style: {} for style in STYLES}
    for line in map(json.loads, samples.read_text(encoding="utf-8").splitlines()):
        synset = kinds.answer(line["completion"], line["category"])
        if line["style"] in STYLES and synset:
            text = line["completion"].strip()
            found[line["style"]].setdefault(line["category"], []).append((text, synset))
    return found


def groups(found: Mapping[str, Mapping[str, Group]], split: str) -> list[list[Sequence[str]]]:
    """Return the groups of two or more answers of a split's categories."""
    names = set(kinds.categories(split))
    every = [list(g) for of in found.values() for name, g in of.items() if name in names]
    return [group for group in every if len(group) > 1]


def cosines(encode: Callable[..., Any], group: Sequence[Sequence[str]]) -> torch.Tensor:
    """Return the cosine similarity of the texts of a group ``(g, g)``."""
    vectors = torch.as_tensor(np.asarray(encode([text for text, _ in group])))
    return similarity(embedding=vectors.double())


def pairs(group: Sequence[Sequence[str]]) -> np.ndarray:
    """Say of every pair of a group whether it is one synset."""
    return np.array([a[1] == b[1] for a, b in combinations(group, 2)])


def upper(square: Any) -> np.ndarray:
    """Return the pairs of a square matrix in the order of :func:`pairs`."""
    matrix = np.asarray(square)
    return matrix[np.triu_indices(len(matrix), 1)]


def measured(
    classes: Callable[[Sequence[Sequence[str]]], torch.Tensor], told: Sequence[Any]
) -> tuple[Point, float]:
    """Return precision, recall and F1 of pairs, and how many classes are found for one synset."""
    called, same, many, true = [], [], 0, 0
    for group in told:
        found = classes(group)
        called.append(upper(found[:, None] == found[None]))
        same.append(pairs(group))
        many += len(found.unique())
        true += len({synset for _, synset in group})
    return calibrate.measured(np.concatenate(called), np.concatenate(same), 1), many / true


def table(found: Mapping[str, Any], encode: Callable[..., Any]) -> list[str]:
    """Return the lines of the table."""
    train, held_out = (groups(found, split) for split in ("train", "held_out"))
    count = sum(map(len, map(pairs, held_out)))
    same = sum(int(pairs(g).sum()) for g in held_out)
    lines = [
        f"{sum(map(len, held_out))} right answers in {len(held_out)} groups, {count:,} pairs, "
        f"{same:,} of one synset; thresholds from {sum(map(len, map(pairs, train))):,} other pairs",
        f"{'':<34}precision  recall     F1  classes",
    ]

    def by_texts(partition: Callable[..., torch.Tensor], group: Sequence[Sequence[str]]) -> Any:
        return partition(texts=[text for text, _ in group])

    def by_cosine(encoder: Any, threshold: float, group: Sequence[Sequence[str]]) -> Any:
        return by_embedding(similarity=cosines(encoder, group), threshold=threshold)

    def picked(encoder: Callable[..., Any]) -> float:
        scores = np.concatenate([upper(cosines(encoder, g)) for g in train])
        return calibrate.best_threshold(scores, np.concatenate([pairs(g) for g in train])).threshold

    rows: dict[str, Callable[..., Any]] = {
        "equal text": partial(by_texts, by_text),
        "words' 3-grams, 0.5": partial(by_texts, by_ngram),
        "single words, 0.5": partial(by_texts, partial(by_ngram, n=1)),
    }
    for name, encoder in (("characters' n-grams", character_ngrams), ("MiniLM", encode)):
        best = picked(encoder)
        fixed = {f"{name}, {at}": at for at in THRESHOLDS} if encoder is encode else {}
        of = {**fixed, f"{name}, calibrated: {best:.2f}": best}
        rows |= {title: partial(by_cosine, encoder, at) for title, at in of.items()}
    for title, classes in rows.items():
        point, many = measured(classes, held_out)
        lines.append(
            f"{title:<34}{point.precision:>9.2f}{point.recall:>8.2f}{point.f1:>7.2f}{many:>9.2f}"
        )
    return lines


def _write(found: Mapping[str, Mapping[str, Group]]) -> None:
    """Write the answers, a category a line."""
    of = [
        f"{json.dumps(style)}: {{\n"
        + ",\n".join(f"{json.dumps(name)}: {json.dumps(g)}" for name, g in sorted(told.items()))
        + "\n}"
        for style, told in found.items()
    ]
    ANSWERS.write_text("{" + ",\n".join(of) + "}\n", encoding="utf-8")


def main() -> None:
    """Read the answers and print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--encoder", default=ENCODER, help="folder or name of all-MiniLM-L6-v2")
    parser.add_argument("--samples", type=Path, help="samples.jsonl of base_rates.py")
    options = parser.parse_args()
    if options.samples:
        _write(right_answers(options.samples))
    found = json.loads(ANSWERS.read_text(encoding="utf-8"))
    print("\n".join(table(found, SentenceEncoder(options.encoder))))


if __name__ == "__main__":
    main()
