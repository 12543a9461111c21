"""What a model would write as the annotation of its next response, prompt by prompt."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from divreg.anchors.drift import Annotation
from divreg.anchors.sample import sample
from divreg.anchors.tags import render


def score(
    model: Any,
    tokenizer: Any,
    prompts: Sequence[str],
    annotations: Sequence[Annotation],
    *,
    batch_size: int = 64,
) -> np.ndarray:
    """Return how likely a model begins its response with each annotation: ``(n, z)``, nats.

    Args:
        model: A causal language model of transformers, in evaluation mode.
        tokenizer: Its tokenizer, with the markers.
        prompts: ``n`` prompts as the model was trained on them.
        annotations: ``z`` annotations, each whole: markers, keys and values.
        batch_size: Rows in one forward pass.
    """
    from divreg.loglikelihood import loglikelihoods

    def ids(text: str) -> list[int]:
        return tokenizer(text, add_special_tokens=False)["input_ids"]

    ends = [ids(render(dict(annotation))) for annotation in annotations]
    rows = [(begin, end) for begin in map(ids, prompts) for end in ends]
    found = loglikelihoods(model, rows, batch_size)
    return np.array(found).reshape(len(prompts), len(ends))


def write(
    model: Any, tokenizer: Any, prompts: Sequence[str], n: int, *, seed: int = 0, most: int = 64
) -> list[list[str]]:
    """Return the annotations that a model wrote behind each prompt, ``n`` times, as one text each.

    What is not annotated is one kind, the empty text.
    """
    samples = sample(
        model, tokenizer, prompts, n, max_new_tokens=most, batch_size=max(n, 64), seed=seed
    )
    return [[render(one.tags) if one.tags else "" for one in group] for group in samples]
