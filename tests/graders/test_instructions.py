"""Every kind of instruction on a text that follows it and on one that does not."""

import sys

import pytest

from divreg.graders import instructions
from divreg.graders.instructions import follows

CASES = [
    ("keywords:existence", {"keywords": ["tea", "mug"]}, "TEA from a muggy place", "tea, no cup"),
    (
        "keywords:frequency",
        {"keyword": "tea", "frequency": 2, "relation": "at least"},
        "Tea and tea.",
        "One tea.",
    ),
    (
        "keywords:frequency",
        {"keyword": "tea", "frequency": 2, "relation": "less than"},
        "One tea.",
        "Tea and tea.",
    ),
    ("keywords:forbidden_words", {"forbidden_words": ["tea"]}, "A teapot.", "A (Tea)pot."),
    (
        "keywords:letter_frequency",
        {"letter": "Z", "let_frequency": 3, "let_relation": "at least"},
        "Zigzag buzz",
        "zigzag",
    ),
    (
        "length_constraints:number_sentences",
        {"num_sentences": 3, "relation": "at least"},
        "Mr. A. Bo came. He saw (e.g. us)! Why?",
        "It cost 3.50, i.e. little. Dr. Bo paid.",
    ),
    (
        "length_constraints:number_words",
        {"num_words": 4, "relation": "less than"},
        "one, two -- three",
        "one two three four",
    ),
    (
        "length_constraints:number_paragraphs",
        {"num_paragraphs": 2},
        "a\n***\nb\n***",
        "a ***\n*** b",
    ),
    (
        "length_constraints:nth_paragraph_first_word",
        {"num_paragraphs": 2, "nth_paragraph": 2, "first_word": "then"},
        'First.\n\n\n\n"Then", he said.',
        "First.\n\nNext.\n\nThen.",
    ),
    ("detectable_content:number_placeholders", {"num_placeholders": 2}, "[a] and [b c]", "[a] b]"),
    (
        "detectable_content:postscript",
        {"postscript_marker": "P.S."},
        "Hi.\n*P. S.* Yes",
        "a P.S. b",
    ),
    (
        "detectable_content:postscript",
        {"postscript_marker": "P.P.S"},
        "Hi\np.p.s. yes",
        "Hi\nP.S. a",
    ),
    (
        "detectable_format:number_bullet_lists",
        {"num_bullets": 2},
        "* one\n---\n  - two\n**no**",
        "* one\n- two\n- three",
    ),
    ("detectable_format:constrained_response", {}, "So: My answer is maybe.", "My answer: maybe."),
    (
        "detectable_format:number_highlighted_sections",
        {"num_highlights": 2},
        "*one* and **two**",
        "* one\n* two *",
    ),
    (
        "detectable_format:multiple_sections",
        {"section_spliter": "Part", "num_sections": 2},
        "Part 1\na\nPart 2\nb",
        "Part 1\nPart two",
    ),
    ("detectable_format:json_format", {}, '```json\n{"a": [1]}\n```', "{'a': 1}"),
    ("detectable_format:title", {}, "<<Tea at noon>>\nIt was", "<< >>\n<Tea>"),
    ("combination:two_responses", {}, "One.\n******\nTwo.", "One.\n******\nOne."),
    ("combination:repeat_prompt", {"prompt_to_repeat": "Say it."}, " say it.\nIt.", "It. Say it."),
    ("startend:end_checker", {"end_phrase": "The end."}, 'So. "THE END."', "The end. Or not"),
    ("startend:quotation", {}, ' "All of it."\n', '"All" of it'),
    (
        "change_case:capital_word_frequency",
        {"capital_frequency": 2, "capital_relation": "at least"},
        "The U.S. and NASA",
        "NASA and Esa",
    ),
    ("punctuation:no_comma", {}, "no; none.", "one, two"),
]
ENGLISH = "the weather was so nice this morning that we walked to the river"
LANGUAGE = [
    ("language:response_language", {"language": "de"}, "Das Wetter war heute sehr schön.", ENGLISH),
    (
        "change_case:english_lowercase",
        {},
        ENGLISH,
        "das wetter war heute schön",
    ),
    ("change_case:english_capital", {}, ENGLISH.upper(), ENGLISH.capitalize()),
]


@pytest.fixture
def no_detector(monkeypatch):
    monkeypatch.setitem(sys.modules, "langdetect", None)
    instructions._detector.cache_clear()
    yield
    instructions._detector.cache_clear()


@pytest.mark.parametrize(("kind", "arguments", "yes", "no"), CASES)
def test_a_kind_tells_one_text_from_another(kind, arguments, yes, no):
    assert follows(yes, [kind], [arguments]) is True
    assert follows(no, [kind], [arguments]) is False


@pytest.mark.parametrize(("kind", "arguments", "yes", "no"), LANGUAGE)
def test_a_kind_tells_one_language_from_another(kind, arguments, yes, no):
    pytest.importorskip("langdetect")
    assert follows(yes, [kind], [arguments]) is True
    assert follows(no, [kind], [arguments]) is False


def test_every_kind_of_the_data_set_was_tried():
    assert {case[0] for case in CASES + LANGUAGE} == set(instructions.CHECKS)
    assert len(instructions.CHECKS) == 25


def test_a_language_is_not_judged_without_langdetect(no_detector):
    kinds, arguments = (
        ["language:response_language", "punctuation:no_comma"],
        [
            {"language": "de"},
            {},
        ],
    )
    assert follows("Guten Tag.", kinds, arguments) is None
    assert follows("Guten, Tag.", kinds, arguments) is False  # the comma decides
    assert follows("Guten, Tag.\nGut", kinds, arguments, loose=True) is None
    assert follows("GUTEN TAG", ["change_case:english_capital"], [{}]) is None
    assert follows("Guten Tag", ["change_case:english_capital"], [{}]) is False


def test_a_text_without_letters_is_in_no_language():
    pytest.importorskip("langdetect")
    assert follows("123 -- 456", ["language:response_language"], [{"language": "en"}]) is False


def test_loose_forgives_an_introduction_and_asterisks():
    quoted, none = ["startend:quotation"], [{}]
    text = 'Here you are:\n*"All of it."*\nAnything else?'
    assert follows(text, quoted, none) is False
    assert follows(text, quoted, none, loose=True) is True
    assert follows('Here: "All of it."', quoted, none, loose=True) is False


def test_each_instruction_may_be_forgiven_in_its_own_way():
    """The first is followed without the first line, the second only with it, as in the paper."""
    kinds = ["punctuation:no_comma", "keywords:existence"]
    arguments = [{}, {"keywords": ["sure"]}]
    assert instructions.each("Sure, so:\nyes", kinds, arguments) == [False, True]
    assert follows("Sure, so:\nyes", kinds, arguments, loose=True) is True


def test_an_empty_text_follows_nothing():
    assert follows(" \n", ["punctuation:no_comma"], [{}]) is False
    assert follows("", ["punctuation:no_comma"], [{}], loose=True) is False


def test_arguments_that_are_none_are_absent():
    given = {"num_words": 2, "relation": "at least", "keywords": None, "language": None}
    assert follows("one two", ["length_constraints:number_words"], [given]) is True


@pytest.mark.parametrize(
    ("kinds", "arguments", "says"),
    [
        (["keywords:rhyme"], [{}], "has no instruction 'keywords:rhyme'; it has keywords:exist"),
        (["keywords:existence"], [{}], r"needs the arguments keywords; got \(none\)"),
        (["punctuation:no_comma"], [{"n": 1}], r"needs the arguments \(none\); got n"),
        (["punctuation:no_comma"], [], "got 1 instructions and 0 arguments"),
        (
            ["length_constraints:number_words"],
            [{"num_words": 3, "relation": "around"}],
            "needs 'at least' or 'less than'; got 'around'",
        ),
    ],
)
def test_what_there_is_no_check_for_is_an_error(kinds, arguments, says):
    with pytest.raises(ValueError, match=says):
        follows("text", kinds, arguments)


def test_a_hostile_text_is_checked_at_once():
    for unit in ("*", "[", "<<", "\n", ".", "_", "A. "):
        text = unit * (100_000 // len(unit)) + "x"
        for kind, arguments, *_ in CASES:
            follows(text, [kind], [arguments])
