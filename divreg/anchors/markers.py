"""The markers as tokens of a model: added once, before it is trained on annotations."""

from typing import Any

from divreg.anchors.tags import MARKERS


def add_markers(model: Any, tokenizer: Any) -> tuple[int, int, int]:
    """Add the markers to a tokenizer, and rows for them to the embeddings of its model.

    Both are changed in place; save both. A tokenizer that has the markers stays as it is, and so
    does a model with rows enough. With LoRA, pass what is returned on to PEFT, which trains nothing
    of the embeddings else: ``LoraConfig(trainable_token_indices=list(add_markers(model, names)))``.

    Args:
        model: A causal language model of transformers; None for the tokenizer alone.
        tokenizer: Its tokenizer.

    Returns:
        Ids of the tokens before a key, between key and value, and after a value.
    """
    tokenizer.add_special_tokens(
        {"additional_special_tokens": list(MARKERS)}, replace_extra_special_tokens=False
    )
    if model is not None and len(tokenizer) > model.get_input_embeddings().num_embeddings:
        model.resize_token_embeddings(len(tokenizer), mean_resizing=True)
    return marker_ids(tokenizer)


def marker_ids(tokenizer: Any, who: str = "marker_ids") -> tuple[int, int, int]:
    """Return the ids of the markers.

    Args:
        tokenizer: A tokenizer that has them.
        who: Who needs them, for the message.

    Raises:
        ValueError: If a marker is not one token of its own.
    """
    known = tokenizer.get_vocab()
    missing = [marker for marker in MARKERS if marker not in known]
    if missing:
        raise ValueError(
            f"{who} needs the markers {' '.join(MARKERS)} in the vocabulary; got a tokenizer of "
            f"{len(tokenizer)} tokens without {' '.join(missing)}. Add them before training: "
            f"divreg.anchors.markers.add_markers(model, tokenizer)."
        )
    opens, value, closes = (int(known[marker]) for marker in MARKERS)
    return opens, value, closes
