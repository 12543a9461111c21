"""How likely a causal LM finds given continuations."""

from collections.abc import Sequence
from typing import Any

import torch


@torch.no_grad()
def loglikelihoods(
    model: Any, rows: Sequence[tuple[Sequence[int], Sequence[int]]], batch_size: int = 64
) -> list[float]:
    """Return the log-likelihood of every continuation, nats.

    Args:
        model: A causal language model of transformers, in evaluation mode.
        rows: Tokens that are given, one at least, and those that go on from them.
        batch_size: Rows in one forward pass, padded on the right.
    """
    found: list[float] = []
    for start in range(0, len(rows), batch_size):
        batch = rows[start : start + batch_size]
        width = max(len(begin) + len(end) for begin, end in batch)
        tokens = torch.zeros(len(batch), width, dtype=torch.long)
        seen, asked = torch.zeros_like(tokens), torch.zeros_like(tokens)
        for i, (begin, end) in enumerate(batch):
            size = len(begin) + len(end)
            tokens[i, :size] = torch.tensor([*begin, *end])
            seen[i, :size] = 1
            asked[i, len(begin) : size] = 1
        tokens, seen, asked = (x.to(model.device) for x in (tokens, seen, asked))
        logits = model(input_ids=tokens, attention_mask=seen, use_cache=False).logits[:, :-1]
        logs = logits.float().log_softmax(-1).gather(-1, tokens[:, 1:, None])[..., 0]
        found += (logs * asked[:, 1:]).double().sum(1).tolist()
    return found
