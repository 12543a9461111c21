"""Alerts on histories recorded from real tiny runs; ``record_histories.py`` recorded them.

Thresholds were chosen on ``kinds`` and ``tuning``. ``held_out`` holds 20 healthy and 20 collapsing
runs with other seeds.
"""

import importlib.util
from pathlib import Path

import pytest

from divreg.monitor.detect import Detector

CORRECTNESS = {
    "pass_at_1",
    "pass_at_k",
    "distinct_correct",
    "pair_distinct_correct_frac",
    "all_correct_frac",
    "all_wrong_frac",
}
NARROWED = ("narrowing", "collapsed")


@pytest.fixture(scope="module")
def histories():
    path = Path(__file__).with_name("record_histories.py")
    spec = importlib.util.spec_from_file_location("record_histories", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def alerts(run, without=()):
    columns = {k: v for k, v in run["signals"].items() if k not in without}
    steps = columns.pop("step")
    detector, found = Detector(), []
    for i, step in enumerate(steps):
        row = {name: values[i] for name, values in columns.items() if values[i] is not None}
        found += detector.update(int(step), row)
    return found


def mean(values):
    known = [v for v in values if v is not None]
    return sum(known) / len(known)


def share_of_loss(run, step, name="pair_distinct_correct_frac"):
    """How much of what the run lost in all was lost around ``step``; None if nothing tells.

    A broken run may end without two right answers to any prompt.
    """
    series = run["signals"][name]
    if not any(v is not None for v in series[-15:]):
        return None
    before, after = mean(series[:10]), mean(series[-15:])
    return (before - mean(series[max(0, step - 5) : step + 5])) / (before - after)


@pytest.mark.parametrize(
    ("label", "expected"),
    [
        ("healthy", set()),
        ("collapsed", {"narrowing", "collapsed"}),
        ("exploding", {"exploding"}),
        ("seed_bug", {"seed_bug"}),
    ],
)
def test_five_kinds_are_told_apart(label, expected, histories):
    (run,) = [r for r in histories.load("kinds") if r["label"] == label]
    assert {a.kind for a in alerts(run)} == expected


def test_saturation_is_told_apart_and_says_if_right_answers_narrow(histories):
    varied, narrow = [r for r in histories.load("kinds") if r["label"] == "saturated"]
    (alert,) = alerts(varied)
    assert alert.kind == "saturated"
    assert "as varied as they were" in alert.message
    (alert,) = alerts(narrow)
    assert "still narrowing" in alert.message


def figures(runs, without=()):
    """False alarms among healthy runs, collapsing runs missed, and shares at the first alert."""
    false_alarms = missed = 0
    shares = []
    for run in runs:
        found = [a for a in alerts(run, without) if a.kind in NARROWED]
        if run["label"] == "healthy":
            false_alarms += bool(alerts(run, without))
        elif found:
            shares.append(share_of_loss(run, found[0].step))
        else:
            missed += 1
    return false_alarms, missed, shares


def test_false_alarms_and_share_of_the_loss_at_the_first_alert(histories, record_property):
    runs = histories.load("held_out")
    assert [r["label"] for r in runs].count("healthy") == 20
    assert [r["label"] for r in runs].count("collapsed") == 20
    false_alarms, missed, shares = figures(runs)
    record_property("false_alarms_of_20", false_alarms)
    record_property("share_of_loss_at_first_alert", mean(shares))
    assert false_alarms <= 1
    assert missed == 0
    assert shares.count(None) <= 1
    assert mean(shares) < 0.5


def test_the_recorded_runs_are_small(histories):
    assert sum(p.stat().st_size for p in histories.FOLDER.iterdir()) < 1_000_000
