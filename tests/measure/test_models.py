"""Judges, NLI, code, formats and utilities, as a user asks for them."""

import json

import numpy as np
import pytest

from divreg.cli import main
from divreg.encoders import NLIClassifier, PairClassifier, SentenceEncoder
from divreg.measure.judges import Judge
from divreg.metrics.classes import normalise_text
from divreg.metrics.cosine import inter_homogeneity, intra_repetition
from divreg.metrics.nli import nli_diversity_of_texts
from divreg.metrics.noveltybench import partition_in_order

TEXTS = ["the cat sat", "a dog ran", "The  cat sat", "it is red", "the cat ran", "no", "a red dog"]
MORE = ["seven", "the big dog. it ran", "a very big cat. it sat", "no cat is red", "then it ran"]
SMALL = ("max_tokens=16", "device=cpu")


@pytest.fixture(scope="module")
def folders(make_judge):
    """A classifier of pairs, and an NLI model whose labels stand in another order."""
    return {
        "judge": make_judge("different", "same"),
        "nli": make_judge("ENTAILMENT", "NEUTRAL", "CONTRADICTION"),
    }


@pytest.fixture
def run(tmp_path, capsys):
    """``run(command, sets, *words)``: what is printed, and the JSON; rows by the names of sets."""

    def of(command, sets, *words):
        paths = []
        for name, rows in sets.items():
            path = tmp_path / f"{name}.jsonl"
            path.write_text("".join(json.dumps(row) + "\n" for row in rows))
            paths.append(str(path))
        out = tmp_path / "out.json"
        assert main([command, *paths, "--json", str(out), *words]) == 0
        return capsys.readouterr().out, json.loads(out.read_text())

    return of


def rows(prompt, texts, **columns):
    return [
        {"prompt": prompt, "completion": text, **{k: v[i] for k, v in columns.items()}}
        for i, text in enumerate(texts)
    ]


def options(name):
    return [word for value in SMALL for word in (f"--{name}-option", value)]


def test_a_judge_makes_the_classes_that_asking_pair_by_pair_makes(folders, run):
    judge = PairClassifier(folders["judge"], max_tokens=16, device="cpu")
    every = [(a, b) for a in TEXTS for b in TEXTS if normalise_text(a) != normalise_text(b)]
    chances = np.unique(judge(every).round(4))
    middle = float(chances[len(chances) // 2 - 1 :][:2].mean())  # on no pair: batches round

    def same(a, b):
        return normalise_text(a) == normalise_text(b) or bool(judge([(a, b)])[0] >= middle)

    groups = [TEXTS, MORE, TEXTS[:1], []]
    expected = [partition_in_order(texts, same) for texts in groups]
    assert Judge(judge, middle).classes(groups) == expected
    assert 1 < len(set(expected[0])) < 6, "the random judge joins some and not all"
    words = ("--judge", folders["judge"], "--threshold", repr(middle), *options("judge"))
    out, found = run("measure", {"x": rows("p", TEXTS) + rows("q", MORE)}, *words, "--k", "5")
    sizes = [list(classes).count(c) for classes in expected[:1] for c in set(classes)]
    pairs = sum(n * (n - 1) for n in sizes) / (7 * 6)
    assert found["prompts"][0]["different_pairs"] == pytest.approx(1 - pairs)
    assert found["judge"]["threshold"] == middle
    assert found["judge"]["same"] == "same"
    assert f"Judged by {folders['judge']}, both ways, label same, left-truncated to 16" in out


def test_prompts_are_judged_together(folders, monkeypatch):
    judge = PairClassifier(folders["judge"], max_tokens=16, device="cpu", batch_size=8)
    sizes, forward = [], judge._model._forward
    monkeypatch.setattr(
        judge._model, "_forward", lambda rows: sizes.append(len(rows)) or forward(rows)
    )
    Judge(judge, 1.0).classes([[f"{w} {x}" for w in ("cat", "dog")] for x in ("a", "it", "no")])
    assert sizes == [6]  # three prompts, one pair each, both ways


def test_nli_diversity_is_that_of_each_prompt_by_itself(folders, run):
    model = NLIClassifier(folders["nli"], max_tokens=16, device="cpu")
    raw = model._model([(TEXTS[0], TEXTS[1])])[0]
    assert model([(TEXTS[0], TEXTS[1])])[0].tolist() == raw[::-1].tolist()
    sets = {"x": rows("p", TEXTS[:5]) + rows("q", MORE)}
    out, found = run("measure", sets, "--nli", folders["nli"], *options("nli"), "--k", "4")
    for prompt, texts in zip(found["prompts"], (TEXTS, MORE), strict=True):
        expected = nli_diversity_of_texts(texts[:4], model)
        assert prompt["nli_diversity"] == pytest.approx(expected)
        assert 0 < expected < 2
    assert "left-truncated to 16 tokens, the first 4 samples." in out
    assert found["nli"]["samples"] == 4


def test_a_model_without_the_labels_of_nli_is_refused(folders):
    with pytest.raises(ValueError, match="labels contradiction, neutral and entailment; got"):
        NLIClassifier(folders["judge"], max_tokens=16, device="cpu")


def test_utility_is_of_what_is_new(run):
    """Classes a, a, b: the second adds nothing; weights 1, .8, .64."""
    sets = {"x": rows("p", ["a", "A", "b"], reward=[10.0, 9.0, 5.0])}
    out, found = run("measure", sets, "--utility", "reward")
    value = (10 + 0.64 * 5) / (1 + 0.8 + 0.64)
    assert found["prompts"][0]["utility_at_k"] == pytest.approx(value)
    assert "Utility: the column reward, patience 0.8." in out


def test_code_is_compared_by_its_syntax(run):
    """Of three programs two are the same; what does not parse is said and left out."""
    answers = ["x = 1", "```python\nx=1  # one\n```", "x = 2", "I would (not"]
    sets = {"x": rows("p", answers, correct=[True, False, True, True])}
    out, found = run("measure", sets, "--code")
    (p,) = found["prompts"]
    # Five subtrees each, of which Store() and Name(x) are shared: 1 - 2 / 8.
    assert p["ast_diversity_correct"] == pytest.approx(6 / 8)
    assert p["ast_diversity"] == pytest.approx(2 / 3 * 6 / 8)
    assert "1 sample is no Python: not in the rows of code." in out


def test_shares_of_formats(run):
    texts = ["```py\n```", "so \\boxed{4}", "four", "4"]
    out, found = run("measure", {"x": rows("p", texts)}, "--formats", "code=```", r"boxed=\\boxed")
    (p,) = found["prompts"]
    assert [p[f"format_{name}"] for name in ("code", "boxed", "text")] == [0.25, 0.25, 0.5]
    assert "Formats: code ```, boxed" in out
    plain = run("measure", {"x": rows("p", ["def f(): 1", "x", "y", "z"])}, "--formats")[1]
    assert plain["prompts"][0]["format_def"] == 0.25
    assert plain["formats"] == {"llm-code": "<llm-code>", "def": "def"}


def test_how_alike_two_models_are_beside_how_alike_each_is_to_itself(run, minilm):
    one = {"p": ["a cat", "a kitten", "a dog"], "q": ["tax law", "rain"]}
    other = {"p": ["the cat", "snow", "cats"], "q": ["the tax code", "law"], "r": ["x", "y"]}
    sets = {
        name: [row for p, texts in own.items() for row in rows(p, texts)]
        for name, own in {"one": one, "other": other}.items()
    }
    out, found = run("compare", sets, "--encoder", minilm)
    encode = SentenceEncoder(minilm, device="cpu")
    (pair,) = found["homogeneity"]
    assert (pair["sets"], pair["prompts"]) == (["one", "other"], 2)
    across = [inter_homogeneity(encode(one[p]), encode(other[p])) for p in "pq"]
    assert pair["between"]["estimate"] == pytest.approx(np.mean(across), abs=1e-6)
    for name, own in (("first", one), ("second", other)):
        inside = [intra_repetition(encode(own[p])) for p in "pq"]
        assert pair[name]["estimate"] == pytest.approx(np.mean(inside), abs=1e-6)
    assert "one and other" in out
    assert "in the second" in out


REFUSED = {
    "both": (("--judge", "x", "--classes", "c"), "--judge and --classes both say which samples"),
    "threshold alone": (("--threshold", "0.5"), "--threshold needs a model to read it; got no"),
    "option alone": (("--nli-option", "a=1"), "Add --nli NAME"),
    "threshold": (
        ("--judge", "x", "--threshold", "2"),
        "divreg calibrate PAIRS.jsonl --classifier",
    ),
    "option": (
        ("--judge", "x", "--judge-option", "max_token=1"),
        "got 'max_token=1'. Did you mean max_tokens=VALUE?",
    ),
    "nli": (("--nli", "x", "--nli-option", "batch"), "--nli-option needs KEY=VALUE, of tokenizer,"),
    "formats": (("--formats", "code"), "--formats needs NAME=REGEX; got 'code'"),
    "regex": (("--formats", "code=("), "a regular expression for 'code'"),
    "utility": (("--utility", "scor"), "no such column of numbers. Did you mean 'score'?"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_cannot_be_asked_is_refused(kind, tmp_path, capsys):
    words, message = REFUSED[kind]
    path = tmp_path / "x.jsonl"
    table = rows("p", ["a", "b"], score=[1, 2])
    path.write_text("".join(json.dumps(row) + "\n" for row in table))
    assert main(["measure", str(path), *words]) == 2
    assert message in capsys.readouterr().err
