"""The tiny model of the demo: its data, its cache, and a build small enough for a test."""

import random
from collections import Counter
from dataclasses import replace

import pytest
import torch

from divreg.tasks import corpora, expressions, tiny
from divreg.tasks.evaluate import evaluate
from divreg.tasks.sampling import Drawn
from divreg.tasks.task import EXPRESSIONS

SMALL = tiny.Recipe(hidden=16, layers=1, heads=2, feedforward=32, examples=1280, batch=64)


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("DIVREG_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_demo_model_has_about_0_6_million_parameters():
    model = tiny._new_model(tiny.Recipe(), tiny.tokenizer())
    assert 550_000 < sum(p.numel() for p in model.parameters()) < 650_000


def test_tokenizer_reads_characters_and_gives_them_back():
    names = tiny.tokenizer()
    ids = names.encode("24=(1+5)*4/2-3<eos>")
    assert len(ids) == 15
    assert ids[-1] == names.eos_token_id
    assert names.decode(ids, skip_special_tokens=True) == "24=(1+5)*4/2-3"
    assert names.encode("é") == [names.unk_token_id]


def test_every_enumerated_solution_is_right_and_each_number_has_several():
    known = corpora.solutions(expressions.TARGETS, corpora.SHAPES)
    assert set(known) == set(expressions.TARGETS)
    for target, shapes in known.items():
        texts = [t for group, _ in shapes for t in group]
        assert all(expressions.is_correct(t, target) for t in random.Random(0).sample(texts, 5))
        assert len({expressions.answer(t) for t in texts}) >= 5


def test_early_examples_are_right_and_late_ones_are_noisy():
    recipe = tiny.Recipe(examples=2000)
    right = []
    texts = corpora.examples(
        corpora.EXPRESSIONS, recipe.examples, recipe.clean, recipe.noise, recipe.seed
    )
    for text in texts:
        asked, text = text.split("=")
        right.append(expressions.is_correct(text, int(asked)))
    clean = int(recipe.clean * len(right))
    assert all(right[:clean])
    noisy = 1 - sum(right[clean:]) / len(right[clean:])
    assert abs(noisy - recipe.noise) < 0.1


def test_recipe_hash_changes_with_every_field():
    usual = vars(tiny.Recipe())
    other = {k: f"{v}x" if isinstance(v, str) else v + 1 for k, v in usual.items()}
    changed = [tiny.Recipe(**{**usual, name: other[name]}) for name in usual]
    hashes = Counter(r.hash for r in [tiny.Recipe(), *changed])
    assert max(hashes.values()) == 1


def test_model_is_built_once_then_cached_and_same_recipe_gives_same_weights(cache):
    steps = []
    folder = tiny.base_model(SMALL, progress=lambda done, total: steps.append((done, total)))
    assert folder.parent == cache
    assert steps[-1] == (20, 20)
    assert tiny.base_model(SMALL, progress=lambda *_: pytest.fail("built again")) == folder
    model, names = tiny.load(folder)
    again = tiny.build(SMALL)
    assert all(
        torch.equal(a, b) for a, b in zip(model.parameters(), again.parameters(), strict=True)
    )
    assert names.eos_token_id == model.config.eos_token_id
    assert [p.name for p in cache.iterdir()] == [folder.name]


def test_interrupted_build_leaves_nothing_behind(cache):
    def interrupt(done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        tiny.base_model(SMALL, progress=interrupt)
    assert list(cache.iterdir()) == []
    assert tiny.cached(SMALL) is None


def test_losing_the_race_to_build_returns_the_winner_s_model(cache):
    def another_process_finishes(done, total):
        if done == total:
            winner = tiny._folder(SMALL)
            winner.mkdir()
            (winner / "config.json").write_text("{}")

    folder = tiny.base_model(SMALL, progress=another_process_finishes)
    assert (folder / "config.json").read_text() == "{}"
    assert [p.name for p in cache.iterdir()] == [folder.name]


def test_score_of_a_model_that_always_gives_one_answer(monkeypatch):
    from divreg.tasks import evaluate as module

    drawn = [[Drawn(text, 4, -1.0, 0.5, 0.9, [])] * 64 for text in ("3*8", "1+1")]
    monkeypatch.setattr(module, "draw", lambda *_, **__: drawn)
    names = tiny.tokenizer()
    model = tiny._new_model(SMALL, names)
    rows = [{"prompt": "24=", "target": 24}, {"prompt": "25=", "target": 25}]
    score = evaluate(model, names, rows=rows, samples=64)
    assert (score.pass_at_1, score.pass_at_k, score.distinct_correct) == (0.5, 0.5, 0.5)
    assert score.entropy_nats == 0.5


def test_an_open_task_cannot_be_scored():
    open_ = replace(EXPRESSIONS, name="stories", is_correct=None)
    with pytest.raises(ValueError, match="evaluate needs a task that has is_correct; stories has"):
        evaluate(None, None, open_)


def test_distinct_in_data_by_hand(monkeypatch):
    """Two draws from {3*8 or 8*3: 2/3, 4*6: 1/3}: 1 - 1/9 + 1 - 4/9 different ones."""
    monkeypatch.setattr(corpora, "easy", lambda: {24: [(["3*8", "8*3", "4*6"], 1)]})
    assert corpora.distinct_in_data([24], 1) == pytest.approx(1)
    assert corpora.distinct_in_data([24], 2) == pytest.approx(13 / 9)
