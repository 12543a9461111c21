"""Formats of completions: shares, evenness, accuracy and drift, counted by hand."""

import math

import pytest

from divreg.metrics.format_shares import (
    ECHO_CHAMBER,
    format_accuracy,
    format_classifier,
    format_entropy_frac,
    format_kl_nats,
    format_names,
    format_shares,
    format_top_frac,
    smoothed_shares,
)


def test_the_markers_of_the_paper_in_its_order():
    name = format_classifier(ECHO_CHAMBER)
    texts = ["<llm-code>\ndef f()", "def f(): return 1", "It is 7.", ""]
    assert [name(t) for t in texts] == ["llm-code", "def", "text", "text"]
    assert format_names(ECHO_CHAMBER) == ["llm-code", "def", "text"]


def test_seven_two_and_one_of_ten():
    shares = format_shares(["a"] * 7 + ["b"] * 2 + ["c"])
    assert shares == {"a": 0.7, "b": 0.2, "c": 0.1}
    assert format_entropy_frac(shares) * math.log(3) == pytest.approx(0.801819, abs=1e-6)
    assert format_entropy_frac(shares) == pytest.approx(0.729847, abs=1e-6)
    assert format_top_frac(shares) == 0.7


def test_a_format_that_is_possible_and_unused_counts():
    shares = format_shares(["a", "b"], ["a", "b", "c", "d"])
    assert shares == {"a": 0.5, "b": 0.5, "c": 0.0, "d": 0.0}
    assert format_entropy_frac(shares) == pytest.approx(0.5)  # ln 2 / ln 4


def test_one_format_and_no_text():
    assert format_entropy_frac(format_shares(["a", "a"])) == 0.0
    assert format_entropy_frac(format_shares(["a", "a"], ["a", "b"])) == 0.0
    nothing = format_shares([], ["a", "b"])
    assert nothing == {"a": 0.0, "b": 0.0}
    assert format_entropy_frac(nothing) == 0.0
    assert format_kl_nats(nothing, {"a": 0.5, "b": 0.5}) == 0.0
    assert format_shares([]) == {}
    assert format_top_frac({}) == 0.0
    assert format_accuracy([], []) == {}


def test_accuracy_is_of_what_is_known():
    names = ["a", "a", "a", "b", "c"]
    assert format_accuracy(names, [True, True, False, None, False]) == {
        "a": pytest.approx(2 / 3),
        "c": 0.0,
    }
    with pytest.raises(ValueError, match="got 1 for 5"):
        format_accuracy(names, [True])


def test_drift_from_the_base():
    base = {"a": 0.7, "b": 0.2, "c": 0.1}
    assert format_kl_nats(base, base) == 0.0
    by_hand = 0.1 * math.log(0.1 / 0.7) + 0.9 * math.log(0.9 / 0.2)
    assert format_kl_nats({"a": 0.1, "b": 0.9}, base) == pytest.approx(by_hand)
    assert format_kl_nats({"d": 1.0}, base) == math.inf
    smooth = smoothed_shares({"a": 7, "b": 2, "c": 1}, ["a", "b", "c", "d"])
    assert smooth == {"a": 7.5 / 12, "b": 2.5 / 12, "c": 1.5 / 12, "d": 0.5 / 12}
    assert format_kl_nats({"d": 1.0}, smooth) == pytest.approx(math.log(24))


@pytest.mark.parametrize(
    ("formats", "cure"),
    [
        ({}, "at least one"),
        ({"a b": "x"}, "letters, digits"),
        ({"code/python": "x"}, "letters, digits"),
        ({3: "x"}, "letters, digits"),
        ({"code": 3}, "for 'code'; got 3"),
        ({"boxed": "(boxed"}, r"Escape what is meant literally: '\\\\\(boxed'"),
        (["def"], "by name, or a function"),
    ],
)
def test_what_cannot_name_a_format_is_refused(formats, cure):
    with pytest.raises(ValueError, match=cure):
        format_classifier(formats)


def test_a_function_names_a_format_or_is_told_what_it_returned():
    name = format_classifier(lambda text: "short" if len(text) < 3 else "")
    assert name("ab") == "short"
    with pytest.raises(TypeError, match="got ''"):
        name("abcd")
