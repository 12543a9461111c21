"""Every method trains, in both trainers, with the signals it asks for, and changes the training."""

import functools
import math

import pytest

from divreg.methods import METHODS

ARGS = {"num_iterations": 2, "max_steps": 2}  # kl_cov needs data that is not strictly on-policy
MORE = {  # what a method asks of the config
    "flowrl": {"beta": 0.001},
    "steer_exact": {"divreg": {"head": "divreg"}},
}
GRPO_ONLY = {"flowrl"}  # RLOO keeps the reference model's log-probs to itself
SURE = {"clip_cov": {"low": 0.0}, "pass_at_k": {"k": 2}}  # so that they act on a random model


@pytest.fixture
def digest(train, scenarios, monkeypatch):
    """``digest(trainer, method)``: the weights after training, whose losses were finite."""

    def go(trainer, chosen, **more):
        _, told = scenarios.interventions(None)
        monkeypatch.setattr(scenarios, "interventions", lambda _: (chosen, told))
        result = train(f"Diverse{trainer}Trainer", args={**ARGS, **more})
        losses = [row["loss"] for row in result["logs"] if "loss" in row]
        assert len(losses) == 2
        assert all(map(math.isfinite, losses))
        return result["digest"]

    return go


@pytest.mark.parametrize("trainer", ["GRPO", "RLOO"])
@pytest.mark.parametrize("name", METHODS)
def test_every_method_trains(name, trainer, digest):
    bound = functools.partial(METHODS[name], **SURE.get(name, {}))
    more = MORE.get(name, {})
    if trainer == "RLOO" and name in GRPO_ONLY:
        with pytest.raises(ValueError, match="Use DiverseGRPOTrainer"):
            digest(trainer, [bound], **more)
    else:
        assert digest(trainer, [bound], **more) != digest(trainer, [], **more)
