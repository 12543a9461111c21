"""SFT with interventions: swap the class, or add ``divreg:`` to the config."""

from dataclasses import dataclass, field
from typing import Any, ClassVar

from trl.trainer.sft_config import SFTConfig
from trl.trainer.sft_trainer import SFTTrainer

from divreg.trainers import _seams
from divreg.trainers._offline import TokenLossMixin

_seams.check(trainers={SFTTrainer: _seams.SFT})


@dataclass
class DiverseSFTConfig(SFTConfig):
    """TRL's ``SFTConfig`` with one more field; every other key means what it means there.

    Args:
        divreg: Interventions, signals and monitor as a dict, or the path of a YAML file that holds
            them. Without interventions it trains exactly as TRL does.
    """

    _VALID_DICT_FIELDS: ClassVar[list[str]] = [*SFTConfig._VALID_DICT_FIELDS, "divreg"]

    divreg: dict | str | None = field(
        default=None,
        metadata={
            "help": "Interventions, signals and monitor of divreg: a dict, a JSON string, or the "
            "path of a YAML file. Not set: exactly TRL."
        },
    )


class DiverseSFTTrainer(TokenLossMixin, SFTTrainer):  # pyright: ignore[reportIncompatibleMethodOverride, reportIncompatibleVariableOverride]
    """TRL's ``SFTTrainer`` that keeps its model diverse.

    Takes everything ``SFTTrainer`` takes, and two more keyword arguments. Without interventions it
    trains bit for bit like ``SFTTrainer``. With them, the logged ``loss`` is what is minimised;
    ``diversity/ce_nats`` and ``eval_loss`` stay the cross-entropy. A run is watched where the
    config says what to sample: ``divreg={"monitor": {"probe_prompts": [...]}}``.

    Args:
        model: As in TRL.
        args: A :class:`DiverseSFTConfig`; TRL's own ``SFTConfig`` works as well.
        interventions: Functions of `divreg.losses`, partials of them, or your own.
        signals: Functions of signals by name; ``old_logprob={"every": 8}`` says after how many
            optimizer steps `divreg.losses.psft` renews its old policy.

    Raises:
        ValueError: When built, for a combination that cannot do what it says.

    Example:
        ``DiverseSFTTrainer(model, args=args, train_dataset=data, interventions=[losses.gem])``
    """

    _tag_names: ClassVar[list[str]] = ["trl", "sft", "divreg"]
    _name = "Diverse SFT"
    config_class: type[Any] = DiverseSFTConfig
