"""What a verifiable task is made of, and the ones that come along."""

import difflib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from divreg.tasks import countdown, expressions, kinds

if TYPE_CHECKING:
    from datasets import Dataset


@dataclass(frozen=True)
class Task:
    """A task whose right answers can be told from wrong ones, and from each other.

    Attributes:
        name: What it is called; ``divreg bench`` files its results under it.
        dataset: Split name, ``"train"`` or ``"held_out"``, to a data set with a column ``prompt``.
        reward: A TRL reward function: 1 for right, 0 for wrong.
        is_correct: Whether a text answers a row of the data set.
        answer: The class of a text; two right answers of one class are the same answer. A function
            with the keyword-only argument ``prompt`` is told what was asked, as text.
        max_tokens: The longest answer.
        model: Builds or finds the base model, in a folder; called with a function that is told
            (steps done, steps in all).
        side_by_side: Whether ``is_correct`` may be called from several threads at once.
        stop: Texts that end an answer of a model that has no chat template.
        group: The kind of task, for the prompts of a data set; empty for those made here.
    """

    name: str
    dataset: "Callable[[str], Dataset]"
    reward: Callable[..., list[float]]
    is_correct: Callable[[str, Mapping[str, Any]], bool]
    answer: Callable[..., str | None]
    max_tokens: int
    model: Callable[..., Path]
    side_by_side: bool = False
    stop: tuple[str, ...] = ()
    group: str = ""


def nearest(name: str, names: Iterable[str]) -> str:
    """Return the name that was probably meant, as a question; empty if none is near."""
    near = difflib.get_close_matches(str(name), list(names), n=1)
    return f"Did you mean {near[0]!r}?" if near else ""


def _tiny(corpus: str) -> Callable[..., Path]:
    def build(progress: Callable[[int, int], Any] | None = None) -> Path:
        from divreg.tasks import tiny

        return tiny.base_model(tiny.RECIPES[corpus], progress)

    return build


def _none_of_its_own(progress: Callable[[int, int], Any] | None = None) -> Path:  # noqa: ARG001
    raise ValueError(
        "task 'kinds' has no base model of its own: it is asked in English. Name one, a folder or "
        "a name on the hub: `model: HuggingFaceTB/SmolLM2-135M-Instruct`."
    )


def _is_worth(text: str, row: Mapping[str, Any]) -> bool:
    return expressions.is_correct(text, row["target"])


def _hard_dataset(split: str) -> "Dataset":
    return expressions.dataset(numbers=expressions.targets(split, expressions.HARD_TARGETS))


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
    model=_none_of_its_own,
    side_by_side=True,
    stop=("\n",),
)
TASKS = {task.name: task for task in (EXPRESSIONS, EXPRESSIONS_HARD, COUNTDOWN, KINDS)}


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
