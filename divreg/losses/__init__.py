"""Losses of the literature for SFT and DPO, under the same contract as `divreg.methods`.

The first argument is the stage: ``token_weights`` weighs the tokens of the cross-entropy or the
pairs of a preference loss, ``loss`` adds to it or takes its place. One import line registers a
loss, as there: the laws, the command line, recipes and the README's table read ``LOSSES``.
``README.md`` beside this file says how to add one.
"""

import inspect
from collections.abc import Callable
from typing import Any

from divreg.losses.anchored import anchored as anchored
from divreg.losses.confidence_penalty import confidence_penalty as confidence_penalty
from divreg.losses.confidence_penalty import confidence_penalty_hinge as confidence_penalty_hinge
from divreg.losses.ddpo import ddpo as ddpo
from divreg.losses.dft import dft as dft
from divreg.losses.diffuse import diffuse as diffuse
from divreg.losses.dorpo import dorpo as dorpo
from divreg.losses.eaft import eaft as eaft
from divreg.losses.focal import focal as focal
from divreg.losses.gem import gem as gem
from divreg.losses.gem import gem_logsigmoid as gem_logsigmoid
from divreg.losses.label_smoothing import label_smoothing as label_smoothing
from divreg.losses.psft import psft as psft
from divreg.losses.sed import sed as sed
from divreg.losses.spl import spl as spl
from divreg.losses.tofu import tofu as tofu
from divreg.losses.unlikelihood import group_unlikelihood as group_unlikelihood
from divreg.losses.unlikelihood import sequence_unlikelihood as sequence_unlikelihood
from divreg.losses.unlikelihood import unlikelihood as unlikelihood

OPTIONS: dict[str, Callable[..., Any]] = {"spl": spl}
"""Settings of a trainer, which are no intervention: named in the config by a key of their own."""
LOSSES: dict[str, Callable[..., Any]] = {
    name: f for name, f in list(globals().items()) if inspect.isfunction(f) and name not in OPTIONS
}
