"""What a step costs: a method's own time is counted whole, and nothing else as its."""

import pytest

from divreg.bench import costs
from divreg.tasks import runs, tiny

SMALL = tiny.Recipe(hidden=16, layers=1, heads=2, feedforward=32, examples=1280, batch=64)
BUSY = """
import time


def busy(advantages, *, correct):
    "Computes nothing for 50 ms of processor time."
    end = time.process_time() + 0.05
    while time.process_time() < end:
        pass
    return advantages + 0.0
"""


@pytest.fixture
def base(tmp_path, monkeypatch):
    monkeypatch.setenv("DIVREG_CACHE", str(tmp_path))
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "costly_method.py").write_text(BUSY)
    for name, value in {"ROUNDS": 1, "WARM_UP": 1, "STEPS": 2}.items():
        monkeypatch.setattr(costs, name, value)
    return tiny.base_model(SMALL)


def row(name, block=None, **config):
    return runs.Run(runs.Row(name, name, config, block), samples=32)


def test_a_methods_own_time_is_counted_whole_and_a_baseline_has_none(base):
    busy, turns = {"interventions": ["costly_method.busy"]}, []
    plain, ours, twice = costs.measure(
        [row("plain"), row("busy", busy), row("busy-twice", busy, num_iterations=2)],
        base,
        lambda: turns.append(1),
    )
    assert len(turns) == 3
    assert plain["method_ms"] == 0.0
    assert plain["step_ms"] > 0
    assert ours["method_ms"] >= 50
    assert ours["step_ms"] > ours["method_ms"]
    assert 25 <= twice["method_ms"] < 50  # a rollout for every second step
    assert ours["hash"] == row("busy", busy).hash(base.name)
