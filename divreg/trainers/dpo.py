"""DPO with interventions: swap the class, or add ``divreg:`` to the config."""

from dataclasses import dataclass, field
from typing import Any, ClassVar

from trl.trainer.dpo_config import DPOConfig
from trl.trainer.dpo_trainer import DPOTrainer

from divreg.trainers import _seams
from divreg.trainers._preference import PreferenceMixin

_seams.check(trainers={DPOTrainer: _seams.DPO})


@dataclass
class DiverseDPOConfig(DPOConfig):
    """TRL's ``DPOConfig`` with one more field; every other key means what it means there.

    Args:
        divreg: Interventions, signals, ``spl`` and monitor as a dict, or the path of a YAML file
            that holds them. Without any of them it trains exactly as TRL does.
    """

    _VALID_DICT_FIELDS: ClassVar[list[str]] = [*DPOConfig._VALID_DICT_FIELDS, "divreg"]

    divreg: dict | str | None = field(
        default=None,
        metadata={
            "help": "Interventions, signals, spl and monitor of divreg: a dict, a JSON string, or "
            "the path of a YAML file. Not set: exactly TRL."
        },
    )


class DiverseDPOTrainer(PreferenceMixin, DPOTrainer):  # pyright: ignore[reportIncompatibleMethodOverride, reportIncompatibleVariableOverride]
    """TRL's ``DPOTrainer`` that keeps its model diverse.

    Takes everything ``DPOTrainer`` takes, and two more keyword arguments. Without interventions it
    trains bit for bit like ``DPOTrainer``. ``divreg={"spl": {"alpha": 0.2}}`` gives the entropy of
    the policy a coefficient of its own beside ``beta``; forward KL and Jensen-Shannon are TRL's
    ``f_divergence_type``. A run is watched where the config says what to sample:
    ``divreg={"monitor": {"probe_prompts": [...]}}``.

    Args:
        model: As in TRL.
        ref_model: As in TRL.
        args: A :class:`DiverseDPOConfig`; TRL's own ``DPOConfig`` works as well.
        data_collator: As in TRL.
        train_dataset: As in TRL; a column ``weight``, as ``divreg pairs`` writes it, is what
            `divreg.losses.ddpo` weighs pairs by.
        interventions: Functions of `divreg.losses`, partials of them, or your own.
        signals: ``{"pair_weight": COLUMN}`` names another column; functions of signals by name.

    Raises:
        ValueError: When built, for a combination that cannot do what it says, or a bad weight.

    Example:
        ``DiverseDPOTrainer(model, args=args, train_dataset=pairs, interventions=[losses.ddpo])``
    """

    _tag_names: ClassVar[list[str]] = ["trl", "dpo", "divreg"]
    _name = "Diverse DPO"
    config_class: type[Any] = DiverseDPOConfig
