"""TRL still has what we override, and we extend it: no override leaves `super()` out."""

import ast
from pathlib import Path

import pytest

import divreg.trainers
from divreg.trainers import _seams

HERE = Path(divreg.trainers.__file__).parent


def test_the_installed_trl_has_every_seam():
    _seams.check()


def test_the_fused_head_says_what_the_tap_reads():
    from trl.trainer.utils import FusedCausalLMOutput

    assert set(_seams.HEAD) <= set(FusedCausalLMOutput.__dataclass_fields__)


def overrides():
    """Every method of the mixins that TRL or transformers has too."""
    from trl.trainer.dpo_trainer import DPOTrainer
    from trl.trainer.grpo_trainer import GRPOTrainer
    from trl.trainer.sft_trainer import SFTTrainer

    found = []
    for name, theirs in {
        "_attached.py": SFTTrainer,
        "_mixin.py": GRPOTrainer,
        "_offline.py": SFTTrainer,
        "_preference.py": DPOTrainer,
    }.items():
        tree = ast.parse((HERE / name).read_text())
        (mixin,) = [n for n in tree.body if isinstance(n, ast.ClassDef)]
        found += [
            pytest.param(f, id=f"{name}-{f.name}")
            for f in mixin.body
            if isinstance(f, ast.FunctionDef) and hasattr(theirs, f.name)
        ]
    return found


@pytest.mark.parametrize("function", overrides())
def test_an_override_extends_and_stays_short(function):
    calls = [n for n in ast.walk(function) if isinstance(n, ast.Call)]
    supers = [c for c in calls if isinstance(c.func, ast.Name) and c.func.id == "super"]
    assert supers, f"{function.name} replaces TRL's method"
    if function.name != "__init__":
        assert len(function.body) <= 15


def test_the_trainers_add_nothing_but_settings():
    for name in ("grpo.py", "rloo.py", "sft.py", "dpo.py"):
        tree = ast.parse((HERE / name).read_text())
        for node in tree.body:
            if isinstance(node, ast.ClassDef):
                assert not [n for n in node.body if isinstance(n, ast.FunctionDef)]
