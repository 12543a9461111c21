"""Judges of pairs: whether two texts say the same, from sequence-classification models.

A judge is any ``list[(a, b)] -> (n,)`` of numbers or bools, higher for "the same"; ``by_pairs``
turns one into classes.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from divreg.encoders.apart import apart, at_least_one, first_line
from divreg.encoders.recent import Recent
from divreg.encoders.view import Truncate, check_truncate

Pair = tuple[str, str]

# What models call the label that means "the same"; compared without case, `_` as a space.
SAME = (
    *("same", "similar", "equivalent", "equal", "duplicate", "is duplicate", "paraphrase"),
    *("semantically equivalent", "yes", "true"),
)
_ENTAILMENT = ("entailment", "entail", "entails")
_RELATIONS = (("contradiction", "contradicts"), ("neutral",), _ENTAILMENT)


class PairClassifier:
    """Probability that two texts say the same, by a classifier of pairs; the NoveltyBench kind.

    Each ordered pair is judged once and remembered. The model is loaded at construction, whole
    where DeepSpeed ZeRO-3 would shard it, belongs to no other module, and moves no random number
    of the training. NoveltyBench's judge, of which the first 128 tokens of each text are read::

        PairClassifier("yimingzhang/deberta-v3-large-generation-similarity", same=1,
                       tokenizer="microsoft/deberta-v3-large", truncate="right", symmetric=False)

    A model with one output, such as a cross-encoder of sentence-transformers, gives its sigmoid.

    Args:
        model: Name on the Hub or a folder.
        tokenizer: Name or folder of the tokenizer, where the model's has none.
        same: The label that means "the same", by name or number. None finds it: a label called
            like "same", "similar" or "duplicate", or the last one where labels have no names.
        symmetric: Whether to average both orders of a pair. Twice the work; classifiers of pairs
            do depend on the order.
        max_tokens: Tokens read of each of the two texts.
        truncate: The end of a too long text that is dropped, "left" or "right".
        batch_size: Ordered pairs in one forward pass.
        device: Where to judge, such as "cuda:1" or "cpu"; None takes what sentence-transformers
            would.
        cache_size: Judgements kept, the most recently used ones; 0 keeps none.

    Raises:
        ValueError: If the model cannot be loaded or has no trained head, the label cannot be
            found, or an argument is out of range.

    Source:
        Zhang et al., NoveltyBench, arXiv:2504.05228, released code, partition.py.
    """

    def __init__(
        self,
        model: str,
        *,
        tokenizer: str | None = None,
        same: str | int | None = None,
        symmetric: bool = True,
        max_tokens: int = 128,
        truncate: Truncate = "left",
        batch_size: int = 64,
        device: str | None = None,
        cache_size: int = 200_000,
    ):
        self._model = _PairModel(
            "PairClassifier", model, tokenizer, max_tokens, truncate, batch_size, device, cache_size
        )
        self.symmetric = symmetric
        self.label = _same_label(self._model.labels, same, self._model.name)

    @property
    def facts(self) -> dict[str, Any]:
        """What judged, and how, for the records of a run."""
        label = self._model.labels[self.label]
        return {**self._model.facts, "same": label, "symmetric": self.symmetric}

    def __call__(self, pairs: Sequence[Pair]) -> np.ndarray:
        """Judge ``n`` pairs: ``(n,)`` float64, the probability in [0, 1] that both say the same."""
        if not self.symmetric:
            return self._model(pairs)[:, self.label]
        forth, back = self._model.both_ways(pairs)
        return (forth[:, self.label] + back[:, self.label]) / 2

    def __repr__(self) -> str:
        return f"PairClassifier({self._model.name!r})"


class NLIEquivalence:
    """Bidirectional entailment: how sure an NLI model is that each text entails the other.

    The smaller of both probabilities of "entailment": two texts are the same where each follows
    from the other. Loaded and cached as :class:`PairClassifier` is, one judgement an ordered pair.

    Args:
        model: Name on the Hub or a folder of an NLI model, such as
            "microsoft/deberta-large-mnli".
        tokenizer: Name or folder of the tokenizer, where the model's has none.
        max_tokens: Tokens read of each of the two texts.
        truncate: The end of a too long text that is dropped, "left" or "right".
        batch_size: Ordered pairs in one forward pass.
        device: Where to judge; None takes what sentence-transformers would.
        cache_size: Judgements kept, the most recently used ones; 0 keeps none.

    Raises:
        ValueError: If the model cannot be loaded, has no label "entailment" (the message lists
            those it has), or an argument is out of range.

    Source:
        Kuhn et al., Semantic Uncertainty, arXiv:2302.09664, Algorithm 1.

    Differs from the paper:
        A probability to compare with a threshold, not whether entailment is the likeliest label.
        The question is not put before the answers.
    """

    def __init__(
        self,
        model: str,
        *,
        tokenizer: str | None = None,
        max_tokens: int = 128,
        truncate: Truncate = "left",
        batch_size: int = 64,
        device: str | None = None,
        cache_size: int = 200_000,
    ):
        self._model = _PairModel(
            "NLIEquivalence", model, tokenizer, max_tokens, truncate, batch_size, device, cache_size
        )
        named = [i for i, n in enumerate(self._model.labels) if _plain(n) in _ENTAILMENT]
        if len(named) != 1:
            raise ValueError(
                f"NLIEquivalence needs a model with a label 'entailment'; got {model!r} with "
                f"{_listed(self._model.labels)}. Use PairClassifier(model, same=LABEL) if one of "
                f"them means the same."
            )
        self.label = named[0]

    @property
    def facts(self) -> dict[str, Any]:
        """What judged, and how, for the records of a run."""
        return {**self._model.facts, "same": "entailment both ways"}

    def __call__(self, pairs: Sequence[Pair]) -> np.ndarray:
        """Judge ``n`` pairs: ``(n,)`` float64, the smaller P(entailment) of both directions."""
        forth, back = self._model.both_ways(pairs)
        return np.minimum(forth[:, self.label], back[:, self.label])

    def __repr__(self) -> str:
        return f"NLIEquivalence({self._model.name!r})"


class NLIClassifier:
    """What an NLI model says of ordered pairs: contradiction, neutral, entailment.

    Loaded and cached as :class:`PairClassifier` is. What
    :func:`~divreg.metrics.nli.nli_diversity_of_texts` asks.

    Args:
        model: Name on the Hub or a folder of an NLI model, such as
            "FacebookAI/roberta-large-mnli".
        tokenizer: Name or folder of the tokenizer, where the model's has none.
        max_tokens: Tokens read of each of the two texts.
        truncate: The end of a too long text that is dropped, "left" or "right".
        batch_size: Ordered pairs in one forward pass.
        device: Where to judge; None takes what sentence-transformers would.
        cache_size: Judgements kept, the most recently used ones; 0 keeps none.

    Raises:
        ValueError: If the model cannot be loaded, has not the three labels of NLI (the message
            lists those it has), or an argument is out of range.
    """

    def __init__(
        self,
        model: str,
        *,
        tokenizer: str | None = None,
        max_tokens: int = 128,
        truncate: Truncate = "left",
        batch_size: int = 64,
        device: str | None = None,
        cache_size: int = 200_000,
    ):
        self._model = _PairModel(
            "NLIClassifier", model, tokenizer, max_tokens, truncate, batch_size, device, cache_size
        )
        known = [_plain(label) for label in self._model.labels]
        places = [[i for i, label in enumerate(known) if label in said] for said in _RELATIONS]
        if len(known) != len(_RELATIONS) or any(len(own) != 1 for own in places):
            raise ValueError(
                f"NLIClassifier needs a model with the labels contradiction, neutral and "
                f"entailment; got {model!r} with {_listed(self._model.labels)}. Pass one that was "
                f"trained on MNLI."
            )
        self._order = [own[0] for own in places]

    @property
    def facts(self) -> dict[str, Any]:
        """What judged, and how, for the records of a run."""
        return self._model.facts

    def __call__(self, pairs: Sequence[Pair]) -> np.ndarray:
        """Judge ``n`` pairs (premise, hypothesis): ``(n, 3)`` float64, probabilities."""
        return self._model(pairs)[:, self._order]

    def __repr__(self) -> str:
        return f"NLIClassifier({self._model.name!r})"


class _PairModel:
    """A sequence-classification model on ordered pairs, batched and cached."""

    def __init__(
        self,
        who: str,
        model: str,
        tokenizer: str | None,
        max_tokens: int,
        truncate: Truncate,
        batch_size: int,
        device: str | None,
        cache_size: int,
    ):
        check_truncate(who, truncate)
        at_least_one(who, "batch_size", batch_size, 64)
        at_least_one(who, "max_tokens", max_tokens, 128)
        self.name, self.batch_size = str(model), batch_size
        self.max_tokens, self.truncate = max_tokens, truncate
        self._cache: Recent[Pair, np.ndarray] = Recent(cache_size)
        self._tokenizer, self._model = _load(who, self.name, tokenizer, device)
        config = self._model.config
        self.labels = [str(config.id2label[i]) for i in range(config.num_labels)]
        limits = (self._tokenizer.model_max_length, getattr(config, "max_position_embeddings", 0))
        fit = min([n for n in limits if n and n > 0], default=0)
        room = (fit - self._tokenizer.num_special_tokens_to_add(pair=True)) // 2
        if fit and max_tokens > room:
            raise ValueError(
                f"{who} needs max_tokens that fit twice into the {fit} tokens {self.name!r} reads; "
                f"got {max_tokens}. Use max_tokens={room}."
            )

    @property
    def facts(self) -> dict[str, Any]:
        return {"model": self.name, "max_tokens": self.max_tokens, "truncate": self.truncate}

    def __call__(self, pairs: Sequence[Pair]) -> np.ndarray:
        """Probability of each label for ``n`` ordered pairs: ``(n, labels)`` float64."""
        rows = self._cache.look_up([(a, b) for a, b in pairs], self._judge)
        return np.stack(rows) if rows else np.empty((0, len(self.labels)))

    def both_ways(self, pairs: Sequence[Pair]) -> tuple[np.ndarray, np.ndarray]:
        """Judge every pair as it is and turned around: two times ``(n, labels)``."""
        found = self([*pairs, *((b, a) for a, b in pairs)])
        return found[: len(pairs)], found[len(pairs) :]

    def _judge(self, pairs: list[Pair]) -> list[np.ndarray]:
        """Judge pairs in batches of like length, so that little is padding."""
        encoded = [self._encode(a, b) for a, b in pairs]
        order = sorted(range(len(pairs)), key=lambda i: len(encoded[i]["input_ids"]))
        rows: list[np.ndarray] = [np.empty(0)] * len(pairs)
        for start in range(0, len(order), self.batch_size):
            batch = order[start : start + self.batch_size]
            judged = self._forward([encoded[i] for i in batch])
            for i, row in zip(batch, judged, strict=True):
                rows[i] = row
        return rows

    def _encode(self, a: str, b: str) -> dict[str, list[int]]:
        """Cut each text by itself, then join both as the tokenizer joins a pair."""
        backend = self._tokenizer.backend_tokenizer
        both = [backend.encode(text, add_special_tokens=False) for text in (a, b)]
        for text in both:
            text.truncate(self.max_tokens, direction=self.truncate)
        pair = backend.post_process(*both)
        made = {
            "input_ids": pair.ids,
            "attention_mask": pair.attention_mask,
            "token_type_ids": pair.type_ids,
        }
        return {k: v for k, v in made.items() if k in self._tokenizer.model_input_names}

    def _forward(self, encoded: list[dict[str, list[int]]]) -> np.ndarray:
        """One forward pass over a batch ``(b, labels)``: softmax, or sigmoid of one output."""
        import torch

        made = {name: [row[name] for row in encoded] for name in encoded[0]}
        batch = self._tokenizer.pad(made, return_tensors="pt").to(self._model.device)
        with torch.inference_mode():
            logits = self._model(**batch).logits.double()
        chance = logits.sigmoid() if logits.shape[1] == 1 else logits.softmax(dim=1)
        return chance.cpu().numpy()


def _load(who: str, name: str, tokenizer: str | None, device: str | None) -> tuple[Any, Any]:
    import torch
    from sentence_transformers.util import get_device_name
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    try:
        with apart():
            reader: Any = AutoTokenizer.from_pretrained(tokenizer or name)
            model, report = AutoModelForSequenceClassification.from_pretrained(
                name, dtype=torch.float32, output_loading_info=True
            )
    except (OSError, ValueError) as error:
        raise ValueError(
            f"{who} needs a sequence-classification model; got {name!r} ({first_line(error)}). "
            f"Pass the folder of a downloaded one, and tokenizer= where it has none."
        ) from error
    if report["missing_keys"]:
        raise ValueError(
            f"{who} needs a model trained to judge pairs; got {name!r} without "
            f"{', '.join(sorted(report['missing_keys'])[:3])}. "
            f"Pass a sequence-classification model, or use SentenceEncoder with this one."
        )
    if not reader.is_fast:
        raise ValueError(
            f"{who} needs a fast tokenizer; got {type(reader).__name__}. "
            f"Pass tokenizer=<a model with tokenizer.json>."
        )
    reader.backend_tokenizer.no_truncation()
    reader.backend_tokenizer.no_padding()
    reader.padding_side = "right"
    return reader, model.to(device or get_device_name()).eval().requires_grad_(False)


def _same_label(labels: list[str], same: str | int | None, model: str) -> int:
    """Find the label that means "the same".

    >>> _same_label(["LABEL_0", "LABEL_1"], None, "a model")
    1
    >>> _same_label(["Not_Duplicate", "Duplicate"], None, "a model")
    1
    """
    if isinstance(same, int) and not isinstance(same, bool):
        if 0 <= same < len(labels):
            return same
    elif same is not None:
        if str(same) in labels:
            return labels.index(str(same))
    else:
        unnamed = [f"LABEL_{i}" for i in range(len(labels))]
        named = [i for i, label in enumerate(labels) if _plain(label) in SAME]
        if labels == unnamed or len(labels) == 1:
            return len(labels) - 1
        if len(named) == 1:
            return named[0]
    found = "no label that clearly means the same" if same is None else f"same={same!r}"
    raise ValueError(
        f"PairClassifier needs one of the labels {_listed(labels)} of {model!r}; got {found}. "
        f"Use same={labels[-1]!r}, or NLIEquivalence where the labels are those of entailment."
    )


def _plain(label: str) -> str:
    return " ".join(label.lower().replace("_", " ").replace("-", " ").split())


def _listed(labels: list[str]) -> str:
    return ", ".join(map(repr, labels))
