import importlib
import inspect
import pkgutil

from divreg import methods
from divreg.compose import contract, is_factory
from divreg.methods import METHODS


def test_every_file_is_registered_under_its_name():
    files = {module.name for module in pkgutil.iter_modules(methods.__path__)}
    assert files == {inspect.unwrap(f).__module__.rpartition(".")[2] for f in METHODS.values()}
    assert files <= set(METHODS)


def test_every_public_function_of_a_file_is_registered():
    for file in pkgutil.iter_modules(methods.__path__):
        module = importlib.import_module(f"divreg.methods.{file.name}")
        for name, f in vars(module).items():
            ours = inspect.isfunction(f) and f.__module__ == module.__name__
            if ours and not name.startswith("_"):
                assert METHODS.get(name) is f, f"{name} needs an import line in methods/__init__.py"


def test_a_method_is_called_what_it_is_registered_as():
    for name, f in METHODS.items():
        assert contract(f).name == name
        assert contract(f() if is_factory(f) else f).name == name
