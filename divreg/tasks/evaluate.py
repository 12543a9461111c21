"""What a model can do of a verifiable task: right how often, in how many different ways."""

import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, cast

from divreg.metrics.answer_entropy import answer_entropy_mm_nats
from divreg.metrics.ngrams import distinct_n
from divreg.metrics.pass_at_k import pass_at_k
from divreg.metrics.richness import rarefied_distinct
from divreg.metrics.vendi import vendi_score_from_embeddings
from divreg.rollouts import told
from divreg.tasks.sampling import Way, draw
from divreg.tasks.task import EXPRESSIONS, Task


@dataclass(frozen=True)
class Score:
    """Means over the prompts, of ``k`` samples each unless the name says otherwise."""

    pass_at_1: float
    pass_at_k: float
    distinct_correct: float
    """Expected number of different correct answers among ``k`` samples of one prompt."""
    entropy_nats: float
    """Mean over sampled tokens of the entropy of the distribution each was drawn from."""
    class_entropy_nats: float
    """Entropy of a prompt's right answers, corrected for how few they are (Miller, 1955)."""
    distinct_ngrams: float
    """Share of a prompt's character 2- and 3-grams, in ``k`` samples, that are different."""
    pass_at: Mapping[str, float]
    """pass@k for every power of two up to the number of samples, by k."""
    targets: int
    samples: int
    k: int
    vendi: float | None = None
    """Effective number of different texts among ``k`` of a prompt, where they were embedded."""

    def as_dict(self) -> dict[str, Any]:
        """Return the score as a row for a JSON file."""
        return {name: value for name, value in asdict(self).items() if value is not None}


def evaluate(
    model: Any,
    names: Any,
    task: Task = EXPRESSIONS,
    *,
    rows: Sequence[Mapping[str, Any]] | None = None,
    samples: int = 128,
    k: int = 32,
    seed: int = 1234,
    rows_at_once: int = 2048,
    encode: Callable[[Sequence[str]], Any] | None = None,
) -> Score:
    """Score a model on the held-out prompts of a task.

    More samples than ``k`` are drawn and all of them used: pass@k is the unbiased estimator, and
    the distinct correct answers are the expectation over all subsets of size ``k`` (rarefaction).

    Args:
        model: The model; it is put in evaluation mode.
        names: Its tokenizer.
        task: What is asked, and what is right.
        rows: Rows of the task's data set; default, its held-out ones.
        samples: Samples per prompt, at least ``k``.
        k: The budget that the score speaks of.
        seed: Of the sampling.
        rows_at_once: Answers written side by side.
        encode: From n texts to their embeddings ``(n, d)``, for the Vendi score.

    Raises:
        ValueError: For an open task.
    """
    is_correct, answer = (task.need(part, "evaluate") for part in ("is_correct", "answer"))
    if rows is None:
        rows = cast(Sequence[Mapping[str, Any]], list(task.dataset("held_out")))
    way = Way(samples, task.max_tokens + 2, seed=seed)
    drawn = draw(
        model.eval(), names, [row["prompt"] for row in rows], way,
        nuclei=False, rows_at_once=rows_at_once,
    )  # fmt: skip
    groups = [[one.text for one in own] for own in drawn]
    right = [
        [told(answer, row["prompt"])(t) for t in texts if is_correct(t, row)]
        for row, texts in zip(rows, groups, strict=True)
    ]
    tokens = [one.tokens for own in drawn for one in own]
    entropies = [cast(float, one.entropy) for own in drawn for one in own]
    budgets = [2**i for i in range(samples.bit_length())]
    return Score(
        pass_at_1=_mean(len(r) / samples for r in right),
        pass_at_k=_mean(pass_at_k(samples, len(r), k) for r in right),
        distinct_correct=_mean(rarefied_distinct(r, k, samples) for r in right),
        entropy_nats=sum(map(operator.mul, entropies, tokens)) / sum(tokens),
        class_entropy_nats=_mean(map(answer_entropy_mm_nats, right)),
        distinct_ngrams=_mean(
            (
                distinct_n([" ".join(t) for t in texts[:k]], 2)
                + distinct_n([" ".join(t) for t in texts[:k]], 3)
            )
            / 2
            for texts in groups
        ),
        pass_at={str(n): _mean(pass_at_k(samples, len(r), n) for r in right) for n in budgets},
        targets=len(rows),
        samples=samples,
        k=k,
        vendi=_mean(vendi_score_from_embeddings(encode(t[:k])) for t in groups) if encode else None,
    )


def _mean(values: Any) -> float:
    values = list(values)
    return sum(values) / len(values)
