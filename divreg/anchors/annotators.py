"""What says what a text is about: a chat model behind an address, or one on this machine."""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from divreg.anchors.tags import Vocabulary, read
from divreg.encoders.server import CURES, Server

Annotator = Callable[[Sequence[str]], Sequence[Mapping[str, str] | str]]
"""Texts -> of each its tags, or what ``divreg.anchors.tags.read`` reads tags from."""

_LONGEST = 6000  # characters of a text that a model is shown


def instruction(text: str, known: Vocabulary) -> str:
    """Write the question that a model is asked about a text.

    >>> print(instruction("A cat.", {"topic": [], "mood": ["calm", "angry"]}))
    Say what the text below is about. Answer with these lines and nothing else:
    topic: <a word or two>
    mood: <calm | angry>
    <BLANKLINE>
    Text:
    A cat.
    """
    lines = [f"{key}: <{' | '.join(values) or 'a word or two'}>" for key, values in known.items()]
    return (
        "Say what the text below is about. Answer with these lines and nothing else:\n"
        + "\n".join(lines)
        + f"\n\nText:\n{text[:_LONGEST]}"
    )


class EndpointAnnotator:
    """Asks a chat model with ``POST URL/chat/completions``, at temperature 0.

    Args:
        url: Base address, such as "http://localhost:8000/v1".
        model: Name under which the server knows the model.
        known: Keys to ask for, each with the values to choose from, or none.
        api_key_env: Name of the environment variable that holds the key; None sends no key.
        timeout: Longest wait for one answer, in seconds.
        retries: Attempts after the first one.

    Raises:
        ValueError: If the address is none; when called, if the server refuses or answers with
            something else.
        ConnectionError: When called, if the server cannot be reached, or stays busy.
    """

    def __init__(
        self,
        url: str,
        model: str,
        known: Vocabulary,
        *,
        api_key_env: str | None = None,
        timeout: float = 120.0,
        retries: int = 5,
    ):
        self._server = Server(
            url,
            "/chat/completions",
            "EndpointAnnotator",
            key=api_key_env,
            timeout=timeout,
            retries=retries,
        )
        self.name, self.known = str(model), known

    def __call__(self, texts: Sequence[str]) -> list[str]:
        """Ask about every text."""
        return [self._ask(text) for text in texts]

    def _ask(self, text: str) -> str:
        message = {"role": "user", "content": instruction(text, self.known)}
        body = {"model": self.name, "messages": [message], "temperature": 0}
        answer = self._server.post(body, self._refused)
        try:
            said = json.loads(answer)["choices"][0]["message"]["content"]
        except (ValueError, KeyError, IndexError, TypeError) as error:
            raise ValueError(
                f"EndpointAnnotator needs `choices` with a message from {self._server.url}; got "
                f"{answer[:80]!r}. Check that the address is that of an OpenAI-compatible server."
            ) from error
        return str(said or "")

    def _refused(self, code: int, said: str) -> str:
        return (
            f"EndpointAnnotator needs answers of {self.name!r} from {self._server.url}; got HTTP "
            f"{code}: {said}. {CURES.get(code, 'Shorten the documents if they are too long.')}"
        )


class ModelAnnotator:
    """Asks a causal language model on this machine, greedily.

    Args:
        model: Folder or name of the model and its tokenizer.
        known: Keys to ask for, each with the values to choose from, or none.
        max_new_tokens: Longest answer.

    Raises:
        ValueError: If the model cannot be loaded.
    """

    def __init__(self, model: str, known: Vocabulary, *, max_new_tokens: int = 64):
        from transformers import AutoModelForCausalLM, AutoTokenizer

        try:
            self._tokenizer: Any = AutoTokenizer.from_pretrained(model, padding_side="left")
            self._model: Any = AutoModelForCausalLM.from_pretrained(model)
        except (OSError, ValueError) as error:
            raise ValueError(
                f"ModelAnnotator needs a causal language model; got {model!r} "
                f"({str(error).splitlines()[0]}). Pass the folder of a downloaded one."
            ) from error
        self._model.eval()
        if self._tokenizer.pad_token is None:
            self._tokenizer.pad_token = self._tokenizer.eos_token
        self.name, self.known, self.max_new_tokens = str(model), known, max_new_tokens

    def __call__(self, texts: Sequence[str]) -> list[str]:
        """Ask about every text, in one batch."""
        import torch

        asked = [self._written(instruction(text, self.known)) for text in texts]
        inputs = self._tokenizer(asked, return_tensors="pt", padding=True).to(self._model.device)
        with torch.no_grad():
            rows = self._model.generate(
                input_ids=inputs["input_ids"],
                attention_mask=inputs["attention_mask"],
                do_sample=False,
                max_new_tokens=self.max_new_tokens,
                pad_token_id=self._tokenizer.pad_token_id,
            )
        answers = rows[:, inputs["input_ids"].shape[1] :]
        return self._tokenizer.batch_decode(answers, skip_special_tokens=True)

    def _written(self, question: str) -> str:
        """Write a question as the model's chat template has it, if it has one."""
        if self._tokenizer.chat_template is None:
            return question + "\n\nAnswer:\n"
        return self._tokenizer.apply_chat_template(
            [{"role": "user", "content": question}], tokenize=False, add_generation_prompt=True
        )


def tags_of(said: Mapping[str, str] | str, known: Vocabulary) -> object:
    r"""Return what an annotator said as tags; of a text only lines about keys that are known.

    A model says things beside the lines it is asked for, and these are no tags: what it says of a
    key is checked afterwards like every tag.

    >>> tags_of("Sure!\ntopic: cats", {"topic": []})
    {'topic': 'cats'}
    """
    if not isinstance(said, str):
        return said
    lines = [line for line in said.splitlines() if line.partition(":")[0].strip(" -*<>") in known]
    return read("\n".join(line.replace(",", " ") for line in lines))
