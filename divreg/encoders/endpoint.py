"""Embeddings from an OpenAI-compatible server: vLLM, TEI, SGLang, llama.cpp or a provider."""

import http.client
import json
import os
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from divreg.encoders.apart import at_least_one, first_line
from divreg.encoders.recent import Recent
from divreg.encoders.view import Embed, View

LONGEST_PAUSE = 30.0  # seconds between two attempts
_BUSY = (408, 429, 500, 502, 503, 504)


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
        address = urllib.parse.urlsplit(str(url))
        if address.scheme not in ("http", "https") or not address.hostname:
            raise ValueError(
                f"EndpointEncoder needs a URL; got {url!r}. Use 'http://localhost:8000/v1'."
            )
        if address.username or address.query:  # the address is recorded with the run
            raise ValueError(
                f"EndpointEncoder needs an address without a password or a query; got one for "
                f"{address.hostname}. Put the key into an environment variable and name that: "
                f"api_key_env='MY_KEY'."
            )
        if retries < 0 or timeout <= 0:
            raise ValueError(
                f"EndpointEncoder needs retries >= 0 and timeout > 0; got retries={retries} and "
                f"timeout={timeout}. Use retries=5, timeout=60."
            )
        at_least_one("EndpointEncoder", "batch_size", batch_size, 64)
        self.url = str(url).rstrip("/").removesuffix("/embeddings") + "/embeddings"
        self.name, self.batch_size, self.api_key_env = str(model), batch_size, api_key_env
        self.timeout, self.retries = timeout, retries
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
        """Send one request, again and again while the server is busy: ``(n, d)`` float32."""
        wait = 1.0
        for left in range(self.retries, -1, -1):
            try:
                with urllib.request.urlopen(self._request(texts), timeout=self.timeout) as reply:
                    return self._vectors(reply.read(), len(texts))
            except urllib.error.HTTPError as error:
                with error:
                    if error.code not in _BUSY:
                        raise self._refused(error) from error
                    reason = f"HTTP {error.code}: {_said(error)}"
                    asked = error.headers.get("Retry-After") or ""
                pause = float(asked) if asked.isdecimal() else wait
            except (OSError, http.client.HTTPException) as error:  # unreachable, or broken off
                reason = first_line(error)
                pause = wait
            if left:
                time.sleep(min(pause, LONGEST_PAUSE))
                wait *= 2
        raise ConnectionError(
            f"EndpointEncoder needs an answer from {self.url}; got none in {self.retries + 1} "
            f"attempts ({reason}). Start the server, or give it more time with timeout= and "
            f"retries=."
        )

    def _request(self, texts: list[str]) -> urllib.request.Request:
        body = {
            "model": self.name,
            "input": [text or " " for text in texts],
            "encoding_format": "float",
        }
        headers = {"Content-Type": "application/json", "Accept": "application/json"}
        if self.api_key_env is not None:
            key = os.environ.get(self.api_key_env)
            if not key:
                raise ValueError(
                    f"EndpointEncoder needs a key in the environment variable {self.api_key_env}; "
                    f"got none. Type export {self.api_key_env}=... before the training."
                )
            headers["Authorization"] = f"Bearer {key}"
        return urllib.request.Request(self.url, json.dumps(body).encode(), headers)

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

    def _refused(self, error: urllib.error.HTTPError) -> ValueError:
        cures = {
            401: "Name the variable that holds the key: api_key_env='OPENAI_API_KEY'.",
            403: "Name the variable that holds the key: api_key_env='OPENAI_API_KEY'.",
            404: "Check the address, which usually ends in /v1, and the name of the model.",
        }
        long = "If a text is too long, use embed='last_tokens' with tokenizer= and tokens=."
        return ValueError(
            f"EndpointEncoder needs embeddings of {self.name!r} from {self.url}; got HTTP "
            f"{error.code}: {_said(error)}. {cures.get(error.code, long)}"
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


def _said(error: urllib.error.HTTPError) -> str:
    """Return the start of what the server says about an error, on one line."""
    return " ".join(error.read().decode("utf-8", "replace").split())[:200] or str(error.reason)
