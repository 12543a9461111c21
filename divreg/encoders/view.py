"""What of a text is embedded: all of it, its answer, its last tokens, or the mean of its parts."""

from collections.abc import Callable, Sequence
from typing import Any, Literal, get_args

import numpy as np

Embed = Literal["text", "answer", "last_tokens", "split_mean"]
Truncate = Literal["left", "right"]


class View:
    """Cuts texts into what is embedded, and joins the vectors of the parts.

    - ``"text"``: the text. What is too long for the model is dropped at one end.
    - ``"answer"``: what ``answer`` extracts. A text without an answer is the zero vector, which is
      similar to nothing, as it is a class of its own in ``by_answer``.
    - ``"last_tokens"``: the last ``tokens`` tokens.
    - ``"split_mean"``: a text of more than ``tokens`` tokens is cut into as few parts of equal
      length as fit, and is the mean of their vectors: nothing of a long text is dropped.

    Args:
        who: The encoder, for errors.
        embed: One of the four.
        answer: A function from a text to its answer, None where there is none; for "answer".
        tokens: Tokens of a part; for "last_tokens" and "split_mean". None is all that fit.
        tokenizer: Counts tokens; for "last_tokens" and "split_mean".
        fit: Tokens that the model reads, None where that is unknown.

    Raises:
        ValueError: If an argument is missing, out of range, or would not be read.
    """

    def __init__(
        self,
        who: str,
        embed: Embed,
        *,
        answer: Callable[[str], str | None] | None = None,
        tokens: int | None = None,
        tokenizer: Any = None,
        fit: int | None = None,
    ):
        cuts = embed in ("last_tokens", "split_mean")
        if embed not in get_args(Embed):
            raise ValueError(
                f"{who} needs embed to be {', '.join(map(repr, get_args(Embed)))}; got {embed!r}. "
                f"Use embed='text' for all of it."
            )
        if (embed == "answer") != (answer is not None):
            raise ValueError(
                f"{who} needs a function that extracts answers where embed='answer', and only "
                f"there; got embed={embed!r} and answer={answer!r}. "
                f"Use embed='answer', answer=my_extractor."
            )
        if tokens is not None and not cuts:
            raise ValueError(
                f"{who} needs tokens for embed='last_tokens' and 'split_mean' only; got "
                f"embed={embed!r}. Use embed='last_tokens', tokens={tokens}."
            )
        size = fit if tokens is None else tokens
        if cuts and not 1 <= (size or 0) <= (fit or size or 0):
            most = f"1 to {fit}" if fit else "at least 1"
            raise ValueError(
                f"{who} needs {most} tokens for embed={embed!r}; got {tokens}. "
                f"Use tokens={fit or 256}."
            )
        if cuts and not getattr(tokenizer, "is_fast", False):
            raise ValueError(
                f"{who} needs a fast tokenizer for embed={embed!r}; got "
                f"{type(tokenizer).__name__}. Use embed='text'."
            )
        self.embed, self.answer = embed, answer
        self.tokens = size if cuts else None
        self._tokenizer = tokenizer

    @property
    def facts(self) -> dict[str, Any]:
        """What is embedded, for the records of a run."""
        found: dict[str, Any] = {"embed": self.embed}
        if self.answer is not None:
            found["answer"] = getattr(self.answer, "__name__", type(self.answer).__name__)
        if self.tokens is not None:
            found["tokens"] = self.tokens
        return found

    def parts(self, text: str) -> list[str]:
        """Return the parts of a text that are embedded; none where it has no answer."""
        if self.answer is not None:
            found = self.answer(text)
            return [] if found is None else [str(found)]
        if self.tokens is None:
            return [text]
        ends = self._spans(text)
        if len(ends) <= self.tokens:
            return [text]
        if self.embed == "last_tokens":
            return [text[ends[-self.tokens][0] :]]
        count = -(-len(ends) // self.tokens)
        cuts = [ends[len(ends) * i // count][0] for i in range(1, count)]
        return [text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True)]

    def join(
        self, parts: Sequence[Sequence[str]], vectors: Sequence[np.ndarray], width: int
    ) -> np.ndarray:
        """Average the vectors of each text's parts: ``(n, d)`` float32.

        Args:
            parts: The parts of each of ``n`` texts.
            vectors: One ``(d,)`` a part, in the same order.
            width: ``d``; the row of a text without parts is zero.
        """
        rows = np.zeros((len(parts), width), dtype=np.float32)
        start = 0
        for row, of_text in zip(rows, parts, strict=True):
            if of_text:
                row[:] = np.mean(vectors[start : start + len(of_text)], axis=0)
            start += len(of_text)
        return rows

    def _spans(self, text: str) -> list[tuple[int, int]]:
        """Where each token of a text starts and ends, in characters."""
        read = self._tokenizer(
            text,
            add_special_tokens=False,
            return_offsets_mapping=True,
            truncation=False,
            verbose=False,
        )
        return read["offset_mapping"]


def check_truncate(who: str, truncate: str) -> None:
    """Refuse a side that is not one.

    Raises:
        ValueError: If it is neither "left" nor "right".
    """
    if truncate not in get_args(Truncate):
        raise ValueError(
            f"{who} needs truncate 'left' or 'right'; got {truncate!r}. "
            f"Use truncate='left' to keep the end of a text."
        )
