import inspect
import pkgutil

from divreg import signals
from divreg.signals import BASE, COMPARED, SIGNALS


def test_every_file_is_registered_under_its_name():
    files = {module.name for module in pkgutil.iter_modules(signals.__path__)}
    assert files - {"_groups", "_softmax", "example"} == set(SIGNALS)


def test_a_signal_is_either_supplied_or_computed():
    assert not set(BASE) & set(SIGNALS)


def test_what_compares_completions_is_computed():
    assert set(COMPARED) <= set(SIGNALS)


def test_every_signal_is_made_of_known_ones():
    for f in SIGNALS.values():
        for p in inspect.signature(f).parameters.values():
            assert p.kind is p.KEYWORD_ONLY
            assert p.default is not p.empty or p.name in {*BASE, *SIGNALS}, f"{f.__name__}: {p}"
