"""Requests to an OpenAI-compatible server, sent again while it is busy."""

import http.client
import json
import os
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Mapping
from typing import Any

from divreg.encoders.apart import first_line

LONGEST_PAUSE = 30.0  # seconds between two attempts
_BUSY = (408, 429, 500, 502, 503, 504)
CURES = {
    401: "Name the variable that holds the key: api_key_env='OPENAI_API_KEY'.",
    403: "Name the variable that holds the key: api_key_env='OPENAI_API_KEY'.",
    404: "Check the address, which usually ends in /v1, and the name of the model.",
}
"""What to do about a refusal, by its HTTP status."""


class Server:
    """One address of a server.

    A busy one (HTTP 408, 429, 500 to 504) or a broken connection is asked again after 1, 2, 4, ...
    seconds, or after what ``Retry-After`` says, 30 at most.

    Args:
        url: Base address, such as "http://localhost:8000/v1".
        path: What is asked for below it, such as "/embeddings".
        who: Who asks, for messages.
        key: Name of the environment variable that holds the key; None sends no key. The key itself
            is read when it is sent, and never kept, shown or recorded.
        timeout: Longest wait for one answer, in seconds.
        retries: Attempts after the first one.

    Raises:
        ValueError: If the address is none, or a number is out of range.
    """

    def __init__(
        self, url: str, path: str, who: str, *, key: str | None, timeout: float, retries: int
    ):
        address = urllib.parse.urlsplit(str(url))
        if address.scheme not in ("http", "https") or not address.hostname:
            raise ValueError(f"{who} needs a URL; got {url!r}. Use 'http://localhost:8000/v1'.")
        if address.username or address.query:  # the address is recorded with the run
            raise ValueError(
                f"{who} needs an address without a password or a query; got one for "
                f"{address.hostname}. Put the key into an environment variable and name that: "
                f"api_key_env='MY_KEY'."
            )
        if retries < 0 or timeout <= 0:
            raise ValueError(
                f"{who} needs retries >= 0 and timeout > 0; got retries={retries} and "
                f"timeout={timeout}. Use retries=5, timeout=60."
            )
        self.url = str(url).rstrip("/").removesuffix(path) + path
        self.who, self._key, self._timeout, self._retries = who, key, timeout, retries

    def post(self, body: Mapping[str, Any], refused: Callable[[int, str], str]) -> bytes:
        """Send one request, again and again while the server is busy, and return the answer.

        Args:
            body: Sent as JSON.
            refused: From HTTP status and what the server says to the message of an error.

        Raises:
            ValueError: If the server refuses, or the key is not there.
            ConnectionError: If it cannot be reached, or stays busy.
        """
        wait = 1.0
        for left in range(self._retries, -1, -1):
            try:
                with urllib.request.urlopen(self._request(body), timeout=self._timeout) as reply:
                    return reply.read()
            except urllib.error.HTTPError as error:
                with error:
                    if error.code not in _BUSY:
                        raise ValueError(refused(error.code, _said(error))) from error
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
            f"{self.who} needs an answer from {self.url}; got none in {self._retries + 1} attempts "
            f"({reason}). Start the server, or give it more time with timeout= and retries=."
        )

    def _request(self, body: Mapping[str, Any]) -> urllib.request.Request:
        headers = {"Content-Type": "application/json", "Accept": "application/json"}
        if self._key is not None:
            key = os.environ.get(self._key)
            if not key:
                raise ValueError(
                    f"{self.who} needs a key in the environment variable {self._key}; got none. "
                    f"Type export {self._key}=... before the training."
                )
            headers["Authorization"] = f"Bearer {key}"
        return urllib.request.Request(self.url, json.dumps(body).encode(), headers)


def _said(error: urllib.error.HTTPError) -> str:
    """Return the start of what the server says about an error, on one line."""
    return " ".join(error.read().decode("utf-8", "replace").split())[:200] or str(error.reason)
