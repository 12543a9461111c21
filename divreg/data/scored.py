"""From files of scored responses to preference pairs, a prompt at a time."""

import json
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import track

from divreg.data import criteria
from divreg.data.criteria import Options
from divreg.data.pairs import (
    ONE,
    Picked,
    best_and_worst,
    deviation_scores,
    deviation_weights,
    divpo_pairs,
    inverse_frequency,
    mean_distance,
)
from divreg.measure import generations
from divreg.measure.generations import Problems, Sample
from divreg.measure.groups import Group, Groups
from divreg.measure.run import without_reasoning
from divreg.metrics.classes import (
    classes_from_keys,
    classes_from_similarity,
    normalise_text,
    text_classes,
)
from divreg.metrics.cosine import unit_rows

_AT_A_TIME = 64  # prompts whose responses are embedded together
_COLUMNS = 60  # names of columns that are remembered, for the message of an error


@dataclass(frozen=True)
class Response:
    """One response as a pair has it.

    Attributes:
        sample: What was read.
        answer: Its text without reasoning.
        reward: In the unit of its column.
        diversity: How rare it is, in the unit of the criterion.
        weight: How much a pair counts in which it is chosen, see ``deviation_weights``.
    """

    sample: Sample
    answer: str
    reward: float
    diversity: float
    weight: float


@dataclass(frozen=True)
class Pair:
    """A chosen and a rejected response to one prompt, and of how many responses."""

    chosen: Response
    rejected: Response
    of: int


@dataclass
class Found:
    """What was made of files of scored responses.

    Attributes:
        facts: How pairs were chosen, and of how much.
        pairs: In the order of the files.
        numbers: Means over all chosen, all rejected, and all responses.
        rows: That could not be read.
        responses: That were left out, for want of a number.
        prompts: That have no pair.
    """

    facts: dict[str, Any]
    pairs: list[Pair] = field(default_factory=list)
    numbers: dict[str, dict[str, float]] = field(default_factory=dict)
    rows: Problems = field(default_factory=Problems)
    responses: Problems = field(default_factory=Problems)
    prompts: Problems = field(default_factory=Problems)

    def sentences(self) -> list[str]:
        """Return a sentence for every reason why something is in no pair, or in any."""
        found = [
            *self.rows.sentences(),
            *self.responses.sentences("response"),
            *self.prompts.sentences("prompt"),
        ]
        if even := self.facts.get("prompts_equally_diverse"):
            prompts = "1 prompt" if even == 1 else f"{even:,} prompts"
            found.append(
                f"In {prompts} all responses are equally diverse, so that rewards alone chose: "
                f"--encoder NAME tells responses apart that all differ."
            )
        return found


def find_pairs(path: Path, options: Options) -> Found:
    """Choose the pairs of all prompts in a file or a folder.

    Args:
        path: What ``divreg measure`` reads, with a column of rewards.
        options: How to choose.

    Raises:
        ValueError: If no prompt has a pair, or an option cannot be followed.
    """
    kind = criteria.criterion(options)
    best_and_worst([0, 1], rho=options.rho, threshold=options.threshold)  # refused before reading
    divpo_pairs([0, 1], [0, 1], count=options.count)
    files = generations.files_of(path, "divreg pairs")
    found = Found({})
    columns: dict[str, None] = {}
    read = generations.read(files, found.rows)
    scored = _scored(read, options, kind, found.responses, columns)
    seen: list[tuple[int, list[Pair], str, str]] = []
    total = _Sums()
    even = 0
    with Groups(scored, _conversation) as together:
        if not together.count:
            raise ValueError(_nothing(path, found, options, kind, columns))
        prompts = sum(together.sizes.values())
        for group, responses in _responses(together, prompts, options, kind):
            picked = _pick(responses, options)
            pairs = [Pair(responses[i], responses[j], len(responses)) for i, j in picked.pairs]
            seen.append((group.first, pairs, picked.why_not, group.samples[0].place))
            total.add(responses)
            even += bool(pairs) and len({r.diversity for r in responses}) == 1
        found.facts = _facts(path, options, kind, together, prompts)
        found.facts["prompts_equally_diverse"] = even
    for _, pairs, why_not, place in sorted(seen, key=lambda x: x[0]):
        found.pairs += pairs
        if why_not:
            found.prompts.add(why_not, place)
    if not found.pairs:
        raise ValueError(_no_pair(path, found, prompts))
    found.numbers = _numbers(found.pairs, total)
    return found


def _scored(
    samples: Iterable[Sample],
    options: Options,
    kind: str,
    left_out: Problems,
    columns: dict[str, None],
) -> Iterator[Sample]:
    """Yield the responses that have all numbers, with nothing but those beside their text."""
    for sample in samples:
        if len(columns) < _COLUMNS:
            columns.update(dict.fromkeys(sample.fields))
        try:
            reward = criteria.number(sample.fields, options.reward)
            value = criteria.value_of(sample.fields, options, kind)
        except ValueError as error:
            left_out.add(str(error), sample.place)
            continue
        yield replace(sample, fields={"reward": reward, "value": value})


def _conversation(sample: Sample) -> str:
    """Return what tells prompts apart whose texts are the same: who says what in them."""
    return "" if sample.messages is None else json.dumps(sample.messages[0], sort_keys=True)


def _responses(
    together: Groups, prompts: int, options: Options, kind: str
) -> Iterator[tuple[Group, list[Response]]]:
    """Yield every prompt with its responses, embedded many prompts at a time."""
    console = Console(stderr=True)
    groups = iter(
        track(
            together,
            "Choosing",
            total=prompts,
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
    )
    while some := list(islice(groups, _AT_A_TIME)):
        answers = [[_answer(s.text, options) for s in group.samples] for group in some]
        meanings = _embedded(options.encoder, answers)
        styles = _embedded(options.style, answers)
        for group, own, meaning, style in zip(some, answers, meanings, styles, strict=True):
            values = [s.fields["value"] for s in group.samples]
            diversity = _diversity(own, values, meaning, options, kind)
            distances = [mean_distance(x) for x in (meaning, style) if x is not None]
            weights = deviation_weights(deviation_scores(*(distances or [diversity])))
            rewards = [s.fields["reward"] for s in group.samples]
            columns = zip(group.samples, own, rewards, diversity, weights.tolist(), strict=True)
            yield group, [Response(*row) for row in columns]


def _answer(text: str, options: Options) -> str:
    return text if options.keep_reasoning else without_reasoning(text)


def _embedded(encoder: Any, texts: Sequence[Sequence[str]]) -> list[np.ndarray | None]:
    if encoder is None:
        return [None] * len(texts)
    vectors = np.asarray(encoder([text for own in texts for text in own]))
    ends = np.cumsum([len(own) for own in texts])[:-1]
    return list(np.split(vectors, ends))


def _diversity(
    answers: Sequence[str],
    values: Sequence[Any],
    embedding: np.ndarray | None,
    options: Options,
    kind: str,
) -> list[float]:
    if kind == "distance":
        return mean_distance([] if embedding is None else embedding)
    if kind != "classes":
        return list(values)
    if options.classes is not None:
        return inverse_frequency(classes_from_keys(values))
    if options.same is not None:
        x = unit_rows([] if embedding is None else embedding, "--same")
        return inverse_frequency(classes_from_similarity(x @ x.T, options.same))
    return inverse_frequency(text_classes(answers))


def _pick(responses: Sequence[Response], options: Options) -> Picked:
    return divpo_pairs(
        [r.reward for r in responses],
        [r.diversity for r in responses],
        rho=options.rho,
        threshold=options.threshold,
        count=options.count,
        texts=[r.sample.text for r in responses],
    )


@dataclass
class _Sums:
    """Sums over all responses that were read."""

    count: int = 0
    reward: float = 0.0
    diversity: float = 0.0
    weight: float = 0.0
    answers: set[int] = field(default_factory=set)

    def add(self, responses: Iterable[Response]) -> None:
        for r in responses:
            self.count += 1
            self.reward += r.reward
            self.diversity += r.diversity
            self.weight += r.weight
            self.answers.add(hash(normalise_text(r.answer)))

    def means(self) -> dict[str, float]:
        return {
            "reward": self.reward / self.count,
            "diversity": self.diversity / self.count,
            "weight": self.weight / self.count,
        }

    def distinct_frac(self) -> dict[str, float]:
        return {"distinct_frac": len(self.answers) / self.count}


def _numbers(pairs: Sequence[Pair], total: _Sums) -> dict[str, dict[str, float]]:
    chosen, rejected = _Sums(), _Sums()
    chosen.add(pair.chosen for pair in pairs)
    rejected.add(pair.rejected for pair in pairs)
    return {
        "chosen": chosen.means() | chosen.distinct_frac(),
        "rejected": rejected.means() | rejected.distinct_frac(),
        "all": total.means(),  # a share of different ones falls with their number
    }


def _facts(
    path: Path, options: Options, kind: str, together: Groups, prompts: int
) -> dict[str, Any]:
    return {
        "path": str(path),
        "prompt_count": prompts,
        "responses": together.count,
        "responses_per_prompt": sorted(together.sizes),
        "reward": options.reward,
        "threshold": options.threshold,
        "rho": options.rho,
        "pairs_per_prompt": options.count,
        "diversity": criteria.words(options, kind),
        "deviation": criteria.axes(options),
        "encoder": None if options.encoder is None else options.encoder.facts,
        "style_encoder": None if options.style is None else options.style.facts,
        "reasoning": "kept" if options.keep_reasoning else "removed",
    }


def _nothing(
    path: Path, found: Found, options: Options, kind: str, columns: Collection[str]
) -> str:
    """Return why there is no response to choose from."""
    if not found.responses.total:
        said = " ".join([f"divreg pairs found no responses in {path}.", *found.rows.sentences()])
        return f'{said} Rows need {{"prompt": .., "completion": .., "{options.reward}": ..}}.'
    said = " ".join([f"divreg pairs found no scored response in {path}.", *found.sentences()])
    wanted = (options.classes, options.logprob, options.logprob_sum, options.tokens)
    asked = [options.reward, *(x for x in wanted if x), *([kind] * (kind not in criteria.KINDS))]
    missing = next((name for name in asked if name not in columns), None)
    if missing is None:
        return f"{said} Give every response a finite number."
    return f"{said} {criteria.near(missing, columns)}"


def _no_pair(path: Path, found: Found, prompts: int) -> str:
    said = [f"divreg pairs found no pair among {prompts:,} prompts in {path}.", *found.sentences()]
    if found.prompts.counts.get(ONE) == prompts:
        return " ".join([*said, "Draw several responses of each prompt: 8 or more."])
    return " ".join([*said, "Draw more of each prompt, or score them more finely."])
