"""What a monitor cannot do on the trainer that it is given: said when it is bound to it."""

from collections.abc import Mapping
from typing import Any

from divreg.compose import is_scheduled


def intervening(trainer: Any) -> None:
    """Refuse a trainer whose strengths nobody can move.

    Raises:
        ValueError: The message says what to type.
    """
    pipeline = getattr(trainer, "pipeline", None)
    cure = (
        "Use DiverseGRPOTrainer with interventions=[divreg.scheduled(divreg.methods.progrpo, "
        "alpha=lambda step: 0.3)], or on_collapse='stop'."
    )
    if pipeline is None:
        raise ValueError(
            f"on_collapse='intervene' needs a Diverse trainer whose strengths can be moved; "
            f"got {type(trainer).__name__}. {cure}"
        )
    if not any(is_scheduled(f) for f in pipeline.methods.values()):
        raise ValueError(
            f"on_collapse='intervene' needs a scheduled strength; got "
            f"{', '.join(pipeline.methods) or 'no intervention'}. {cure}"
        )


def unknown_reward(trainer: Any, correct: Mapping[str, Any]) -> None:
    """Refuse the name of a reward function that the trainer does not have.

    Raises:
        ValueError: The message lists those it has.
    """
    names = list(trainer.reward_func_names)
    if correct.get("reward", names[0]) not in names:
        raise ValueError(
            f"CollapseMonitor's correct needs the name of a reward function; got "
            f"{correct['reward']!r}. Known: {', '.join(names)}."
        )
