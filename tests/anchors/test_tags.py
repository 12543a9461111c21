import re

import pytest

from divreg.anchors import texts
from divreg.anchors.tags import find_fault_in, read, render, strip

TAGS = {"topic": "animals, wild: big ones", "mood": "calm"}


def test_what_is_written_is_read_back():
    assert strip(render(TAGS) + "A cat.") == (TAGS, "A cat.")
    assert strip("A cat.") == ({}, "A cat.")
    assert strip(render({"a": "b"}) + "<|tag|>mood<|value|>cal") == ({"a": "b"}, "")


def test_paragraphs_stand_behind_their_annotations():
    parts = texts.paragraphs("One.\n \nTwo,\nstill two.\n\n\n")
    assert parts == ["One.", "Two,\nstill two."]
    whole = texts.document([({"topic": "a"}, parts[0]), (None, parts[1])])
    assert whole == "<|tag|>topic<|value|>a<|/tag|>One.\n\nTwo,\nstill two."


ROW = {"prompt": "p", "completion": "c", "kind": "cat"}
BAD = {
    "row 1 needs the columns prompt, completion, kind; got none called 'kind'": {"kind": None},
    "row 1 needs one of the values cat, dog for 'kind'; got 'cow'": {"kind": "cow"},
    "row 1 needs a value for 'kind'; got ' '": {"kind": " "},
}


@pytest.mark.parametrize("message", BAD)
def test_a_bad_row_is_named(message):
    with pytest.raises(ValueError, match=re.escape(message)):
        texts.rows([ROW, {**ROW, **BAD[message]}], {"kind": ["cat", "dog"]})


def test_a_data_set_that_is_annotated_already_is_looked_at():
    good = {"completion": render({"kind": "cat"}) + "Miaow."}
    assert texts.check([good, {"completion": "Miaow."}], {"kind": ["cat"]}) == 1
    faults = {
        "<|tag|>kind<|value|>cat Miaow.": "row 1 needs <|/tag|> after every tag; got an "
        "annotation without an end: '<|tag|>kind<|value|>...'",
        render({"kind": "cow"}) + "Moo.": "row 1 needs one of the values cat for 'kind'",
        render({"sort": "cat"}) + "Moo.": "row 1 needs one of the keys kind; got 'sort'",
    }
    for text, message in faults.items():
        with pytest.raises(ValueError, match=re.escape(message)):
            texts.check([good, {"completion": text}], {"kind": ["cat"]})
    with pytest.raises(ValueError, match=re.escape("row 0 needs a text in the column 'text'")):
        texts.check([good], column="text")


def test_markers_and_lines_in_values_are_refused():
    for value, word in (("a<|value|>b", "without markers"), ("a\nb", "of one line")):
        with pytest.raises(ValueError, match=word):
            render({"topic": value})
    assert find_fault_in(render({"topic": "a"}) + "text") is None


def test_lines_of_a_model_are_read_as_tags():
    assert read("- topic: cats\nmood: calm") == {"topic": "cats", "mood": "calm"}
    with pytest.raises(ValueError, match="need '<key>:<value>'; got 'nothing'"):
        read("nothing")
