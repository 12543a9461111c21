"""divreg: keep language models diverse while they are post-trained.

Watch the collapse, trace where it comes from, counter it, and prove that accuracy did not pay.
Everything public is named here and loaded on first use: ``import divreg`` loads neither torch nor
TRL.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from divreg import losses as losses
    from divreg import methods as methods
    from divreg import signals as signals
    from divreg.compose import Stateful as Stateful
    from divreg.compose import blend as blend
    from divreg.compose import scheduled as scheduled
    from divreg.control import Cosine as Cosine
    from divreg.control import Hold as Hold
    from divreg.control import Linear as Linear
    from divreg.monitor.callback import CollapseMonitor as CollapseMonitor
    from divreg.report import write_report as write_report
    from divreg.trainers.dpo import DiverseDPOConfig as DiverseDPOConfig
    from divreg.trainers.dpo import DiverseDPOTrainer as DiverseDPOTrainer
    from divreg.trainers.grpo import DiverseGRPOConfig as DiverseGRPOConfig
    from divreg.trainers.grpo import DiverseGRPOTrainer as DiverseGRPOTrainer
    from divreg.trainers.rloo import DiverseRLOOConfig as DiverseRLOOConfig
    from divreg.trainers.rloo import DiverseRLOOTrainer as DiverseRLOOTrainer
    from divreg.trainers.sft import DiverseSFTConfig as DiverseSFTConfig
    from divreg.trainers.sft import DiverseSFTTrainer as DiverseSFTTrainer

__version__ = "0.1.0"

_HOMES = {
    "CollapseMonitor": "divreg.monitor.callback",
    "Cosine": "divreg.control",
    "DiverseDPOConfig": "divreg.trainers.dpo",
    "DiverseDPOTrainer": "divreg.trainers.dpo",
    "DiverseGRPOConfig": "divreg.trainers.grpo",
    "DiverseGRPOTrainer": "divreg.trainers.grpo",
    "DiverseRLOOConfig": "divreg.trainers.rloo",
    "DiverseRLOOTrainer": "divreg.trainers.rloo",
    "DiverseSFTConfig": "divreg.trainers.sft",
    "DiverseSFTTrainer": "divreg.trainers.sft",
    "Hold": "divreg.control",
    "Linear": "divreg.control",
    "Stateful": "divreg.compose",
    "blend": "divreg.compose",
    "losses": "divreg",
    "methods": "divreg",
    "scheduled": "divreg.compose",
    "signals": "divreg",
    "write_report": "divreg.report",
}

__all__ = sorted([*_HOMES, "__version__"])  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'divreg' has no attribute {name!r}")
    home = _HOMES[name]
    if home == "divreg":
        return importlib.import_module(f"divreg.{name}")
    return getattr(importlib.import_module(home), name)


def __dir__() -> list[str]:
    return __all__
