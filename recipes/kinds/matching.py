"""How well answers of the task kinds are read: its grader against labels made by hand.

python recipes/kinds/matching.py [--errors]

500 answers of SmolLM2-135M-Instruct, drawn at temperature 1 from all 84 categories, 200 from a
conversation and 300 from two examples, were labelled by reading them, before the grader read any;
the head of tests/tasks/kinds_labels.jsonl says how. Whoever changes the grader looks at the errors
of the first set of 300 only: the 200 of the second say what it is worth on answers not yet seen.
"""

import argparse
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from divreg.tasks import kinds

LABELS = Path(__file__).parents[2] / "tests" / "tasks" / "kinds_labels.jsonl"
COLUMNS = ("answers", "accepted", "known", "graded", "agreed", "same", "precision", "recall", "f1")


@dataclass(frozen=True)
class Score:
    """What a grader finds of what a reader accepts.

    Attributes:
        answers: How many were read.
        accepted: How many of them the reader accepts as a kind of the category.
        known: How many of these WordNet has below the category.
        graded: How many answers the grader accepts.
        agreed: How many of these the reader accepts.
        same: How many of these the grader gives the meaning that the reader gave them.
    """

    answers: int
    accepted: int
    known: int
    graded: int
    agreed: int
    same: int

    @property
    def precision(self) -> float:
        """Share of what the grader accepts that the reader accepts."""
        return self.agreed / self.graded

    @property
    def recall(self) -> float:
        """Share of what the reader accepts and WordNet has that the grader finds, as what it is."""
        return self.same / self.known

    @property
    def f1(self) -> float:
        """Harmonic mean of precision and recall."""
        return 2 * self.precision * self.recall / (self.precision + self.recall)


def read() -> list[dict[str, Any]]:
    """Return the labelled answers; the first line of the file is about the others."""
    return [json.loads(line) for line in LABELS.read_text("utf-8").splitlines()[1:]]


def score(rows: Sequence[dict[str, Any]]) -> Score:
    """Compare the grader with the labels."""
    graded = [(row, kinds.answer(row["completion"], row["category"])) for row in rows]
    found = [(row, synset) for row, synset in graded if synset is not None]
    return Score(
        answers=len(rows),
        accepted=sum(row["right"] for row in rows),
        known=sum(row["synset"] is not None for row in rows),
        graded=len(found),
        agreed=sum(row["right"] for row, _ in found),
        same=sum(row["synset"] == synset for row, synset in found),
    )


def main() -> None:
    """Print precision and recall, and with --errors where grader and reader disagree."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--errors", action="store_true", help="of the first set")
    options = parser.parse_args()
    rows = read()
    print(f"{'set':<8}{'style':<9}" + "".join(f"{name:>10}" for name in COLUMNS))
    for which in ("first", "second"):
        for style in ("chat", "few-shot", "both"):
            some = [r for r in rows if r["set"] == which and style in ("both", r["style"])]
            found = score(some)
            cells = [getattr(found, name) for name in COLUMNS]
            texts = [f"{c:>10.3f}" if isinstance(c, float) else f"{c:>10}" for c in cells]
            print(f"{which:<8}{style:<9}" + "".join(texts))
    for row in rows if options.errors else ():
        synset = kinds.answer(row["completion"], row["category"])
        if row["set"] == "first" and synset != row["synset"]:
            meant = row["synset"] or row["answer"] or "nothing"
            print(f"[{row['category']}] {row['completion']!r}: {meant}, read as {synset}")


if __name__ == "__main__":
    main()
