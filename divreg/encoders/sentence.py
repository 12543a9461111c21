"""Sentence embeddings through sentence-transformers, kept apart from the model that is trained."""

import contextlib
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from typing import Any, Literal

import numpy as np


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
        truncate: Literal["left", "right"] = "left",
        cache_size: int = 20_000,
    ):
        if truncate not in ("left", "right"):
            raise ValueError(
                f"SentenceEncoder needs truncate 'left' or 'right'; got {truncate!r}. "
                f"Use truncate='left' to keep the end of a text."
            )
        if batch_size < 1:
            raise ValueError(
                f"SentenceEncoder needs batch_size of at least 1; got {batch_size}. Use 64."
            )
        self.name, self.batch_size, self.cache_size = str(model), batch_size, cache_size
        self._cache: OrderedDict[str, np.ndarray] = OrderedDict()
        self._model = _load(self.name, device)
        self._model.tokenizer.truncation_side = truncate

    def __call__(self, texts: Sequence[str]) -> np.ndarray:
        """Embed ``n`` texts: ``(n, d)`` float32, in the unit of the model."""
        unseen = [text for text in dict.fromkeys(texts) if text not in self._cache]
        fresh = dict(zip(unseen, self._embed(unseen), strict=True))
        rows = [fresh[t] if t in fresh else self._cache[t] for t in texts]
        self._remember(texts, rows)
        width: int = self._model.get_embedding_dimension()
        return np.stack(rows) if rows else np.empty((0, width), dtype=np.float32)

    def __repr__(self) -> str:
        return f"SentenceEncoder({self.name!r})"

    def _embed(self, texts: list[str]) -> np.ndarray:
        if not texts:
            return np.empty((0, 0), dtype=np.float32)
        vectors = self._model.encode(texts, batch_size=self.batch_size, show_progress_bar=False)
        return np.asarray(vectors, dtype=np.float32)

    def _remember(self, texts: Sequence[str], rows: list[np.ndarray]) -> None:
        for text, row in zip(texts, rows, strict=True):
            self._cache[text] = row
            self._cache.move_to_end(text)
        while len(self._cache) > self.cache_size:
            self._cache.popitem(last=False)


def _load(name: str, device: str | None) -> Any:
    import torch
    from sentence_transformers import SentenceTransformer

    try:
        # Missing weights are initialised at random on the CPU, from the generator of the training.
        with _outside_zero3(), torch.random.fork_rng(devices=[]):
            model = SentenceTransformer(name, device=device)
    except (OSError, ValueError) as error:
        reason = str(error).strip().splitlines()[0]
        raise ValueError(
            f"SentenceEncoder needs a sentence-transformers model; got {name!r} ({reason}). "
            f"Pass the folder of a downloaded one, or any function of a list of texts."
        ) from error
    return model.eval().requires_grad_(False)


@contextlib.contextmanager
def _outside_zero3() -> Iterator[None]:
    """Hide DeepSpeed's configuration, a global that makes every loaded model a sharded one."""
    from transformers.integrations import deepspeed

    reference: Any = deepspeed._hf_deepspeed_config_weak_ref
    config = reference() if reference is not None else None
    deepspeed.unset_hf_deepspeed_config()
    try:
        yield
    finally:
        if config is not None:
            deepspeed.set_hf_deepspeed_config(config)
