"""What a task is made of, and the ones that come along."""

import difflib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from divreg.tasks import countdown, expressions, kinds

if TYPE_CHECKING:
    from datasets import Dataset


@dataclass(frozen=True)
class Task:
    """Prompts, and how their answers are told right from wrong and from each other.

    Attributes:
        name: What it is called; ``divreg bench`` files its results under it.
        dataset: Split name, ``"train"`` or ``"held_out"``, to a data set with a column ``prompt``:
            a text, or a conversation, and then a column ``plain`` beside it, the same question for
            a model without chat template.
        reward: A TRL reward function: 1 for right, 0 for wrong. None where nobody trains on it.
        is_correct: Whether a text answers a row of the data set; what it returns is None where
            this machine cannot judge it. None for an open task, which has no right answers.
        answer: The class of a text, None where it has none; two right answers of one class are the
            same answer. One with the keyword-only argument ``prompt`` is told what was asked,
            as text. None where texts are the only classes.
        max_tokens: The longest answer.
        model: Builds or finds the base model, in a folder; called with a function that is told
            (steps done, steps in all). None where the task has no model of its own.
        side_by_side: Whether ``is_correct`` and ``answer`` may be called from several threads.
        stop: Texts that end an answer of a model without chat template: it is cut before the first.
        group: The kind of prompts, where they are of a data set of others: summaries, code, ...
        scored: The splits that a benchmark scores; the first is what its table begins with.
        budget: Of a run on a model of one's own: ``steps``, and keys of TRL's config.
    """

    name: str
    dataset: "Callable[[str], Dataset]"
    reward: Callable[..., list[float]] | None
    is_correct: Callable[[str, Mapping[str, Any]], bool | None] | None
    answer: Callable[..., str | None] | None
    max_tokens: int
    model: Callable[..., Path] | None
    side_by_side: bool = False
    stop: tuple[str, ...] = ()
    group: str = ""
    scored: tuple[str, ...] = ("held_out",)
    budget: Mapping[str, Any] = field(default_factory=dict)

    def need(self, part: str, who: str) -> Any:
        """Return what a command cannot do without.

        Args:
            part: Name of an attribute that may be None.
            who: The command, for the message.

        Raises:
            ValueError: If it is None.
        """
        found = getattr(self, part)
        if found is None and part == "model":
            raise ValueError(
                f"{who} needs a language model, as {self.name} has none of its own. Name one: "
                f"model: FOLDER_OR_HUB_NAME."
            )
        if found is None:
            raise ValueError(
                f"{who} needs a task that has {part}; {self.name} has none. Use one of "
                f"{', '.join(TASKS)}, or a Task of your own with {part}=..."
            )
        return found


def nearest(name: str, names: Iterable[str]) -> str:
    """Return the name that was probably meant, as a question; empty if none is near."""
    near = difflib.get_close_matches(str(name), list(names), n=1)
    return f"Did you mean {near[0]!r}?" if near else ""


def _tiny(corpus: str) -> Callable[..., Path]:
    def build(progress: Callable[[int, int], Any] | None = None) -> Path:
        from divreg.tasks import tiny

        return tiny.base_model(tiny.RECIPES[corpus], progress)

    return build


def _is_worth(text: str, row: Mapping[str, Any]) -> bool:
    return expressions.is_correct(text, row["target"])


def _hard_dataset(split: str) -> "Dataset":
    return expressions.dataset(numbers=expressions.targets(split, expressions.HARD_TARGETS))


def _kinds_short(split: str) -> "Dataset":
    return kinds.dataset(split, style="short")  # pyright: ignore[reportArgumentType]


EXPRESSIONS = Task(
    "expressions",
    expressions.dataset,  # pyright: ignore[reportArgumentType]  # it names its two splits
    expressions.accuracy_reward,
    _is_worth,
    expressions.answer,
    max_tokens=12,
    model=_tiny("expressions"),
)
EXPRESSIONS_HARD = replace(
    EXPRESSIONS,
    name="expressions-hard",
    dataset=_hard_dataset,
    model=_tiny("expressions-hard"),
)
COUNTDOWN = Task(
    "countdown",
    countdown.dataset,  # pyright: ignore[reportArgumentType]  # it names its two splits
    countdown.accuracy_reward,
    lambda text, row: countdown.is_correct(text, row["numbers"], row["target"]),
    expressions.answer,
    max_tokens=12,
    model=_tiny("countdown"),
)
KINDS = Task(
    "kinds",
    kinds.dataset,  # pyright: ignore[reportArgumentType]  # it names its two splits
    kinds.accuracy_reward,
    lambda text, row: kinds.is_correct(text, row["category"]),
    kinds.extract,
    max_tokens=16,
    model=None,
    side_by_side=True,
    stop=("\n",),
    scored=("held_out", "train"),
)
KINDS_SHORT = replace(
    KINDS,
    name="kinds-short",
    dataset=_kinds_short,
    max_tokens=8,
    budget={"steps": 40, "learning_rate": 4e-5, "per_device_train_batch_size": 64},
)
TASKS = {task.name: task for task in (EXPRESSIONS, EXPRESSIONS_HARD, COUNTDOWN, KINDS, KINDS_SHORT)}


def find(name: str) -> Task:
    """Return a task by its name, or by the dotted path of your own.

    Raises:
        ValueError: If there is none.
    """
    from divreg import spec

    if name in TASKS:
        return TASKS[name]
    if "." not in str(name):
        known = ", ".join(TASKS)
        cure = nearest(name, TASKS) or "Or the dotted path of a Task of your own."
        raise ValueError(f"there is no task {name!r}; there are {known}. {cure}")
    found = spec.named(name, "task")
    if not isinstance(found, Task):
        raise ValueError(
            f"task {name!r} needs to be a divreg.tasks.task.Task; got {type(found).__name__}. "
            f"Build one: Task(name, dataset, reward, ...)."
        )
    return found
