"""GRPO with interventions: swap the class, or add ``divreg:`` to the config."""

from dataclasses import dataclass, field
from typing import Any, ClassVar

from trl.trainer.grpo_config import GRPOConfig
from trl.trainer.grpo_trainer import GRPOTrainer

from divreg.trainers import _seams
from divreg.trainers._mixin import InterventionMixin

_seams.check(trainers={GRPOTrainer: _seams.ONLINE})


@dataclass
class DiverseGRPOConfig(GRPOConfig):
    """TRL's ``GRPOConfig`` with one more field; every other key means what it means there.

    Args:
        divreg: Interventions, signals and monitor as a dict, or the path of a YAML file that holds
            them. None runs the preset; ``{"interventions": []}`` trains exactly as TRL does.
    """

    _VALID_DICT_FIELDS: ClassVar[list[str]] = [*GRPOConfig._VALID_DICT_FIELDS, "divreg"]

    divreg: dict | str | None = field(
        default=None,
        metadata={
            "help": "Interventions, signals and monitor of divreg: a dict, a JSON string, or the "
            "path of a YAML file. Not set: the preset. {'interventions': []}: exactly TRL."
        },
    )


class DiverseGRPOTrainer(InterventionMixin, GRPOTrainer):  # pyright: ignore[reportIncompatibleMethodOverride, reportIncompatibleVariableOverride]
    """TRL's ``GRPOTrainer`` that keeps its model diverse.

    Takes everything ``GRPOTrainer`` takes, and two more keyword arguments. With
    ``interventions=[]`` it trains bit for bit like ``GRPOTrainer``. A run with interventions is
    watched by a :class:`divreg.CollapseMonitor`, unless the config says
    ``divreg={"monitor": False}``.

    Args:
        model: As in TRL.
        reward_funcs: As in TRL.
        args: A :class:`DiverseGRPOConfig`; TRL's own ``GRPOConfig`` works as well.
        interventions: Functions of `divreg.methods`, partials of them, or your own. None (not
            said) runs the preset, an empty list nothing.
        signals: How signals are computed: ``correct``, ``answer``, ``embedding``, ``partition``.

    Raises:
        ValueError: When built, for a combination that cannot do what it says.

    Example:
        ``DiverseGRPOTrainer(model, reward_funcs=accuracy_reward, args=args, train_dataset=data)``
    """

    _tag_names: ClassVar[list[str]] = ["trl", "grpo", "divreg"]
    _name = "Diverse GRPO"
    config_class: type[Any] = DiverseGRPOConfig
