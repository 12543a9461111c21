"""Answers of every stage to the same prompts, in files that an interrupted run goes on from."""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from divreg.tasks.task import Task

AT_A_TIME = 8  # prompts that are sampled together: what an interruption costs


def sample_stage(
    model: str,
    task: Task,
    rows: Sequence[Mapping[str, Any]],
    path: Path,
    *,
    samples: int,
    seed: int,
    advance: Callable[[int], Any],
) -> None:
    """Sample a model's answers to the rows of a task and grade them; finished prompts are kept.

    A line is one sample: ``prompt``, ``completion``, ``sample``, ``correct``, ``class``, and how it
    was sampled. The same seed draws the same answers, wherever a run was interrupted.

    Args:
        model: A folder, or a name on the hub.
        task: What is asked and what is right.
        rows: Of the task's data set.
        path: Where samples are added.
        samples: Of each prompt.
        seed: Of the sampling.
        advance: Told how many prompts are done.

    Raises:
        ValueError: If the model cannot be loaded or has no end of text.
    """
    is_correct, answer = (task.need(part, "divreg trace") for part in ("is_correct", "answer"))
    done = _resume(path, len(rows), samples)
    advance(min(done * AT_A_TIME, len(rows)))
    if done * AT_A_TIME >= len(rows):
        return
    from divreg.tasks.evaluate import sample

    lm, names = _load(model)
    facts = {"model": model, "temperature": 1.0, "max_tokens": task.max_tokens, "seed": seed}
    with path.open("a", encoding="utf-8") as file:
        for start in range(done * AT_A_TIME, len(rows), AT_A_TIME):
            some = rows[start : start + AT_A_TIME]
            texts, _ = sample(
                lm, names, [row["prompt"] for row in some],
                samples=samples, max_tokens=task.max_tokens, seed=seed + start,
            )  # fmt: skip
            lines = [
                {
                    "prompt": row["prompt"],
                    "completion": text,
                    "sample": i,
                    "correct": bool(is_correct(text, row)),
                    "class": answer(text) or text,
                    **facts,
                }
                for row, own in zip(some, texts, strict=True)
                for i, text in enumerate(own)
            ]
            file.write("".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines))
            file.flush()
            advance(len(some))


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


def _load(model: str) -> tuple[Any, Any]:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from transformers.utils import logging

    logging.disable_progress_bar()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    dtype = torch.bfloat16 if device == "cuda" else torch.float32
    try:
        names: Any = AutoTokenizer.from_pretrained(model)
        lm: Any = AutoModelForCausalLM.from_pretrained(model, dtype=dtype)
    except (OSError, ValueError) as error:
        first = next(iter(str(error).strip().splitlines()), "")
        raise ValueError(
            f"divreg trace cannot load {model!r}: {first[:160]} Pass a folder with a model and its "
            f"tokenizer, or a name on the hub."
        ) from error
    if names.eos_token_id is None:
        raise ValueError(
            f"divreg trace needs an end of text to know where answers end; the tokenizer of "
            f"{model} has none. Set tokenizer.eos_token and save it."
        )
    return lm.to(device).eval(), names
