"""From what a trainer remembers to a :class:`~divreg.monitor.observe.Batch`, by the user's words.

What is correct and what is the same answer is configured, never guessed: one reward function that
has returned nothing but 0 and 1 so far is the only default.
"""

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from divreg.metrics.classes import classes_from_keys
from divreg.monitor.observe import Batch
from divreg.rollouts import completion_text, text_of, told


class Reader:
    """Builds batches the way a user configured them.

    Args:
        correct: ``{"reward": NAME, "at_least": X}``, or ``f(prompt, completion) -> bool``.
        answer: A function from a completion's text to its answer, or None where there is none; if
            it has the keyword-only argument ``prompt``, it is told the prompt's text.
        partition: A function of `divreg.signals` that reads ``texts`` or ``answer``, such as
            ``by_answer`` or a partial of ``by_ngram``.

    Raises:
        ValueError: If one of them is of another kind, or ``partition`` asks for what a monitor
            does not have.
    """

    def __init__(
        self,
        correct: Mapping[str, Any] | Callable[[str, str], bool] | None = None,
        answer: Callable[..., str | None] | None = None,
        partition: Callable[..., Any] | None = None,
    ):
        self.correct, self.answer, self.partition = correct, answer, partition
        self.binary = True  # whether the only reward has been 0 or 1 so far
        if isinstance(correct, Mapping) and set(correct) - {"reward", "at_least"}:
            raise ValueError(
                f"CollapseMonitor's correct takes 'reward' and 'at_least'; got "
                f"{sorted(correct)}. Write {{'reward': 'accuracy_reward', 'at_least': 1.0}}."
            )
        if correct is not None and not isinstance(correct, Mapping) and not callable(correct):
            raise ValueError(
                f"CollapseMonitor's correct needs a mapping or a function; got {correct!r}. "
                f"Write correct={{'reward': 'accuracy_reward', 'at_least': 1.0}}."
            )
        for name, value in (("answer", answer), ("partition", partition)):
            if value is not None and not callable(value):
                raise ValueError(
                    f"CollapseMonitor's {name} needs a function; got {value!r}. "
                    f"Write {name}={'my_extractor' if name == 'answer' else 'signals.by_answer'}."
                )
        if partition is not None:
            self._check_partition(partition)

    @property
    def equivalence(self) -> str:
        """Say in a few words when two completions are the same."""
        if self.partition is not None:
            target = getattr(self.partition, "func", self.partition)
            return getattr(target, "__name__", type(target).__name__)
        return "by_answer" if self.answer is not None else "text"

    def describe_correct(self) -> str | None:
        """Say what makes a completion correct, None if nothing does."""
        if isinstance(self.correct, Mapping):
            return f"{self.correct.get('reward', 'reward')} >= {self.correct.get('at_least', 1.0)}"
        if self.correct is not None:
            return getattr(self.correct, "__name__", "function")
        return "the only reward function, while it returns 0 and 1" if self.binary else None

    def rollout(
        self,
        rows: Mapping[str, Any],
        group_size: int,
        weights: Sequence[float],
    ) -> Batch:
        """Build a batch from the rows that a TRL trainer remembers, see ``_seams.read_rollout``."""
        names = list(rows["rewards"])
        table = np.array([rows["rewards"][n] for n in names], dtype=float).reshape(len(names), -1).T
        batch = Batch(
            prompts=[text_of(p) for p in rows["prompt"]],
            completions=[completion_text(c) for c in rows["completion"]],
            group_size=group_size,
            rewards=table,
            reward_names=names,
            totals=_totals(table, weights),
            advantages=np.array(rows["advantages"], dtype=float),
            weights=list(weights),
        )
        return self.judged(batch)

    def judged(self, batch: Batch) -> Batch:
        """Fill in what a batch does not say itself: correctness, answers and classes."""
        if batch.correct is None:
            batch.correct = self._correct(batch)
        if batch.answers is None and self.answer is not None:
            pairs = zip(batch.prompts, batch.completions, strict=True)
            batch.answers = [told(self.answer, prompt)(text) for prompt, text in pairs]
        if batch.classes is None:
            batch.classes = self._classes(batch)
        return batch

    def _correct(self, batch: Batch) -> list[bool | None] | None:
        if isinstance(self.correct, Mapping):
            if batch.rewards.shape[0] == 0:
                return None
            name = self.correct.get("reward", batch.reward_names[0])
            column = batch.rewards[:, batch.reward_names.index(name)]
            bound = float(self.correct.get("at_least", 1.0))
            return [None if np.isnan(x) else bool(x >= bound) for x in column]
        if self.correct is not None:
            pairs = zip(batch.prompts, batch.completions, strict=True)
            return [bool(self.correct(p, c)) for p, c in pairs]
        return self._binary_reward(batch)

    def _binary_reward(self, batch: Batch) -> list[bool | None] | None:
        weights = batch.weights or [1.0] * len(batch.reward_names)
        counted = [i for i, w in enumerate(weights) if w != 0]
        if batch.rewards.shape[0] == 0 or len(counted) != 1 or not self.binary:
            return None
        column = batch.rewards[:, counted[0]]
        known = column[~np.isnan(column)]
        if not bool(((known == 0) | (known == 1)).all()):
            self.binary = False
            return None
        return [None if np.isnan(x) else bool(x) for x in column]

    def _classes(self, batch: Batch) -> list[int] | None:
        if self.partition is None and batch.answers is None:
            return None
        g, starts = batch.group_size, range(0, len(batch.completions), batch.group_size)
        answers = [(batch.answers or [])[s : s + g] for s in starts]
        if self.partition is None:
            return [c for group in answers for c in classes_from_keys(group)]
        wanted = _signals_of(self.partition)
        inputs: dict[str, Any] = {"answer": answers} if "answer" in wanted else {}
        if "texts" in wanted:
            inputs["texts"] = [batch.completions[s : s + g] for s in starts]
        return [int(c) for group in self.partition(**inputs).tolist() for c in group]

    def _check_partition(self, partition: Callable[..., Any]) -> None:
        wanted = _signals_of(partition)
        if wanted - {"texts", "answer"}:
            raise ValueError(
                f"CollapseMonitor's partition needs a function of texts or answer; got one of "
                f"{sorted(wanted)}. Configure it on the trainer: DiverseGRPOTrainer(..., "
                f"signals={{'partition': ...}})."
            )
        if "answer" in wanted and self.answer is None:
            raise ValueError(
                "CollapseMonitor's partition asks for answers; got no extractor. "
                "Add answer=<a function from text to answer>."
            )


def watched(trainer: Any, step: int) -> dict[str, float]:
    """Return the signals of all that watches a trainer beside its monitor; collective."""
    found: dict[str, float] = {}
    for watch in getattr(trainer, "_divreg_watches", ()):
        found |= watch.signals(step)
    return found


def _signals_of(function: Callable[..., Any]) -> set[str]:
    parameters = inspect.signature(function).parameters.values()
    return {p.name for p in parameters if p.default is p.empty}


def _totals(table: np.ndarray, weights: Sequence[float]) -> np.ndarray:
    """Add up rewards as TRL does ``(N,)``; NaN where no function gave a number."""
    totals = np.nansum(table * np.asarray(weights, dtype=float), axis=1)
    totals[np.isnan(table).all(axis=1)] = np.nan
    return totals
