"""Answers of mathematics: equal values are equal, whatever hostile text stands around them."""

import threading

import pytest

from divreg.graders import maths

RIGHT = [
    (r"so \boxed{7}", "3+4=<<3+4=7>>7\n#### 7"),
    ("The answer is 1,200.", "#### 1200"),
    ("<think>9</think> It is 12 or 13? The answer: $13$", r"\boxed{13}"),
    (r"\boxed{\frac{\sqrt{2}}{2}}", r"$\boxed{\frac{1}{\sqrt 2}}$"),
    (r"Hence $x^2+2x+1$.", r"\boxed{(x+1)^2}"),
    (r"\boxed{x = 5}", r"\boxed{5}"),
    (r"\boxed{\{2, 1\}}", r"\boxed{1, 2}"),
    (r"\boxed{50\%}", r"\boxed{0.5}"),
    (r"\boxed{\text{June}}", r"\boxed{\text{June}}"),
]
WRONG = [
    (r"\boxed{7} and \boxed{8}", "#### 7"),
    ("The answer is 0.33.", r"\boxed{\frac13}"),
    (r"\boxed{(x-1)^2}", r"\boxed{(x+1)^2}"),
    ("seven", "#### 7"),
    ("", "#### 7"),
]
BOMBS = (r"\boxed{9^{9^{9^9}}}", "It is 9**9**9**9", r"\boxed{9999999!}")


@pytest.mark.parametrize(("text", "gold"), RIGHT)
def test_an_equal_value_is_right(text, gold):
    assert maths.is_equal(text, gold)


@pytest.mark.parametrize(("text", "gold"), WRONG)
def test_another_value_is_wrong(text, gold):
    assert not maths.is_equal(text, gold)


@pytest.mark.parametrize(
    ("texts", "form"),
    [
        ([r"\boxed{1{,}200}", "#### 1200", "it costs $1,200.00 then"], "1200"),
        ([r"\boxed{\frac12}", "0.5", r"\boxed{50\%}", "1/2"], "0.5"),
        ([r"\boxed{0.5x+1}", r"$\boxed{1+\frac{x}{2}}$"], "x/2 + 1"),
        ([r"\boxed{1, 2}", r"\boxed{\{2,1\}}"], "{1, 2}"),
        ([r"\boxed{-0}", "0.0000000001"], "0"),
        ([r"\boxed{2^{10}}", "y = 1024"], "1024"),
        ([r"\boxed{x>3}", r"\boxed{3<x}"], "x > 3"),
        (["", "I do not know."], None),
    ],
)
def test_equal_values_are_one_class(texts, form):
    assert [maths.answer(text) for text in texts] == [form] * len(texts)


def test_the_name_of_a_class_is_short():
    first, second = maths.answer(r"\boxed{10^{900}}"), maths.answer(r"\boxed{10^{900}+1}")
    assert first != second
    assert max(len(first), len(second)) < 250


def test_the_end_of_a_long_text_is_read():
    text = "one two three $4$\n" * 50_000 + r"So \boxed{5}"
    assert (maths.answer(text), maths.is_equal(text, "#### 5")) == ("5", True)


@pytest.mark.parametrize("bomb", BOMBS)
def test_an_answer_that_never_ends_is_none(bomb, monkeypatch):
    with monkeypatch.context() as patient:
        patient.setattr(maths, "SECONDS", 0.5)
        assert maths.answer(bomb) is None
        assert maths.is_equal(bomb, "#### 5") is False
    assert maths.is_equal("5", "#### 5")  # and the next one is graded


def test_several_threads_grade_at_once():
    found = {}

    def grade(i):
        found[i] = [maths.is_equal(f"It is {n}.", f"#### {n + n % 2}") for n in range(i, i + 6)]

    threads = [threading.Thread(target=grade, args=(i,)) for i in (100, 200)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == {100: [True, False] * 3, 200: [True, False] * 3}


def test_a_process_that_was_killed_is_replaced():
    assert maths.answer("It is 77.") == "77"
    maths._worker().process.kill()
    assert maths.answer("It is 78.") == "78"


def test_without_math_verify_it_says_what_to_type(monkeypatch):
    monkeypatch.setattr(maths.importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr(maths, "_of_thread", threading.local())
    with pytest.raises(ValueError, match=r"math-verify.* pip install 'divreg\[math\]'"):
        maths.is_equal("It is 79.", "#### 79")
