"""Which implementation runs: compiled Triton, or the same algorithm in torch."""

import importlib.util
import os
from types import ModuleType
from typing import Literal

import torch

Backend = Literal["auto", "triton", "torch"]
COMPILED_FOR = ("cuda", "xpu")
_last: str | None = None


def last_backend() -> str | None:
    """Return what the latest call of this process ran on, None before the first.

    ``torch``, ``triton``, or ``triton (interpreter)``.
    """
    return _last


def unavailable_reason(backend: str, device: torch.device | str = "cpu") -> str | None:
    """Say in one sentence why a backend cannot run on a device; None when it can.

    >>> unavailable_reason("torch")
    >>> unavailable_reason("cuda")
    "divreg_kernels has the backends 'triton' and 'torch'; got 'cuda'. Use backend='auto'."
    """
    if backend == "torch":
        return None
    if backend != "triton":
        return (
            f"divreg_kernels has the backends 'triton' and 'torch'; got {backend!r}. "
            f"Use backend='auto'."
        )
    if importlib.util.find_spec("triton") is None:
        return "the Triton kernels need triton: pip install triton. Or use backend='torch'."
    kind = torch.device(device).type
    if kind not in COMPILED_FOR and not _interpreted():
        return (
            f"Triton compiles for {' and '.join(COMPILED_FOR)}; these tensors are on {kind}. Move "
            f"them, use backend='torch', or, for tests, set TRITON_INTERPRET=1 before the import."
        )
    return None


def choose(backend: str, device: torch.device) -> ModuleType:
    """Return the module that implements ``fold`` and ``grad`` and remember its name.

    Args:
        backend: ``auto`` takes compiled Triton where it can run, else torch: never the interpreter.
        device: Where the tensors are.

    Raises:
        ValueError: If the backend that was asked for cannot run; the message says why.
    """
    global _last
    if backend == "auto":
        compiled = device.type in COMPILED_FOR and unavailable_reason("triton", device) is None
        backend = "triton" if compiled else "torch"
    elif reason := unavailable_reason(backend, device):
        raise ValueError(f"backend={backend!r}: {reason}")
    if backend == "torch":
        from divreg_kernels import torch_backend as module

        _last = "torch"
    else:
        from divreg_kernels import triton_backend as module

        _last = "triton (interpreter)" if _interpreted() else "triton"
    return module


def _interpreted() -> bool:
    return os.environ.get("TRITON_INTERPRET") == "1"
