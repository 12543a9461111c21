"""The detector on short histories that are made up, and its state."""

import json

import pytest

from divreg.monitor.detect import Detector
from divreg.monitor.diagnose import explain

HEALTHY = {
    "entropy": 1.0,
    "distinct_frac": 0.9,
    "pair_distinct_correct_frac": 0.8,
    "pass_at_1": 0.4,
    "pass_at_k": 0.7,
    "all_correct_frac": 0.1,
    "all_wrong_frac": 0.2,
    "identical_frac": 0.0,
    "zero_variance_frac": 0.3,
    "cross_group_dup_frac": 0.0,
    "reward_mean": 0.4,
    "truncated_frac": 0.0,
}
COLLAPSED = {**HEALTHY, "entropy": 0.4, "pair_distinct_correct_frac": 0.2, "pass_at_1": 0.5}


def follow(detector, *phases):
    """Feed ``(steps, signals)`` phases; return the kinds of the alerts."""
    step, found = 0, []
    for steps, signals in phases:
        for _ in range(steps):
            step += 1
            found += detector.update(step, signals)
    return found


def kinds(*phases, **settings):
    return [a.kind for a in follow(Detector(**settings), *phases)]


def test_nothing_happens_in_a_steady_run():
    assert kinds((100, HEALTHY)) == []


def test_a_collapse_is_one_narrowing_and_one_collapse():
    assert kinds((12, HEALTHY), (40, COLLAPSED)) == ["narrowing", "collapsed"]


def test_less_entropy_alone_is_no_collapse():
    assert kinds((12, HEALTHY), (40, {**HEALTHY, "entropy": 0.3})) == []


def test_fewer_classes_alone_are_no_collapse_where_entropy_and_pass_at_k_are_known():
    assert kinds((12, HEALTHY), (40, {**HEALTHY, "pair_distinct_correct_frac": 0.2})) == []


FORMATS = {
    "format_share_def": 0.34,
    "format_share_text": 0.66,
    "format_accuracy_def": 0.5,
    "format_accuracy_text": 0.25,
    "format_entropy_frac": 0.92,
    "format_top_frac": 0.66,
}
ONE_FORMAT = {"format_share_def": 0.96, "format_share_text": 0.04, "format_entropy_frac": 0.24}


def test_one_format_that_takes_over_is_named_and_not_held_against_the_run():
    detector = Detector()
    before, after = HEALTHY | FORMATS, HEALTHY | FORMATS | ONE_FORMAT
    (alert,) = follow(detector, (12, before), (60, after))
    assert alert.kind == "one_format"
    assert alert.level == "warning"
    assert alert.message.startswith("one format takes over: def 34% -> 9")
    assert alert.why.startswith("at the baseline 50% of def, 25% of text was right, evenness")
    assert "beta=0.01" in alert.try_what
    assert "saturation (10% of groups all correct)" in alert.not_what
    assert detector.health == 0
    assert not detector.suspicious
    again = follow(detector, (40, before), (60, after))
    assert [a.kind for a in again] == ["one_format"]  # taken back, and told again


def test_a_format_that_had_nearly_everything_is_no_news():
    most = {"format_share_def": 0.85, "format_share_text": 0.15}
    assert kinds((12, HEALTHY | most), (60, HEALTHY | ONE_FORMAT)) == []
    assert kinds((12, HEALTHY | FORMATS), (60, HEALTHY | {"format_share_def": 0.8})) == []


def test_every_trainer_has_advice_on_formats():
    for advice in ("grpo", "rloo", "sft", "dpo"):
        detector = Detector(advice=advice)
        shares = {k: v for k, v in FORMATS.items() if k.startswith("format_share_")}
        (alert,) = follow(detector, (12, shares), (60, shares | {"format_share_def": 0.96}))
        assert alert.why.startswith("not known: token entropy")
        assert "if it is the format that you want" in alert.try_what


def test_one_odd_step_is_forgiven():
    assert kinds((12, HEALTHY), (1, COLLAPSED), (30, HEALTHY)) == []


def test_an_alert_is_given_again_only_after_a_recovery():
    detector = Detector()
    phases = [(12, HEALTHY), (30, COLLAPSED), (60, HEALTHY), (30, COLLAPSED)]
    found = [a.kind for a in follow(detector, *phases)]
    assert found.count("collapsed") == 2
    assert detector.health == 2


def test_explosion_needs_more_than_entropy_or_very_much_of_it():
    up = {**HEALTHY, "entropy": 1.7}
    assert kinds((12, HEALTHY), (40, up)) == []
    assert kinds((12, HEALTHY), (40, {**up, "truncated_frac": 0.6})) == ["exploding"]
    assert kinds((12, HEALTHY), (40, {**HEALTHY, "entropy": 4.0})) == ["exploding"]


def test_saturation_says_whether_right_answers_still_narrow():
    full = {**HEALTHY, "all_correct_frac": 1.0, "pass_at_1": 1.0, "pass_at_k": 1.0}
    (alert,) = follow(Detector(), (12, HEALTHY), (40, full))
    assert alert.kind == "saturated"
    assert "as varied as they were" in alert.message
    narrow = {**full, "pair_distinct_correct_frac": 0.2, "entropy": 0.3}
    found = follow(Detector(), (12, HEALTHY), (40, narrow))
    assert {a.kind for a in found} == {"narrowing", "collapsed", "saturated"}
    assert "still narrowing" in next(a for a in found if a.kind == "saturated").message


@pytest.mark.parametrize(
    ("cause", "words"),
    [
        ({"all_wrong_frac": 1.0}, "all wrong"),
        ({"rewards_cancel_frac": 0.9}, "normalize_then_sum"),
        ({"truncated_frac": 1.0}, "max_completion_length"),
    ],
)
def test_groups_that_cannot_teach_are_a_stall_with_its_cause(cause, words):
    stuck = {**HEALTHY, "all_correct_frac": 0.0, "zero_variance_frac": 1.0, **cause}
    alert = follow(Detector(), (12, HEALTHY), (60, stuck))[0]
    assert alert.kind == "stalled"
    assert words in " ".join(alert.lines())


def test_a_seed_bug_needs_no_baseline():
    found = follow(Detector(), (3, {**HEALTHY, "cross_group_dup_frac": 1.0}))
    assert [a.kind for a in found] == ["seed_bug"]
    assert "device_specific" in found[0].try_what


def test_missing_evidence_is_named_and_the_rest_decides():
    few = {"distinct_frac": 0.9, "identical_frac": 0.0}
    found = follow(Detector(), (12, few), (40, {"distinct_frac": 0.3, "identical_frac": 0.8}))
    assert found[-1].kind == "collapsed"
    assert "not known: token entropy" in found[-1].why


def test_an_alert_has_at_most_four_lines_and_names_the_checkpoint():
    detector = Detector(last_healthy="out/checkpoint-10")
    alert = follow(detector, (12, HEALTHY), (40, COLLAPSED))[0]
    assert len(alert.lines()) == 4
    assert "out/checkpoint-10" in alert.lines()[3]
    assert "saturation (10% of groups all correct)" in alert.not_what


def test_a_reference_run_is_the_baseline():
    assert Detector(reference=HEALTHY).baseline["entropy"] == 1.0
    assert kinds((20, COLLAPSED), reference=HEALTHY) == ["narrowing", "collapsed"]


def test_continuing_from_a_restored_state_equals_never_having_stopped():
    phases = [(12, HEALTHY), (7, COLLAPSED), (2, HEALTHY), (30, COLLAPSED)]
    rows = [signals for steps, signals in phases for _ in range(steps)]
    whole = Detector()
    expected = [a for i, row in enumerate(rows) for a in whole.update(i, row)]
    found, state = [], Detector().state_dict()
    for i, row in enumerate(rows):
        fresh = Detector()
        fresh.load_state_dict(json.loads(json.dumps(state)))
        found += fresh.update(i, row)
        state = fresh.state_dict()
    assert found == expected
    assert state == whole.state_dict()


def test_probes_are_few_and_repeatable():
    few = {k: HEALTHY[k] for k in ("entropy", "distinct_frac", "identical_frac")}
    less = {"entropy": 0.3, "distinct_frac": 0.2, "identical_frac": 0.0}
    detector = Detector(on_probes=True, advice="sft")
    found = follow(detector, (3, few), (4, less))
    assert {a.kind for a in found} <= {"narrowing", "collapsed"}
    assert "num_train_epochs" in found[0].try_what


def test_an_unknown_setting_is_refused():
    with pytest.raises(ValueError, match="patience"):
        Detector(patiense=3)


@pytest.mark.parametrize("advice", ["grpo", "rloo", "diverse_grpo", "diverse_rloo", "sft", "dpo"])
def test_every_alert_of_every_trainer_says_what_to_try(advice):
    series = Detector(reference=HEALTHY).series
    for kind in ("narrowing", "collapsed", "exploding", "saturated", "stalled", "seed_bug"):
        words = explain(kind, {}, series, advice)
        assert words["message"]
        assert words["try_what"]
        assert "{" not in words["try_what"]
