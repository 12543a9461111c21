"""Methods of the literature, each a function whose signature is its contract.

One import line registers a method: the laws, the command line, recipes and the README's table read
``METHODS``. ``README.md`` beside this file says how to add one.
"""

import inspect
from collections.abc import Callable
from typing import Any

from divreg.methods.clip_cov import clip_cov as clip_cov
from divreg.methods.darling import darling as darling
from divreg.methods.differential_smoothing import differential_smoothing as differential_smoothing
from divreg.methods.dqo import dqo as dqo
from divreg.methods.dra import dra as dra
from divreg.methods.entropy_advantage import entropy_advantage as entropy_advantage
from divreg.methods.entropy_bonus import entropy_bonus as entropy_bonus
from divreg.methods.evol_rl import evol_rl as evol_rl
from divreg.methods.evol_rl import evol_rl_correct as evol_rl_correct
from divreg.methods.f_grpo import f_grpo as f_grpo
from divreg.methods.flowrl import flowrl as flowrl
from divreg.methods.gapo import gapo as gapo
from divreg.methods.ips import ips as ips
from divreg.methods.kl_cov import kl_cov as kl_cov
from divreg.methods.mmr import mmr as mmr
from divreg.methods.mmr import mmr_fixed as mmr_fixed
from divreg.methods.outcome_exploration import outcome_exploration as outcome_exploration
from divreg.methods.outcome_exploration import (
    outcome_exploration_batch as outcome_exploration_batch,
)
from divreg.methods.outcome_exploration import outcome_exploration_mean as outcome_exploration_mean
from divreg.methods.pass_at_k import pass_at_k as pass_at_k
from divreg.methods.progrpo import progrpo as progrpo
from divreg.methods.rarity import rarity as rarity
from divreg.methods.steer import steer as steer
from divreg.methods.steer import steer_exact as steer_exact
from divreg.methods.steer import steer_exp as steer_exp
from divreg.methods.uniqueness import uniqueness as uniqueness
from divreg.methods.unlikeliness import unlikeliness as unlikeliness
from divreg.methods.w_reinforce import w_reinforce as w_reinforce

METHODS: dict[str, Callable[..., Any]] = {
    name: f for name, f in list(globals().items()) if inspect.isfunction(f)
}
