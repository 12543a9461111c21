"""Every stage on a CUDA device, with text signals made on the CPU: `pytest -m gpu`."""

import pytest
import torch

pytestmark = pytest.mark.gpu

STAGES = {
    "GRPO": ["darling", "progrpo", "outcome_exploration", "steer", "entropy_bonus"],
    "RLOO": ["rarity", "progrpo", "outcome_exploration", "steer", "entropy_bonus"],
}


@pytest.mark.parametrize("bf16", [False, True])
@pytest.mark.parametrize("name", STAGES)
def test_every_stage_trains_on_a_gpu(name, bf16, train):
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    args = {"use_cpu": False, "bf16": bf16, "num_iterations": 2, "max_steps": 4}
    result = train(f"Diverse{name}Trainer", interventions=STAGES[name], args=args)
    losses = [row["loss"] for row in result["logs"] if "loss" in row]
    assert len(losses) == 4
    assert all(torch.isfinite(torch.tensor(losses)))


@pytest.mark.parametrize("name", STAGES)
def test_an_empty_list_trains_as_trl_on_a_gpu(name, train):
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    args = {"use_cpu": False, "bf16": True}
    stock = train(f"{name}Trainer", args=args)
    empty = train(f"Diverse{name}Trainer", interventions=[], args=args)
    assert empty["digest"] == stock["digest"]
