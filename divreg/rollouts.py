"""Whole groups or an error: P prompts with G completions each, as every process sees them."""

import functools
import hashlib
import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any


def text_of(message: Any) -> str:
    """Return the plain text of a prompt or completion: a string, or a list of chat messages.

    A completion is what the assistant wrote, so its last message counts; a prompt keeps all of
    its messages.

    >>> text_of([{"role": "user", "content": "2 + 2?"}])
    '2 + 2?'
    """
    if isinstance(message, str):
        return message
    return "\n".join(_content(m) for m in message)


def completion_text(completion: Any) -> str:
    """Return what the assistant said last; tool calls and earlier turns are left out."""
    if isinstance(completion, str):
        return completion
    return _content(completion[-1]) if completion else ""


def asks_for_prompt(extract: Callable[..., Any]) -> bool:
    """Whether an extractor of answers has ``prompt`` among its keyword-only arguments.

    >>> asks_for_prompt(str.strip), asks_for_prompt(lambda text, *, prompt: text)
    (False, True)
    """
    try:
        asked = inspect.signature(extract).parameters.get("prompt")
    except (TypeError, ValueError):  # some that are written in C have none
        return False
    return asked is not None and asked.kind is inspect.Parameter.KEYWORD_ONLY


def told(extract: Callable[..., Any], prompt: Any) -> Callable[[str], Any]:
    """Return the extractor of the answers to one prompt: it is told the prompt if it asks for it.

    Args:
        extract: A function from a text to the answer in it, or from a text and, by keyword, the
            text of the prompt.
        prompt: A text, or a conversation.

    >>> told(lambda text, *, prompt: f"{text} to {prompt}", "2+2=")("4")
    '4 to 2+2='
    """
    if not asks_for_prompt(extract):
        return extract
    return functools.partial(extract, prompt=text_of(prompt))


def prompt_id(prompt: str) -> str:
    """Return eight hexadecimal digits that name a prompt across steps, runs and machines."""
    return hashlib.blake2b(prompt.encode("utf-8", "surrogatepass"), digest_size=4).hexdigest()


def _content(message: Any) -> str:
    content = message.get("content") if isinstance(message, dict) else message
    if isinstance(content, list):
        return "".join(part.get("text") or "" for part in content if isinstance(part, dict))
    return content or ""


@dataclass(frozen=True)
class Rollouts:
    """One generation batch: ``prompts`` (P) and their ``texts`` (P, G), gathered over processes."""

    prompts: list[str]
    texts: list[list[str]]

    @classmethod
    def whole(cls, prompts: Sequence[Any], completions: Sequence[Any], group: int) -> "Rollouts":
        """Group flat, gathered lists (P * G, one prompt per completion) into whole groups.

        Raises:
            ValueError: If the number of rows is no multiple of ``group``, or a group mixes prompts.
        """
        if len(prompts) != len(completions) or not prompts or len(prompts) % group:
            raise ValueError(
                f"Rollouts needs whole groups of {group}; got {len(prompts)} prompts and "
                f"{len(completions)} completions. Make the generation batch a multiple of "
                f"num_generations and leave the sampler to TRL."
            )
        flat = [text_of(p) for p in prompts]
        for start in range(0, len(flat), group):
            mixed = len(set(flat[start : start + group]))
            if mixed > 1:
                raise ValueError(
                    f"Rollouts needs one prompt per group; got {mixed} "
                    f"different prompts in rows {start} to {start + group - 1}. Leave the order of "
                    f"the training data to TRL's sampler."
                )
        texts = [completion_text(c) for c in completions]
        return cls(flat[::group], [texts[i : i + group] for i in range(0, len(texts), group)])

    @property
    def prompt_ids(self) -> list[str]:
        """Name every prompt (P); see :func:`prompt_id`."""
        return [prompt_id(p) for p in self.prompts]
