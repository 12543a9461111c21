"""RLOO with interventions: swap the class, or add ``divreg:`` to the config."""

from dataclasses import dataclass, field
from typing import Any, ClassVar

from trl.trainer.rloo_config import RLOOConfig
from trl.trainer.rloo_trainer import RLOOTrainer

from divreg.trainers import _seams
from divreg.trainers._mixin import InterventionMixin

_seams.check(trainers={RLOOTrainer: _seams.ONLINE})


@dataclass
class DiverseRLOOConfig(RLOOConfig):
    """TRL's ``RLOOConfig`` with one more field; every other key means what it means there.

    Args:
        divreg: See :class:`divreg.DiverseGRPOConfig`.
    """

    _VALID_DICT_FIELDS: ClassVar[list[str]] = [*RLOOConfig._VALID_DICT_FIELDS, "divreg"]

    divreg: dict | str | None = field(
        default=None,
        metadata={
            "help": "Interventions, signals and monitor of divreg: a dict, a JSON string, or the "
            "path of a YAML file. Not set: the preset. {'interventions': []}: exactly TRL."
        },
    )


class DiverseRLOOTrainer(InterventionMixin, RLOOTrainer):  # pyright: ignore[reportIncompatibleMethodOverride, reportIncompatibleVariableOverride]
    """TRL's ``RLOOTrainer`` that keeps its model diverse; see :class:`divreg.DiverseGRPOTrainer`.

    RLOO's loss takes one advantage per completion, so token weights act through the advantages
    (their mean over the completion) and the gradient of the log-probs (the rest).
    """

    _tag_names: ClassVar[list[str]] = ["trl", "rloo", "divreg"]
    _name = "Diverse RLOO"
    config_class: type[Any] = DiverseRLOOConfig
    always_scores = True
    token_advantages = False
    keeps_reference = False
