"""Answers of every stage to the same prompts, in files that an interrupted run goes on from."""

import dataclasses
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from divreg.measure.run import without_reasoning
from divreg.rollouts import told
from divreg.tasks.task import Task
from divreg.trace import engines

if TYPE_CHECKING:
    from divreg.tasks.sampling import Drawn, Way

AT_A_TIME = 8  # prompts that are sampled together: what an interruption costs
_DIGITS = 5  # of what the model thought of its tokens


@dataclass(frozen=True)
class Plan:
    """What one stage is asked, and how.

    Attributes:
        model: A folder, or a name on the hub.
        task: What is asked and what is right.
        rows: Of the task's data set.
        path: Where samples are added.
        way: How they are drawn; the seed of the first prompts.
        thinking: Whether the model may reason; if not, an empty block is put in its mouth.
        engine: What draws.
        rows_at_once: Samples written side by side.
        facts: Written into every row.
    """

    model: str
    task: Task
    rows: Sequence[Mapping[str, Any]]
    path: Path
    way: "Way"
    thinking: bool
    engine: engines.EngineName
    rows_at_once: int
    facts: Mapping[str, Any]


def plan(
    name: str,
    model: str,
    task: Task,
    rows: Sequence[Mapping[str, Any]],
    way: "Way",
    folder: Path,
    *,
    thinking: bool,
    engine: engines.EngineName,
    rows_at_once: int,
    parameters: int,
) -> Plan:
    """Return what a stage is asked; what is drawn in another way lies in another file.

    Args:
        name: Of the stage.
        model: Of it.
        task: What is asked and what is right.
        rows: Of the task's data set.
        way: How samples are drawn.
        folder: In whose ``samples`` the file lies.
        thinking: As in :class:`Plan`.
        engine: As in :class:`Plan`.
        rows_at_once: As in :class:`Plan`.
        parameters: Of the model.
    """
    facts = {
        "model": model, "parameters": parameters, "temperature": way.temperature,
        "top_p": way.top_p, "max_tokens": way.max_tokens, "seed": way.seed,
        "task": task.name, "chain_of_thought": "kept" if thinking else "suppressed",
    }  # fmt: skip
    questions = [asked(row) for row in rows]
    how = [facts, way.samples, way.stop, questions, engine, rows_at_once, _weights(model)]
    digest = hashlib.sha256(json.dumps(how).encode()).hexdigest()[:8]
    path = folder / "samples" / f"{name}-{task.name}-{digest}.jsonl"
    return Plan(model, task, rows, path, way, thinking, engine, rows_at_once, facts)


def _weights(model: str) -> list[Any]:
    """Return what changes when a folder's weights do; nothing for a name on the hub."""
    files = sorted(Path(model).glob("*.safetensors")) + sorted(Path(model).glob("*.bin"))
    return [(f.name, f.stat().st_size, f.stat().st_mtime_ns) for f in files]


def sample(plans: Mapping[str, Sequence[Plan]]) -> None:
    """Sample what is missing, one model after the other, under progress bars.

    Args:
        plans: By the name of the stage; of one model each.

    Raises:
        ValueError: As :func:`sample_stage`.
    """
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    stderr = Console(stderr=True)
    with Progress(
        *columns, TimeRemainingColumn(), console=stderr, disable=not stderr.is_terminal
    ) as progress:
        for name, own in plans.items():
            bar = progress.add_task(escape(name), total=sum(len(p.rows) for p in own))
            for one in own:
                one.path.parent.mkdir(parents=True, exist_ok=True)
            sample_stage(own, lambda n, bar=bar: progress.advance(bar, n))


def sample_stage(plans: Sequence[Plan], advance: Callable[[int], Any]) -> None:
    """Sample one model's answers to the rows of tasks and grade them; finished prompts are kept.

    A line is one sample: ``prompt``, ``completion``, ``sample``, ``correct`` and ``class`` where
    the task knows them, what the model thought of it, and how it was drawn. The same seed draws the
    same answers, wherever a run was interrupted.

    Args:
        plans: Of one model, a task each.
        advance: Told how many prompts are done.

    Raises:
        ValueError: If the model cannot be loaded, has no end of text, or cannot be kept from
            reasoning.
    """
    left = []
    for plan in plans:
        done = _resume(plan.path, len(plan.rows), plan.way.samples) * AT_A_TIME
        advance(min(done, len(plan.rows)))
        left += [(plan, start) for start in range(done, len(plan.rows), AT_A_TIME)]
    if not left:
        return
    first = plans[0]
    with engines.loaded(first.engine, first.model, first.rows_at_once) as engine:
        for plan in plans:
            _refuse_too_long(engine, plan)
        for plan, start in left:
            some = plan.rows[start : start + AT_A_TIME]
            lines = _answers(engine, plan, some, plan.way.seed + start)
            with plan.path.open("a", encoding="utf-8") as file:
                file.write("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in lines))
            advance(len(some))


def _refuse_too_long(engine: engines.Engine, plan: Plan) -> None:
    """Raise where a prompt and its longest answer do not fit into what the model was built for."""
    from divreg.tasks.sampling import encode

    if engine.context is None:
        return
    prompts = _prompts(engine, plan.rows)
    longest = max(len(encode(engine.names, prompt)) for prompt in prompts)
    if longest + plan.way.max_tokens > engine.context:
        raise ValueError(
            f"{plan.task.name} needs room for {longest} tokens of a prompt and "
            f"{plan.way.max_tokens} of an answer; {plan.model} has {engine.context}. Pass a model "
            f"with a longer context, or ask for shorter answers."
        )


def _prompts(engine: engines.Engine, rows: Sequence[Mapping[str, Any]]) -> list[Any]:
    """Return what is asked: conversations where there is a template to write them."""
    chat = bool(engine.names.chat_template)
    return [row["prompt"] if chat else asked(row) for row in rows]


def asked(row: Mapping[str, Any]) -> str:
    """Return the question of a row as a text: what stages are paired by."""
    prompt = row.get("plain", row["prompt"])
    return prompt if isinstance(prompt, str) else "\n\n".join(said["content"] for said in prompt)


def _answers(
    engine: engines.Engine, plan: Plan, rows: Sequence[Mapping[str, Any]], seed: int
) -> list[dict[str, Any]]:
    """Return the rows of the file for some prompts."""
    prompts = _prompts(engine, rows)
    written = any(not isinstance(prompt, str) for prompt in prompts)
    stop = () if written else plan.task.stop
    way = dataclasses.replace(plan.way, seed=seed, stop=stop)
    prefill = "" if plan.thinking else empty_reasoning(engine.names, prompts[0], plan.model)
    drawn = engine.draw(prompts, way, prefill)
    return [
        {
            "prompt": asked(row),
            "completion": one.text,
            "sample": i,
            **grade,
            **_thought(one),
            "style": "chat" if written else "text",
            **plan.facts,
        }
        for row, own in zip(rows, drawn, strict=True)
        for i, (one, grade) in enumerate(zip(own, _graded(plan.task, row, own), strict=True))
    ]


def _graded(task: Task, row: Mapping[str, Any], drawn: "Sequence[Drawn]") -> list[dict[str, Any]]:
    """Return what a task says of answers to one prompt, their reasoning left out."""

    def one(text: str) -> dict[str, Any]:
        found: dict[str, Any] = {}
        if task.is_correct is not None:
            correct = task.is_correct(text, row)
            found |= {} if correct is None else {"correct": bool(correct)}
        if task.answer is not None:
            found["class"] = told(task.answer, row["prompt"])(text) or text
        return found

    texts = [without_reasoning(sample.text) for sample in drawn]
    if not task.side_by_side:
        return [one(text) for text in texts]
    with ThreadPoolExecutor() as pool:
        return list(pool.map(one, texts))


def _thought(one: "Drawn") -> dict[str, Any]:
    """Return what the model thought of a sample, as a file can hold it."""
    means = {"logprob": one.logprob, "entropy": one.entropy, "top_mass": one.top_mass}
    return {
        "tokens": one.tokens,
        **{name: round(x, _DIGITS) for name, x in means.items() if x is not None},
        "step_entropies": [round(x, _DIGITS) for x in one.step_entropies],
    }


def empty_reasoning(names: Any, prompt: Any, model: str) -> str:
    """Return what ends a model's reasoning before it began, after a prompt.

    Raises:
        ValueError: If it is not asked by a chat template.

    Source:
        Karouzos et al., Where does output diversity collapse in post-training?, arXiv:2604.16027:
        chain of thought is suppressed by an empty block.
    """
    if isinstance(prompt, str) or not names.chat_template:
        raise ValueError(
            f"divreg trace --no-thinking needs a conversation and a chat template, to know where "
            f"reasoning begins; got a plain text for {model}. Leave this stage out of it."
        )
    text = names.apply_chat_template(prompt, add_generation_prompt=True, tokenize=False)
    begun = text.rstrip().endswith("<think>")
    return "\n</think>\n\n" if begun else "<think>\n</think>\n"


def _resume(path: Path, prompts: int, samples: int) -> int:
    """Return how many whole batches of prompts a file holds, and cut off what follows them."""
    if not path.exists():
        return 0
    lines = path.read_bytes().splitlines(keepends=True)
    whole = [line for line in lines if line.endswith(b"\n")]
    batches, left = divmod(len(whole), AT_A_TIME * samples)
    if left == prompts * samples - batches * AT_A_TIME * samples:
        return batches + bool(left)
    kept = b"".join(whole[: batches * AT_A_TIME * samples])
    path.write_bytes(kept)
    return batches
