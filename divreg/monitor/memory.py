"""What a monitor remembers across steps: which answers a prompt has had, and the first formats.

The state is plain JSON and the same on every process. It is bounded, see :class:`Explored`, and
saved with every checkpoint.
"""

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

from divreg.metrics.format_shares import (
    ECHO_CHAMBER,
    format_accuracy,
    format_classifier,
    format_entropy_frac,
    format_kl_nats,
    format_names,
    format_shares,
    format_top_frac,
    smoothed_shares,
)
from divreg.monitor.observe import Observation

REMEMBERED = 65_536  # prompts and answers, together: under a megabyte in a checkpoint
MOST_FORMATS = 16  # that a function may name; what it names later is OTHER
OTHER = "other"


class Memory:
    """Adds to what one step shows what only several steps show.

    Args:
        formats: None: formats are not looked at. True: the surface markers of the Echo Chamber
            paper. Otherwise see :func:`~divreg.metrics.format_shares.format_classifier`.
        baseline_steps: Updates whose formats are the base of the drift.

    Raises:
        ValueError: If ``formats`` is of another kind; the message says what to type.
    """

    def __init__(self, formats: Any = None, baseline_steps: int = 10):
        off = formats is None or formats is False
        self.formats = None if off else Formats(formats, baseline_steps)
        self.explored = Explored()

    def describe_formats(self) -> Any:
        """Say what names a format: expressions by name, or the function; None without formats."""
        return None if self.formats is None else self.formats.describe()

    def study(self, seen: Observation) -> None:
        """Add signals and groups to a step of training, and remember it."""
        self._add_formats(seen, learn=True)
        counts = self.explored.add(seen.groups["prompt_id"], seen.answers)
        if counts:
            seen.groups["explored"] = self.explored.of(seen.groups["prompt_id"])
        seen.signals.update(counts)

    def glance(self, seen: Observation) -> None:
        """Add the signals of formats to an evaluation, and remember nothing of it."""
        self._add_formats(seen, learn=False)

    def state_dict(self) -> dict[str, Any]:
        """Return everything that continuing needs, as JSON values."""
        formats = None if self.formats is None else self.formats.state_dict()
        return {"explored": self.explored.state_dict(), "formats": formats}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from :meth:`state_dict`; formats that were not looked at before start now."""
        self.explored.load_state_dict(state["explored"])
        if self.formats is not None and state["formats"] is not None:
            self.formats.load_state_dict(state["formats"])

    def _add_formats(self, seen: Observation, *, learn: bool) -> None:
        if self.formats is not None:
            texts, correct = seen.columns["completion"], seen.columns["correct"]
            seen.signals.update(self.formats.measure(texts, correct, learn=learn))


class Formats:
    """Names the format of every completion, and compares with the run's first steps.

    Args:
        formats: See :class:`Memory`.
        baseline_steps: Updates that make the base.
    """

    def __init__(self, formats: Any, baseline_steps: int):
        self.given = ECHO_CHAMBER if formats is True else formats
        self.classify: Callable[[str], str] = format_classifier(self.given)
        self.fixed = isinstance(self.given, Mapping)
        self.names = format_names(self.given) if self.fixed else []
        self.baseline_steps = baseline_steps
        self.updates = 0
        self.base: Counter[str] = Counter()

    def describe(self) -> Any:
        """Return the expressions by name, or the name of the function."""
        if self.fixed:
            return dict(self.given)
        return getattr(self.given, "__name__", type(self.given).__name__)

    def measure(
        self, texts: list[str], correct: list[bool | None], *, learn: bool
    ) -> dict[str, float]:
        """Return the signals of one step; the drift only once the base is complete.

        Args:
            texts: Completions, all processes together.
            correct: Whether each is right; None where unknown.
            learn: Whether these completions belong to the run, or are an evaluation.
        """
        named = [self._known(self.classify(text), learn) for text in texts]
        shares = format_shares(named, self.names)
        signals = {f"format_share_{f}": p for f, p in shares.items()}
        signals["format_entropy_frac"] = format_entropy_frac(shares)
        signals["format_top_frac"] = format_top_frac(shares)
        accuracy = format_accuracy(named, correct)
        signals |= {f"format_accuracy_{f}": accuracy[f] for f in shares if f in accuracy}
        if self.updates >= self.baseline_steps:
            base = smoothed_shares(self.base, list(shares))
            signals["format_kl_nats"] = format_kl_nats(shares, base)
        elif learn:
            self.updates += 1
            self.base.update(named)
        return signals

    def state_dict(self) -> dict[str, Any]:
        """Return what is remembered, as JSON values."""
        return {
            "given": self.describe(),
            "names": list(self.names),
            "updates": self.updates,
            "base": dict(self.base),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from :meth:`state_dict`; other formats than before start anew."""
        if state["given"] != self.describe():
            return
        self.names, self.updates = list(state["names"]), state["updates"]
        self.base = Counter(state["base"])

    def _known(self, name: str, learn: bool) -> str:
        if not self.fixed and name not in self.names:
            if len(self.names) >= MOST_FORMATS - 1:
                name = OTHER
            if learn and name not in self.names:
                self.names.append(name)
        return name


class Explored:
    """Counts the different answers that each prompt has been given during the run.

    An answer is a class of a group. It is new if none of its completions was said before to that
    prompt; completions are compared by their extracted answer where there is an extractor, else by
    their normalised text. :class:`~divreg.monitor.observe.Observation` says which groups can be
    compared.

    Memory is bounded: beyond ``most`` prompts and answers the prompts with the largest ids are
    forgotten and never taken in again. Ids are hashes, so those that stay are a random sample of
    the prompts, each followed since it was first seen, and the same on every process.

    Args:
        most: Prompts and answers to remember, in all.

    Source:
        Counts of answers by prompt: Song et al., Outcome-based Exploration, arXiv:2509.06941. The
        sample: bottom-k sketch, Cohen and Kaplan, 2007.
    """

    def __init__(self, most: int = REMEMBERED):
        self.most = most
        self.below: str | None = None  # ids from here on are not followed
        self.counts: dict[str, int] = {}
        self.said: dict[str, set[str]] = {}
        self.size = 0

    def add(self, prompt_ids: list[str], answers: list[list[list[str]] | None]) -> dict[str, float]:
        """Count the answers of a step.

        Args:
            prompt_ids: The prompt of each group.
            answers: For each group its classes, for each class the keys of its answers; None for
                a group that cannot be compared.

        Returns:
            ``new_answers``: answers never given before, per prompt of the step;
            ``new_answers_frac``: share of the step's prompts with such an answer;
            ``explored_answers``: different answers since the run began, mean over all prompts.
            Empty if the step has no prompt that is followed.
        """
        new: dict[str, int] = {}
        for prompt, classes in zip(prompt_ids, answers, strict=True):
            if classes is None or (self.below is not None and prompt >= self.below):
                continue
            self.size += prompt not in self.said
            said = self.said.setdefault(prompt, set())
            before, found = len(said), 0
            for keys in classes:
                found += said.isdisjoint(keys)
                said.update(keys)
            self.size += len(said) - before
            new[prompt] = new.get(prompt, 0) + found
            self.counts[prompt] = self.counts.get(prompt, 0) + found
        if not new:
            return {}
        explored = sum(self.counts.values()) / len(self.counts)
        self._forget()
        return {
            "new_answers": sum(new.values()) / len(new),
            "new_answers_frac": sum(n > 0 for n in new.values()) / len(new),
            "explored_answers": explored,
        }

    def of(self, prompt_ids: list[str]) -> list[int | None]:
        """Return how many answers each prompt has had so far; None where it is not followed."""
        return [self.counts.get(prompt) for prompt in prompt_ids]

    def state_dict(self) -> dict[str, Any]:
        """Return what is remembered, as JSON values."""
        said = {prompt: " ".join(sorted(keys)) for prompt, keys in self.said.items()}
        return {"below": self.below, "counts": dict(self.counts), "said": said}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from :meth:`state_dict`."""
        self.below, self.counts = state["below"], dict(state["counts"])
        self.said = {prompt: set(keys.split()) for prompt, keys in state["said"].items()}
        self.size = len(self.said) + sum(map(len, self.said.values()))

    def _forget(self) -> None:
        if self.size <= self.most:
            return
        for prompt in sorted(self.said, reverse=True):
            if self.size <= self.most:
                break
            self.below = prompt
            self.size -= 1 + len(self.said.pop(prompt))
            del self.counts[prompt]
