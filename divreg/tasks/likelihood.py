"""How likely a model finds given answers: what it has not been told, and what it has forgotten."""

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

from divreg.loglikelihood import loglikelihoods
from divreg.tasks.sampling import encode


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
    if not rows:
        raise ValueError("held-out answers need a row at least; got none. Name another dataset.")
    encoded = [_encoded(names, row) for row in rows]
    return -fmean(loglikelihoods(model.eval(), encoded, rows_at_once))


def _encoded(names: Any, row: Mapping[str, Any]) -> tuple[list[int], list[int]]:
    answer = row.get("completion")
    if not isinstance(answer, str) or "prompt" not in row:
        raise ValueError(
            f"held-out answers need rows with a prompt and a completion that is a text; got "
            f"{dict(row)!r:.80}. Name another dataset."
        )
    own = names.encode(answer, add_special_tokens=False)
    return encode(names, row["prompt"]), [*own, names.eos_token_id]
