"""Models that only judge, kept apart from the one that is trained."""

import contextlib
from collections.abc import Iterator
from typing import Any


@contextlib.contextmanager
def apart() -> Iterator[None]:
    """Load a model whole, and leave the training's random numbers where they are.

    DeepSpeed's configuration is a global that makes every model loaded while it stands a sharded
    one; missing weights are initialised from the CPU's generator, which is the training's.
    """
    import torch
    from transformers.integrations import deepspeed

    reference: Any = deepspeed._hf_deepspeed_config_weak_ref
    config = reference() if reference is not None else None
    deepspeed.unset_hf_deepspeed_config()
    try:
        with torch.random.fork_rng(devices=[]):
            yield
    finally:
        if config is not None:
            deepspeed.set_hf_deepspeed_config(config)


def first_line(error: BaseException) -> str:
    """Return the first line of what another library says went wrong."""
    return next(iter(str(error).strip().splitlines()), type(error).__name__)


def at_least_one(who: str, name: str, value: int, instead: int) -> None:
    """Refuse a count below 1.

    Raises:
        ValueError: If it is.
    """
    if value < 1:
        raise ValueError(f"{who} needs {name} of at least 1; got {value}. Use {instead}.")
