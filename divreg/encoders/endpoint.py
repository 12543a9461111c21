"""Embeddings from an OpenAI-compatible server: vLLM, TEI, SGLang, llama.cpp or a provider."""

import json
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from divreg.encoders.apart import at_least_one, first_line
from divreg.encoders.recent import Recent
from divreg.encoders.server import CURES, Server
from divreg.encoders.view import Embed, View


class EndpointEncoder:
    """Embed texts with ``POST URL/embeddings``; equal texts are sent once.

    One text is sent at construction, so that a wrong address, name or key shows before anything is
    trained. A busy server (HTTP 408, 429, 500 to 504) or a broken connection is asked again after
    1, 2, 4, ... seconds, or after what ``Retry-After`` says, 30 at most. An empty text is sent as
    one space, since servers refuse an empty one. Nothing here draws a random number.

    Args:
        url: Base address, such as "http://localhost:8000/v1".
        model: Name under which the server knows the model.
        api_key_env: Name of the environment variable that holds the key; None sends no key. The
            key itself is read when it is sent, and never kept, shown or recorded.
        batch_size: Texts in one request.
        timeout: Longest wait for one answer, in seconds.
        retries: Attempts after the first one.
        embed: What of a text is embedded, see :class:`~divreg.encoders.view.View`.
        answer: A function from a text to its answer or None, for ``embed="answer"``.
        tokenizer: Name or folder of the model's tokenizer, for ``embed="last_tokens"`` and
            "split_mean". What is longer than the server reads, the server refuses or cuts.
        tokens: Tokens of a part, for the same two.
        cache_size: Embeddings kept, the most recently used ones; 0 keeps none.

    Raises:
        ValueError: If the server refuses the request, answers with something else than embeddings,
            or an argument is out of range.
        ConnectionError: If the server cannot be reached, or stays busy.
    """

    def __init__(
        self,
        url: str,
        model: str,
        *,
        api_key_env: str | None = None,
        batch_size: int = 64,
        timeout: float = 60.0,
        retries: int = 5,
        embed: Embed = "text",
        answer: Callable[[str], str | None] | None = None,
        tokenizer: str | None = None,
        tokens: int | None = None,
        cache_size: int = 20_000,
    ):
        self._server = Server(
            url, "/embeddings", "EndpointEncoder", key=api_key_env, timeout=timeout, retries=retries
        )
        at_least_one("EndpointEncoder", "batch_size", batch_size, 64)
        self.url, self.name, self.batch_size = self._server.url, str(model), batch_size
        self._view = View(
            "EndpointEncoder",
            embed,
            answer=answer,
            tokens=tokens,
            tokenizer=_tokenizer(tokenizer, embed),
        )
        self._cache: Recent[str, np.ndarray] = Recent(cache_size)
        self._width: int | None = None
        self._width = self._ask(["a text"]).shape[1]

    @property
    def facts(self) -> dict[str, Any]:
        """What was embedded by what, for the records of a run."""
        return {
            "model": self.name,
            "endpoint": self.url,
            **self._view.facts,
            "truncate": "as the server does",
        }

    def __call__(self, texts: Sequence[str]) -> np.ndarray:
        """Embed ``n`` texts: ``(n, d)`` float32, in the unit of the model."""
        parts = [self._view.parts(text) for text in texts]
        vectors = self._cache.look_up([p for of_text in parts for p in of_text], self._embed)
        return self._view.join(parts, vectors, self._width or 0)

    def __repr__(self) -> str:
        return f"EndpointEncoder({self.url!r}, {self.name!r})"

    def _embed(self, texts: list[str]) -> np.ndarray:
        starts = range(0, len(texts), self.batch_size)
        return np.concatenate([self._ask(texts[s : s + self.batch_size]) for s in starts])

    def _ask(self, texts: list[str]) -> np.ndarray:
        """Send one request: ``(n, d)`` float32."""
        body = {
            "model": self.name,
            "input": [text or " " for text in texts],
            "encoding_format": "float",
        }
        return self._vectors(self._server.post(body, self._refused), len(texts))

    def _vectors(self, body: bytes, count: int) -> np.ndarray:
        """Read the server's answer, in the order of ``index``."""
        try:
            rows = sorted(json.loads(body)["data"], key=lambda row: row["index"])
            vectors = np.asarray([row["embedding"] for row in rows], dtype=np.float32)
            found = [row["index"] for row in rows]
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(
                f"EndpointEncoder needs `data` with `index` and `embedding` from {self.url}; got "
                f"{body[:80]!r}. Check that the address is that of an OpenAI-compatible server."
            ) from error
        whole = found == list(range(count)) and vectors.ndim == 2 and np.isfinite(vectors).all()
        if not whole or (self._width or vectors.shape[1]) != vectors.shape[1]:
            raise ValueError(
                f"EndpointEncoder needs {count} finite vectors of one length from {self.url}; got "
                f"shape {vectors.shape} with index {found[:8]}. "
                f"Check that {self.name!r} is an embedding model on that server."
            )
        return vectors

    def _refused(self, code: int, said: str) -> str:
        long = "If a text is too long, use embed='last_tokens' with tokenizer= and tokens=."
        return (
            f"EndpointEncoder needs embeddings of {self.name!r} from {self.url}; got HTTP {code}: "
            f"{said}. {CURES.get(code, long)}"
        )


def _tokenizer(name: str | None, embed: str) -> Any:
    cuts = embed in ("last_tokens", "split_mean")
    if cuts != (name is not None):
        raise ValueError(
            f"EndpointEncoder needs a tokenizer for embed='last_tokens' and 'split_mean', and only "
            f"there; got embed={embed!r} and tokenizer={name!r}. "
            f"Use embed='last_tokens', tokenizer=<name of the model>, tokens=256."
        )
    if name is None:
        return None
    from transformers import AutoTokenizer

    try:
        return AutoTokenizer.from_pretrained(name)
    except (OSError, ValueError) as error:
        raise ValueError(
            f"EndpointEncoder needs a tokenizer; got {name!r} ({first_line(error)}). "
            f"Pass the folder of a downloaded one."
        ) from error
