"""Sentence embeddings through sentence-transformers, kept apart from the model that is trained."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from divreg.encoders.apart import apart, at_least_one, first_line
from divreg.encoders.recent import Recent
from divreg.encoders.view import Embed, Truncate, View, check_truncate


class SentenceEncoder:
    """Embed texts with a sentence-transformers model; equal texts are embedded once.

    The model is loaded at construction, so that a wrong name shows before anything is trained. It
    belongs to no other module, is loaded whole where DeepSpeed ZeRO-3 would shard it, and neither
    loading nor embedding moves torch's random numbers: an encoder that nobody listens to leaves a
    training as it was.

    Args:
        model: Name on the Hub or a folder.
        device: Where to embed, such as "cuda:1" or "cpu"; None leaves it to sentence-transformers.
        batch_size: Texts in one forward pass.
        embed: What of a text is embedded, see :class:`~divreg.encoders.view.View`: "text",
            "answer", "last_tokens" or "split_mean".
        answer: A function from a text to its answer or None, for ``embed="answer"``.
        tokens: Tokens of the model's tokenizer, for ``embed="last_tokens"`` and "split_mean"; None
            is as many as the model reads.
        truncate: The end of a too long text that is dropped. "left", the default, keeps the end of
            a completion, where the answer is; the head of a long chain of thought is its template.
        cache_size: Embeddings kept, the most recently used ones; 0 keeps none.

    Raises:
        ValueError: If the model cannot be loaded, or an argument is out of range.
    """

    def __init__(
        self,
        model: str = "sentence-transformers/all-MiniLM-L6-v2",
        *,
        device: str | None = None,
        batch_size: int = 64,
        embed: Embed = "text",
        answer: Callable[[str], str | None] | None = None,
        tokens: int | None = None,
        truncate: Truncate = "left",
        cache_size: int = 20_000,
    ):
        check_truncate("SentenceEncoder", truncate)
        at_least_one("SentenceEncoder", "batch_size", batch_size, 64)
        self.name, self.batch_size, self.truncate = str(model), batch_size, truncate
        self._cache: Recent[str, np.ndarray] = Recent(cache_size)
        self._model = _load(self.name, device)
        tokenizer = self._model.tokenizer
        tokenizer.truncation_side = truncate
        reads = self._model.max_seq_length
        self._view = View(
            "SentenceEncoder",
            embed,
            answer=answer,
            tokens=tokens,
            tokenizer=tokenizer,
            fit=reads and reads - tokenizer.num_special_tokens_to_add(),
        )

    @property
    def facts(self) -> dict[str, Any]:
        """What was embedded by what, for the records of a run."""
        return {
            "model": self.name,
            **self._view.facts,
            "truncate": self.truncate,
            "max_tokens": self._model.max_seq_length,
        }

    def __call__(self, texts: Sequence[str]) -> np.ndarray:
        """Embed ``n`` texts: ``(n, d)`` float32, in the unit of the model."""
        parts = [self._view.parts(text) for text in texts]
        vectors = self._cache.look_up([p for of_text in parts for p in of_text], self._embed)
        return self._view.join(parts, vectors, self._model.get_embedding_dimension())

    def __repr__(self) -> str:
        return f"SentenceEncoder({self.name!r})"

    def _embed(self, texts: list[str]) -> np.ndarray:
        vectors = self._model.encode(texts, batch_size=self.batch_size, show_progress_bar=False)
        return np.asarray(vectors, dtype=np.float32)


def _load(name: str, device: str | None) -> Any:
    from sentence_transformers import SentenceTransformer

    try:
        with apart():
            model = SentenceTransformer(name, device=device)
    except (OSError, ValueError) as error:
        raise ValueError(
            f"SentenceEncoder needs a sentence-transformers model; got {name!r} "
            f"({first_line(error)}). "
            f"Pass the folder of a downloaded one, or any function of a list of texts."
        ) from error
    return model.eval().requires_grad_(False)
