"""Per-token statistics of a softmax, fused: torch and triton only, nothing of divreg.

Everything public is named here and loaded on first use: ``import divreg_kernels`` loads neither.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from divreg_kernels.backends import last_backend as last_backend
    from divreg_kernels.backends import unavailable_reason as unavailable_reason
    from divreg_kernels.dynamics import entropy_change as entropy_change
    from divreg_kernels.linear import linear_token_stats as linear_token_stats
    from divreg_kernels.policy import linear_policy_loss as linear_policy_loss
    from divreg_kernels.reference import token_stats_reference as token_stats_reference
    from divreg_kernels.state import State as State
    from divreg_kernels.state import merge_states as merge_states
    from divreg_kernels.stats import TokenStats as TokenStats
    from divreg_kernels.stats import token_stats as token_stats

_HOME = {
    "State": "state",
    "TokenStats": "stats",
    "entropy_change": "dynamics",
    "last_backend": "backends",
    "linear_policy_loss": "policy",
    "linear_token_stats": "linear",
    "merge_states": "state",
    "token_stats": "stats",
    "token_stats_reference": "reference",
    "unavailable_reason": "backends",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'divreg_kernels' has no attribute {name!r}")
    return getattr(importlib.import_module(f"divreg_kernels.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted(_HOME)
