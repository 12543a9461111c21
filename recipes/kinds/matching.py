"""How well answers of the task kinds are read: its grader against labels made by hand.

python recipes/kinds/matching.py [--errors]

400 answers of SmolLM2-135M-Instruct, drawn at temperature 1 from all 84 categories, half of them
from a conversation and half from two examples, were labelled by reading them; the head of
tests/tasks/kinds_labels.jsonl says how. The grader was made with the 300 of the first set in view;
the 100 of the second were labelled before anything had read them, and nothing was changed after.
"""

import argparse
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from divreg.tasks import kinds

LABELS = Path(__file__).parents[2] / "tests" / "tasks" / "kinds_labels.jsonl"


@dataclass(frozen=True)
class Score:
    """What a grader finds of what a reader accepts.

    Attributes:
        answers: How many were read.
        accepted: How many of them a reader accepts as a kind of the category.
        known: Of these, how many are in WordNet below it.
        graded: How many answers the grader accepts at all.
        agreed: Of these, how many the reader accepts, in the same meaning.
    """

    answers: int
    accepted: int
    known: int
    graded: int
    agreed: int

    @property
    def precision(self) -> float:
        """Share of what the grader accepts that is right."""
        return self.agreed / self.graded

    @property
    def recall(self) -> float:
        """Share found of what is right and in WordNet."""
        return self.agreed / self.known

    @property
    def recall_of_all(self) -> float:
        """Share found of what is right, in WordNet or not."""
        return self.agreed / self.accepted

    @property
    def f1(self) -> float:
        """Harmonic mean of precision and recall."""
        return 2 * self.precision * self.recall / (self.precision + self.recall)


def read() -> list[dict[str, Any]]:
    """Return the labelled answers; the first line of the file is about the others."""
    return [json.loads(line) for line in LABELS.read_text("utf-8").splitlines()[1:]]


def score(rows: Sequence[dict[str, Any]]) -> Score:
    """Compare the grader with the labels."""
    graded = [kinds.answer(row["completion"], row["category"]) for row in rows]
    pairs = list(zip(rows, graded, strict=True))
    agreed = sum(found is not None and found == row["synset"] for row, found in pairs)
    return Score(
        answers=len(rows),
        accepted=sum(row["right"] for row in rows),
        known=sum(row["synset"] is not None for row in rows),
        graded=sum(found is not None for found in graded),
        agreed=agreed,
    )


def main() -> None:
    """Print precision and recall, and with --errors where grader and reader disagree."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--errors", action="store_true")
    options = parser.parse_args()
    rows = read()
    print(
        "set     style     answers  right  in WordNet  graded right  precision  recall   F1  of all"
    )
    for which in ("first", "second"):
        for style in ("chat", "few-shot", None):
            some = [r for r in rows if r["set"] == which and style in (None, r["style"])]
            s = score(some)
            print(
                f"{which:<8}{style or 'both':<10}{s.answers:>7}{s.accepted:>7}{s.known:>12}"
                f"{s.graded:>14}{s.precision:>11.3f}{s.recall:>8.3f}{s.f1:>6.3f}"
                f"{s.recall_of_all:>7.3f}"
            )
    if options.errors:
        for row in rows:
            found = kinds.answer(row["completion"], row["category"])
            if found != row["synset"]:
                told = row["synset"] or row["answer"]
                print(
                    f"{row['set']} [{row['category']}] {row['completion']!r}: {told}, not {found}"
                )


if __name__ == "__main__":
    main()
