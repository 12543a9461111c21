"""Weights that a text decides before the model has read it: a token without one is not counted."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import torch

from divreg.anchors.spans import spans
from divreg.pipeline import Pipeline
from divreg.trainers._tokens import documents

SIGNALS = frozenset({"tokens", "document", "mask", "markers"})
"""What there is to know of a micro-batch before the forward."""


class Unlabelled(NamedTuple):
    """A micro-batch with fewer labels.

    Attributes:
        batch: As the model gets it.
        counts: Tokens that had a label, those that lost it, and annotations without an end.
    """

    batch: dict[str, Any]
    counts: dict[str, int]


def by_text(pipeline: Pipeline) -> list[tuple[Any, tuple[str, ...]]]:
    """Return the interventions whose token weights depend on the text alone, and what they read."""
    return [
        (pipeline.methods[key], known.signals)
        for key, known in pipeline.contracts.items()
        if known.stage == "token_weights"
        and known.signals
        and SIGNALS.issuperset(known.signals)
        and key not in pipeline.states
    ]


def without_labels(
    batch: Mapping[str, Any],
    methods: list[tuple[Any, tuple[str, ...]]],
    markers: tuple[int, int, int] | None,
) -> Unlabelled:
    """Take the labels off the tokens that one of ``methods`` gives no weight.

    What TRL divides the loss by, and every mean that it logs, is over the labels that are left: the
    gradient is that of a data set which never had the others.
    """
    labels = batch["labels"]
    mask = labels[:, 1:] != -100
    known = {
        "tokens": torch.where(mask, labels[:, 1:], batch["input_ids"][:, 1:]),
        "document": documents(batch),
        "mask": mask,
        "markers": markers,
    }
    weights = torch.ones(mask.shape, device=labels.device)
    for method, wanted in methods:
        weights = method(weights, **{name: known[name] for name in wanted})
    left_out = (weights == 0) & mask
    labels = labels.clone()
    labels[:, 1:].masked_fill_(left_out, -100)
    counts = {"labels": int(mask.sum()), "left_out": int(left_out.sum())}
    if markers is not None:
        open_ended = spans(known["tokens"], known["document"], mask, markers).unfinished
        first = open_ended.clone()
        first[:, 1:] &= ~open_ended[:, :-1] | (
            known["document"][:, 1:] != known["document"][:, :-1]
        )
        counts["unfinished"] = int(first.sum())
    return Unlabelled({**batch, "labels": labels}, counts)
