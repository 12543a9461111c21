"""Preference pairs from a model's own samples of the expressions, under a judge with taste.

The judge wants right answers, and of those the ones that the teacher of
:mod:`divreg.tasks.teacher` says most; so whoever learns from its best and worst learns to be right
and to say little else. The same samples, paired otherwise, make the other data sets. The model is
one that has seen fewer wrong solutions than the base model of the demo, as one after SFT has: still
broad, and right more often.
"""

import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from divreg.data import pairs
from divreg.tasks import expressions, teacher
from divreg.tasks.task import EXPRESSIONS

if TYPE_CHECKING:
    from datasets import Dataset

POOLS, SAMPLES, PAIRS = 8, 16, 2
"""Pools of a number, samples in each, and pairs that a pool gives where it can."""
NOISE = 0.15
"""Share of wrong solutions among the last texts that the model has read."""
RHO = 0.25
"""DivPO's share."""


def start(progress: Callable[[int, int], Any] | None = None) -> Path:
    """Return the folder of the model that samples, and that preferences are taught to.

    Args:
        progress: Called with (steps done, steps in all) where it has to be built.
    """
    from divreg.tasks import tiny

    return tiny.base_model(replace(tiny.RECIPES["expressions"], noise=NOISE), progress)


TASK = replace(EXPRESSIONS, name="expressions-preferences", model=start)
"""The task of the demo, from that model."""


def reward(text: str, number: int) -> float:
    """Score an answer: 1 to 2 for a right one, the more the teacher likes it; else at most 0.25.

    >>> reward("9*2+6", 24), reward("8*2+8", 24), reward("9*2+7", 24), reward("9*", 24)
    (2.0, 1.5, 0.25, 0.0)
    """
    expression = expressions.parse(text)
    if expression is None:
        return 0.0
    if not expressions.is_correct(text, number):
        return 0.5 / (1.0 + max(1.0, float(abs(expression.value - number))))
    return 1.0 + _liked(number).get(expression.canonical, 0.0)


@lru_cache(maxsize=len(expressions.TARGETS))
def _liked(number: int) -> dict[str | None, float]:
    answers = enumerate(teacher.ranked(number), 1)
    return {expressions.answer(text): 1.0 / rank for rank, text in answers}


def preferences(split: str = "train", seed: int = 0) -> "Dataset":
    """Pair the best of each pool with the worst and with another, as most preference data do.

    Columns ``prompt``, ``chosen``, ``rejected`` and ``weight``: DDPO's, how rare the chosen answer
    is in its pool. The worst is wrong, the other often right and only less liked.

    Args:
        split: Whose numbers; ``"train"``.
        seed: Of the sampling.
    """
    rng = random.Random(seed)

    def choose(rewards: list[float], rare: list[float], texts: Sequence[str]) -> pairs.Picked:
        found = pairs.divpo_pairs(rewards, rare, rho=0.0, texts=texts).pairs
        others = [
            (best, rng.choice([j for j, r in enumerate(rewards) if r < rewards[best]]))
            for best, _ in found
        ]
        return pairs.Picked(found + others)

    return _paired(split, seed, choose)


def best_and_worst(split: str = "train", seed: int = 0) -> "Dataset":
    """Pair the best of each pool with the two worst: what is rejected is as wrong as DivPO's.

    Args:
        split: Whose numbers; ``"train"``.
        seed: Of the sampling.
    """

    def choose(rewards: list[float], rare: list[float], texts: Sequence[str]) -> pairs.Picked:
        found = pairs.divpo_pairs(rewards, rare, rho=0.0, texts=texts).pairs
        worst = dict.fromkeys(texts[j] for j in sorted(range(len(texts)), key=rewards.__getitem__))
        two = [texts.index(text) for text in list(worst)[:PAIRS]]
        return pairs.Picked(
            [(best, j) for best, _ in found for j in two if rewards[j] < rewards[best]]
        )

    return _paired(split, seed, choose)


def divpo_by_range(split: str = "train", seed: int = 0) -> "Dataset":
    """Pair the same samples as DivPO does, its share read as one of the range of the rewards."""
    return _divpo(split, seed, "range")


def divpo_by_count(split: str = "train", seed: int = 0) -> "Dataset":
    """Pair the same samples as DivPO does, its share read as one of the number of responses."""
    return _divpo(split, seed, "count")


def _divpo(split: str, seed: int, threshold: Literal["range", "count"]) -> "Dataset":
    def choose(rewards: list[float], rare: list[float], texts: Sequence[str]) -> pairs.Picked:
        return pairs.divpo_pairs(
            rewards, rare, rho=RHO, threshold=threshold, count=PAIRS, texts=texts
        )

    return _paired(split, seed, choose)


def _paired(
    split: str, seed: int, choose: Callable[[list[float], list[float], Sequence[str]], pairs.Picked]
) -> "Dataset":
    from datasets import Dataset

    found: list[dict[str, Any]] = []
    for number, texts in zip(expressions.targets(split), _samples(split, seed), strict=True):
        for at in range(0, len(texts), SAMPLES):
            pool = texts[at : at + SAMPLES]
            rewards = [reward(text, number) for text in pool]
            rare = pairs.inverse_frequency([expressions.answer(text) or text for text in pool])
            weights = pairs.deviation_weights(pairs.deviation_scores(rare))
            found += [
                {
                    "prompt": expressions.prompt(number),
                    "chosen": pool[i],
                    "rejected": pool[j],
                    "weight": float(weights[i]),
                }
                for i, j in choose(rewards, rare, pool).pairs
            ]
    return Dataset.from_list(found)


@lru_cache(maxsize=2)
def _samples(split: str, seed: int) -> tuple[tuple[str, ...], ...]:
    """Draw from the model: of each number, all its pools one after the other."""
    from divreg.tasks import tiny
    from divreg.tasks.sampling import Way, draw

    model, names = tiny.load(start())
    way = Way(POOLS * SAMPLES, EXPRESSIONS.max_tokens + 2, seed=seed)
    prompts = [expressions.prompt(n) for n in expressions.targets(split)]
    drawn = draw(model.eval(), names, prompts, way, nuclei=False)
    return tuple(tuple(one.text for one in own) for own in drawn)
