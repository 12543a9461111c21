"""The best of every cell, kept on a disk, and preferred for being of a seldom kind."""

import json

import pytest

from divreg.cli import main
from divreg.data.archive import coverage, load, place, qd_score, rows, save

EDGES = {"tone": None, "words": [10]}
ROWS = [
    {"prompt": "a poem", "completion": text, "tone": tone, "words": words, "reward": reward}
    for text, tone, words, reward in (
        ("rain", "dark", 3, 0.2),
        ("night", "dark", 4, 0.7),
        ("fog", "dark", 4, 0.7),
        ("a long night", "dark", 12, 0.1),
        ("sun", "light", 2, 0.6),
    )
]


def test_the_best_of_every_cell_by_hand():
    archive = place({}, ROWS, EDGES)
    assert [(e.cell, e.completion, e.seen) for e in archive.values()] == [
        (("dark", "0"), "night", 3),
        (("dark", "1"), "a long night", 1),
        (("light", "0"), "sun", 1),
    ]
    assert [row["rarity"] for row in rows(archive)] == [5 / 3, 5, 5]
    assert coverage(archive, 4) == 3 / 4
    assert qd_score(archive) == pytest.approx(1.4)
    better = place(archive, [ROWS[0] | {"reward": 0.8}], EDGES)
    assert [e.completion for e in better.values()] == ["rain", "a long night", "sun"]
    assert qd_score(archive) == pytest.approx(1.4), "the first one is as it was"


def test_it_goes_on_from_the_disk_as_if_it_had_never_stopped(tmp_path, monkeypatch):
    path = tmp_path / "runs" / "archive.jsonl"
    assert load(path) == {}
    save(path, place(load(path), ROWS[:2], EDGES))
    before = path.read_bytes()
    monkeypatch.setattr("os.fsync", lambda file: 1 / 0)  # killed while it writes
    with pytest.raises(ZeroDivisionError):
        save(path, place(load(path), ROWS[2:], EDGES))
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]
    monkeypatch.undo()
    save(path, place(load(path), ROWS[2:], EDGES))
    assert load(path) == place({}, ROWS, EDGES)


def test_it_feeds_pairs(tmp_path, capsys):
    path, pairs = tmp_path / "archive.jsonl", tmp_path / "pairs.jsonl"
    save(path, place({}, ROWS, EDGES))
    words = ["--diversity", "rarity", "--output", str(pairs)]
    assert main(["pairs", str(path), *words]) == 0, capsys.readouterr().err
    (row,) = map(json.loads, pairs.read_text().splitlines())
    assert (row["chosen"], row["rejected"]) == ("sun", "a long night")


def test_what_is_no_response_or_no_archive_is_refused(tmp_path):
    path = tmp_path / "archive.jsonl"
    path.write_text('{"prompt": "a"}\n')
    for call, message in (
        (lambda: place({}, [ROWS[0] | {"reward": None}], EDGES), "got None in row 0"),
        (lambda: place({}, [ROWS[0] | {"tone": None}], EDGES), "the attribute 'tone'"),
        (lambda: place({}, [{"prompt": "a", "reward": 1}], EDGES), "needs .'completion'.; row 0"),
        (lambda: place({}, ROWS, {"tone": [1]}), "needs a number; got 'dark'"),
        (lambda: place({}, ROWS, {"words": [10, 5]}), "need to ascend"),
        (lambda: coverage(place({}, ROWS, EDGES), 2), "at most 2 cells a prompt; got 3"),
        (lambda: qd_score(place({}, ROWS, EDGES), 0.5), "of at least 0.5; got 0.1"),
        (lambda: load(path), "archive.jsonl:1 is no line of an archive"),
    ):
        with pytest.raises(ValueError, match=message):
            call()
