"""What the machine can do at best, measured in the same run, and how near a provider comes."""

import functools
import statistics
from collections.abc import Callable, Iterable
from typing import Any

import torch
from cases import Case
from steps import timed

COPIED = {"cuda": 4 << 30, "cpu": 256 << 20}  # bytes, well past every cache
TOKENS = 8192  # rows of the largest product: more are not faster
REPEATS = {"cuda": 10, "cpu": 3}


def measure(cases: Iterable[Case], device: str, copied: int | None = None) -> dict[str, Any]:
    """Measure bandwidths, bytes a second, and the vendor's products, operations a second.

    Args:
        cases: Whose products are measured: by their shape, into the dtype of the inputs (``same``)
            and into fp32; None where torch has no such product.
        device: ``cuda`` or ``cpu``.
        copied: Bytes that are copied and read.
    """
    size = copied or COPIED[device]
    source = torch.ones(size // 4, device=device)
    into = torch.empty_like(source)
    found: dict[str, Any] = {
        "copy": 2 * size / _median(device, lambda: into.copy_(source)),
        "read": size / _median(device, source.sum),
        "products": {},
    }
    del source, into
    for case in cases:
        if case.h is not None and case.shape not in found["products"]:
            found["products"][case.shape] = _product(case, device)
    return found


def share(case: Case, mode: str, seconds: float, ceilings: dict[str, Any]) -> float | None:
    """Return what a step reaches of the ceiling: by the least it has to move or to multiply.

    Logits are read once, and for a backward once more, and their gradient is written; for hidden
    states 2 N H V operations are the forward, and 8 are forward and backward, whoever needs fewer.
    """
    forward = mode in ("no gradient", "forward")
    if case.h is None:
        moves = 1.0 if forward else 3.0 - case.zero  # a row without gradient is written, not read
        return moves * case.bytes / seconds / ceilings["copy"]
    best = ceilings["products"].get(case.shape, {}).get("same")
    return best and (2 if forward else 8) * case.n * case.h * case.v / seconds / best


def _product(case: Case, device: str) -> dict[str, float | None]:
    assert case.h is not None
    n = min(case.n, TOKENS)
    hidden = torch.randn(n, case.h, device=device).to(case.dtype)
    weight = torch.randn(case.v, case.h, device=device).to(case.dtype).T
    operations = 2 * n * case.h * case.v
    same = operations / _median(device, lambda: torch.mm(hidden, weight))
    if case.dtype == torch.float32:
        return {"same": same, "fp32": same}
    wide = functools.partial(torch.mm, hidden, weight, out_dtype=torch.float32)
    try:
        return {"same": same, "fp32": operations / _median(device, wide)}
    except (RuntimeError, TypeError):  # no such product on this device, or in this torch
        return {"same": same, "fp32": None}


def _median(device: str, run: Callable[[], object]) -> float:
    run()
    return statistics.median(timed(device, run) for _ in range(REPEATS[device]))
