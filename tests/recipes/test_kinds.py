"""The numbers of recipes/kinds: its README says what its commands print from what is committed."""

import importlib.util
import json
import re
import sys

import pytest

from divreg.encoders import SentenceEncoder
from divreg.tasks import kinds


@pytest.fixture
def script(repo):
    """``script(name)``: a script of recipes/kinds, imported."""

    def load(name):
        path = repo / "recipes" / "kinds" / f"{name}.py"
        spec = importlib.util.spec_from_file_location(f"recipe_{name}", path)
        module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    return load


@pytest.fixture
def quoted(repo):
    """``quoted(name)``: what the README says that a script prints."""
    text = (repo / "recipes" / "kinds" / "README.md").read_text()

    def find(name):
        return re.search(rf"<!-- output: {name} -->\n```text\n(.*?)```", text, re.DOTALL)[1]

    return find


def test_answers_are_read_as_well_as_the_readme_says(script, quoted, capsys, monkeypatch):
    matching = script("matching")
    monkeypatch.setattr(sys, "argv", ["matching.py"])
    matching.main()
    assert capsys.readouterr().out == quoted("matching")


def test_precision_and_recall_on_labelled_answers(script):
    matching = script("matching")
    rows = matching.read()
    first, second = (
        matching.score([r for r in rows if r["set"] == s]) for s in ("first", "second")
    )
    assert (first.answers, first.graded, first.agreed, first.same, first.known) == (
        300,
        42,
        38,
        37,
        37,
    )
    assert (second.answers, second.graded, second.agreed, second.same, second.known) == (
        200,
        28,
        27,
        27,
        27,
    )
    assert round(first.f1, 3) == 0.950  # 2 * (38/42) * 1 / (38/42 + 1)


def test_labels_say_what_was_read_and_name_synsets_that_are_there(script):
    rows = script("matching").read()
    assert len({row["category"] for row in rows}) == 84
    for row in rows:
        assert row["right"] == (row["answer"] is not None)
        assert row["synset"] is None or row["synset"] in kinds.synsets(row["category"])


def test_base_rates_are_those_that_the_readme_says(script, quoted, repo, capsys):
    rates = json.loads((repo / "recipes" / "kinds" / "results" / "base_rates.json").read_text())
    assert {style: len(of) for style, of in rates.items()} == dict.fromkeys(kinds.STYLES, 84)
    script("base_rates").show(rates)
    assert capsys.readouterr().out == quoted("base_rates")


def test_the_same_files_of_wordnet_give_the_same_table(script, repo):
    build = script("build_table")
    folder = "/usr/share/wordnet"
    try:
        lines = list(build.table(build.WordNet(build.Path(folder))))
    except FileNotFoundError:
        pytest.skip("WordNet is not installed: apt-get install wordnet-base")
    assert "\n".join(lines) + "\n" == (repo / "divreg" / "tasks" / "kinds.txt").read_text()


def test_partitions_are_as_good_as_the_readme_says(script, quoted, minilm):
    partitions = script("partitions")
    found = json.loads(partitions.ANSWERS.read_text())
    assert "\n".join(partitions.table(found, SentenceEncoder(minilm))) + "\n" == quoted(
        "partitions"
    )


def test_answers_are_told_by_the_grader_of_today(script):
    found = json.loads(script("partitions").ANSWERS.read_text())
    told = [(t, name, s) for of in found.values() for name, g in of.items() for t, s in g]
    assert len(told) > 800
    assert all(kinds.answer(text, name) == synset for text, name, synset in told)
