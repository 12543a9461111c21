"""Token losses of the literature for SFT, under the same contract as `divreg.methods`.

The first argument is the stage: ``token_weights`` weighs the tokens of the cross-entropy, ``loss``
adds to it or takes its place. One import line registers a loss, as there: the laws, the command
line, recipes and the README's table read ``LOSSES``. ``README.md`` beside this file says how to
add one.
"""

import inspect
from collections.abc import Callable
from typing import Any

from divreg.losses.anchored import anchored as anchored
from divreg.losses.confidence_penalty import confidence_penalty as confidence_penalty
from divreg.losses.confidence_penalty import confidence_penalty_hinge as confidence_penalty_hinge
from divreg.losses.dft import dft as dft
from divreg.losses.diffuse import diffuse as diffuse
from divreg.losses.eaft import eaft as eaft
from divreg.losses.focal import focal as focal
from divreg.losses.gem import gem as gem
from divreg.losses.gem import gem_logsigmoid as gem_logsigmoid
from divreg.losses.label_smoothing import label_smoothing as label_smoothing
from divreg.losses.psft import psft as psft
from divreg.losses.sed import sed as sed
from divreg.losses.tofu import tofu as tofu
from divreg.losses.unlikelihood import unlikelihood as unlikelihood

LOSSES: dict[str, Callable[..., Any]] = {
    name: f for name, f in list(globals().items()) if inspect.isfunction(f)
}
