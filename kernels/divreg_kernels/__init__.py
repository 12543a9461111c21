"""Fused kernels that divreg would use, importable without TRL: torch and triton only.

There is no kernel yet. :func:`unavailable_reason` is how callers ask, so that code written against
it needs no change when one arrives.
"""

KERNELS: tuple[str, ...] = ()


def unavailable_reason(name: str) -> str | None:
    """Say in one sentence why the kernel ``name`` cannot run here; None when it can.

    >>> unavailable_reason("gram")
    "divreg_kernels has no kernel 'gram'; it has none yet. Use the torch function instead."
    """
    if name not in KERNELS:
        listed = f"it has {', '.join(KERNELS)}" if KERNELS else "it has none yet"
        return f"divreg_kernels has no kernel {name!r}; {listed}. Use the torch function instead."
    return None
