import importlib
import inspect
import pkgutil

from divreg import losses
from divreg.compose import contract
from divreg.losses import LOSSES, OPTIONS
from divreg.methods import METHODS

ALL = {**LOSSES, **OPTIONS}


def test_every_public_function_of_a_file_is_registered():
    for file in pkgutil.iter_modules(losses.__path__):
        module = importlib.import_module(f"divreg.losses.{file.name}")
        assert file.name in ALL, f"{file.name} needs an import line in losses/__init__.py"
        for name, f in vars(module).items():
            ours = inspect.isfunction(f) and inspect.unwrap(f).__module__ == module.__name__
            if ours and not name.startswith("_"):
                assert ALL.get(name) is f, f"{name} needs an import line in losses/__init__.py"


def test_a_loss_belongs_to_a_stage_of_the_loss_and_to_one_table():
    for name, f in LOSSES.items():
        assert contract(f).name == name
        assert contract(f).stage in ("token_weights", "loss")
    assert not set(ALL) & set(METHODS)
    assert not set(LOSSES) & set(OPTIONS)
