"""What draws the samples of a trace: vLLM where it is and there is a GPU, else transformers.

Both answer the same call with :class:`divreg.tasks.sampling.Drawn`. vLLM was not run by us: its
calls are written from its documentation.
"""

import contextlib
import gc
import importlib.util
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

from divreg.metrics.branching_factor import nucleus

if TYPE_CHECKING:
    from divreg.tasks.sampling import Drawn, Prompt, Way

EngineName = Literal["auto", "transformers", "vllm"]
_LIKELIEST = 50  # tokens of each step that vLLM returns, as in arXiv:2506.17871


class Engine(Protocol):
    """A loaded model that answers prompts.

    Attributes:
        names: Its tokenizer.
        context: Tokens that it can read and write; None where something else minds.
    """

    names: Any
    context: int | None

    def draw(self, prompts: "Sequence[Prompt]", way: "Way", prefill: str) -> "list[list[Drawn]]":
        """Return ``way.samples`` answers to each prompt, each of which starts with ``prefill``."""
        ...


def chosen(name: EngineName) -> EngineName:
    """Return the engine that will run.

    Raises:
        ValueError: If vLLM is asked for and not installed.
    """
    there = importlib.util.find_spec("vllm") is not None
    if name == "vllm" and not there:
        raise ValueError(
            "divreg trace --engine vllm needs vLLM, which is not installed. Type pip install "
            "'divreg[vllm]', or --engine transformers."
        )
    if name != "auto":
        return name
    import torch

    return "vllm" if there and torch.cuda.is_available() else "transformers"


@contextlib.contextmanager
def loaded(name: EngineName, model: str, rows_at_once: int) -> Iterator[Engine]:
    """Load a model, and let go of its memory at the end.

    Args:
        name: Of :func:`chosen`.
        model: A folder, or a name on the hub.
        rows_at_once: Samples that transformers writes side by side; vLLM schedules its own.

    Raises:
        ValueError: If it cannot be loaded, or has no end of text.
    """
    make = _VLLM if name == "vllm" else _Transformers
    try:
        engine: Any = make(model, rows_at_once)
    except (OSError, ValueError) as error:
        raise ValueError(_not_loaded(model, error)) from error
    if engine.names.eos_token_id is None:
        raise ValueError(
            f"sampling needs an end of text to know where answers end; the tokenizer of "
            f"{model} has none. Set tokenizer.eos_token and save it."
        )
    yield engine
    engine.close()
    gc.collect()


def parameters(model: str) -> int:
    """Return how many parameters a model has, from its configuration alone.

    Raises:
        ValueError: If there is no such model, or it is none that writes.
    """
    import torch
    from transformers import MODEL_FOR_MASKED_LM_MAPPING, AutoConfig, AutoModelForCausalLM

    try:
        config = AutoConfig.from_pretrained(model)
        with torch.device("meta"):
            built: Any = AutoModelForCausalLM.from_config(config)
    except (OSError, ValueError) as error:
        raise ValueError(_not_loaded(model, error)) from error
    if type(config) in MODEL_FOR_MASKED_LM_MAPPING and not config.is_decoder:
        raise ValueError(
            f"{model!r} is a {type(config).__name__.removesuffix('Config')}, an encoder that fills "
            f"gaps and writes nothing; sampling needs a causal language model. Pass one, such as "
            f"HuggingFaceTB/SmolLM2-135M-Instruct."
        )
    return built.num_parameters()


def has_template(model: str) -> bool:
    """Whether a model's tokenizer has a chat template.

    Raises:
        ValueError: If it cannot be loaded.
    """
    from transformers import AutoTokenizer

    try:
        return bool(AutoTokenizer.from_pretrained(model).chat_template)
    except (OSError, ValueError) as error:
        raise ValueError(_not_loaded(model, error)) from error


def _not_loaded(model: str, error: Exception) -> str:
    """Return what is wrong with a name or folder, and what to type instead."""
    if not Path(model).exists() and isinstance(error, OSError):
        return (
            f"{model!r} is no folder here, and the hub does not have it or cannot be reached. Pass "
            f"a folder with a causal language model and its tokenizer, or a name on the hub."
        )
    first = next(iter(str(error).strip().splitlines()), "").rstrip(".")
    return (
        f"{model!r} cannot be loaded: {first[:160]}. Pass a folder with a causal language model "
        f"and its tokenizer, or a name on the hub."
    )


def place() -> tuple[str, Any]:
    """Return the device that transformers samples on, and the numbers it does so with.

    bf16 on a GPU, and on a CPU that multiplies bf16 by itself; fp32 elsewhere.
    """
    import torch

    if torch.cuda.is_available():
        return "cuda", torch.bfloat16
    fast = getattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)()
    return "cpu", torch.bfloat16 if fast else torch.float32


class _Transformers:
    """A model of transformers, where :func:`place` says."""

    def __init__(self, model: str, rows_at_once: int):
        from transformers import AutoModelForCausalLM, AutoTokenizer
        from transformers.utils import logging

        logging.disable_progress_bar()
        device, dtype = place()
        self.names: Any = AutoTokenizer.from_pretrained(model)
        lm: Any = AutoModelForCausalLM.from_pretrained(model, dtype=dtype)
        self.model = lm.to(device).eval()
        self.context = getattr(lm.config.get_text_config(), "max_position_embeddings", None)
        self.rows_at_once = rows_at_once

    def draw(self, prompts: "Sequence[Prompt]", way: "Way", prefill: str) -> "list[list[Drawn]]":
        from divreg.tasks.sampling import draw

        return draw(
            self.model, self.names, prompts, way, prefill=prefill, rows_at_once=self.rows_at_once
        )

    def close(self) -> None:
        self.model = None


class _VLLM:
    """A model that vLLM serves in this process."""

    def __init__(self, model: str, rows_at_once: int):  # noqa: ARG002  (it schedules its own)
        from vllm import LLM  # pyright: ignore[reportMissingImports]

        self.model: Any = LLM(
            model=model, max_logprobs=_LIKELIEST, logprobs_mode="processed_logprobs"
        )
        self.names: Any = self.model.get_tokenizer()
        self.context = None  # vLLM refuses what is too long

    def draw(self, prompts: "Sequence[Prompt]", way: "Way", prefill: str) -> "list[list[Drawn]]":
        from vllm import SamplingParams  # pyright: ignore[reportMissingImports]

        from divreg.tasks.sampling import encode

        how = SamplingParams(
            n=way.samples, temperature=way.temperature, top_p=way.top_p, seed=way.seed,
            max_tokens=way.max_tokens, stop=list(way.stop), logprobs=_LIKELIEST,
        )  # fmt: skip
        asked = [{"prompt_token_ids": encode(self.names, p, prefill)} for p in prompts]
        return [
            [as_drawn(one) for one in request.outputs]
            for request in self.model.generate(asked, how, use_tqdm=False)
        ]

    def close(self) -> None:
        self.model = None


def as_drawn(output: Any) -> "Drawn":
    """Return a sample of vLLM as ours: what is known of each step are its likeliest tokens.

    Args:
        output: A ``vllm.outputs.CompletionOutput`` with ``logprobs``: for each token that was
            drawn a dict from tokens to objects with a ``logprob``.
    """
    from divreg.tasks.sampling import NUCLEUS, Drawn

    steps = [[math.exp(x.logprob) for x in step.values()] for step in output.logprobs]
    own = [
        step[token].logprob for token, step in zip(output.token_ids, output.logprobs, strict=True)
    ]
    count = max(1, len(own))
    return Drawn(
        output.text,
        len(own),
        sum(own) / count,
        None,
        sum(map(max, steps)) / count,
        [float(nucleus(probs=p, top_p=NUCLEUS).entropy_nats) for p in steps],
    )
