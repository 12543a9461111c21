"""How likely a model finds given answers: what it has not been told, and what it has forgotten."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from divreg.tasks.sampling import encode


@torch.inference_mode()
def nats_an_answer(
    model: Any, names: Any, rows: Sequence[Mapping[str, Any]], rows_at_once: int = 256
) -> float:
    """Return the mean of an answer's negative log-likelihood, its end of text included.

    Args:
        model: A causal LM; it is put in evaluation mode.
        names: Its tokenizer.
        rows: ``prompt``, a text or a conversation, and ``completion``, a text.
        rows_at_once: Scored side by side.

    Raises:
        ValueError: If there is no row, or one has no such text.
    """
    model.eval()
    total, count = 0.0, 0
    for start in range(0, len(rows), rows_at_once):
        some = [_encoded(names, row) for row in list(rows)[start : start + rows_at_once]]
        width = max(len(prompt) + len(answer) for prompt, answer in some)
        shape = len(some), width
        ids = torch.zeros(shape, dtype=torch.long)
        real, asked = torch.zeros(shape, dtype=torch.long), torch.zeros(shape, dtype=torch.bool)
        for i, (prompt, answer) in enumerate(some):
            end = len(prompt) + len(answer)
            ids[i, :end] = torch.tensor(prompt + answer)
            real[i, :end] = 1
            asked[i, len(prompt) : end] = True
        ids, real, asked = (x.to(model.device) for x in (ids, real, asked))
        logprob = model(input_ids=ids, attention_mask=real).logits[:, :-1].float().log_softmax(-1)
        said = logprob.gather(2, ids[:, 1:, None])[..., 0]
        total -= float(said[asked[:, 1:]].double().sum())
        count += len(some)
    if not count:
        raise ValueError("held-out answers need a row at least; got none. Name another dataset.")
    return total / count


def _encoded(names: Any, row: Mapping[str, Any]) -> tuple[list[int], list[int]]:
    answer = row.get("completion")
    if not isinstance(answer, str) or "prompt" not in row:
        raise ValueError(
            f"held-out answers need rows with a prompt and a completion that is a text; got "
            f"{dict(row)!r:.80}. Name another dataset."
        )
    own = names.encode(answer, add_special_tokens=False)
    return encode(names, row["prompt"]), [*own, names.eos_token_id]
