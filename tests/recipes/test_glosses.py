"""The recipe of annotation anchoring: what is asked can be checked, and its page is current."""

import importlib
import json
import sys

import pytest


@pytest.fixture
def script(repo, monkeypatch):
    """``script(name)``: a script of recipes/glosses, imported."""
    monkeypatch.setattr(sys, "path", [str(repo / "recipes" / "glosses"), *sys.path])
    loaded = set(sys.modules)
    yield importlib.import_module
    for name in ("glosses", "table"):
        if name not in loaded:
            sys.modules.pop(name, None)


def test_an_answer_follows_its_instruction_or_does_not(script):
    glosses = script("glosses")
    train, tested = glosses.tasks(9)
    assert len(tested) == 9
    assert sum(t.part == "verb" for t in tested) == 3
    assert not set(train) & set(tested)
    task = glosses.Task("define a {}.", "noun", "in short", "!")
    assert task.prompt == 'begin with "in short". end with "!". define a noun.\n\n'
    assert task.followed(task.answer("a small rodent"))
    for text in ("in short, a rodent.", "a small rodent!", "in short, !"):
        assert not task.followed(text)
    assert glosses.content("in short, a small rodent!") == "a small rodent"


def test_what_is_tuned_on_is_as_narrow_as_asked_and_nowhere_else(script):
    glosses = script("glosses")
    kinds = ("noun.animal", "noun.plant", "noun.act", "noun.food", "verb.motion", "verb.contact")
    every = [glosses.Gloss(f"{kind} {i}", kind) for kind in kinds for i in range(200)]
    parts = glosses.split(every, {"noun": 100}, 50, shares=(0.85, 0.10))
    counts = [sum(g.kind == kind for g in parts.tune["noun"]) for kind in kinds[:2]]
    assert (counts, len(parts.tune["noun"])) == ([85, 10], 100)
    texts = [g.text for g in (*parts.pretrain, *parts.tune["noun"], *parts.classify)]
    assert len(texts) == len(set(texts)) == len(every)


def test_the_page_is_what_its_results_make(repo, script):
    table = script("table")
    folder = repo / "recipes" / "glosses"
    results = json.loads((folder / "results" / "glosses.json").read_text())
    page = (folder / "page.md").read_text().replace("{tables}", "\n".join(table.tables(results)))
    assert (folder / "README.md").read_text() == page
