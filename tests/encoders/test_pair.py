from itertools import permutations

import numpy as np
import pytest
import torch

from divreg.encoders import NLIEquivalence, PairClassifier

TEXTS = ["the cat sat", "it is seven", "a very big red dog ran and then it sat", "no", ""]
PAIRS = list(permutations(TEXTS, 2))
NLI = ("contradiction", "entailment", "neutral")


@pytest.fixture(scope="module")
def two_labels(make_judge):
    return make_judge("LABEL_0", "LABEL_1")


@pytest.fixture(scope="module")
def nli(make_judge):
    return make_judge(*NLI)


def by_hand(folder, a, b):
    """Probabilities of one ordered pair as transformers itself would compute them."""
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    model = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    with torch.no_grad():
        logits = model(**AutoTokenizer.from_pretrained(folder)(a, b, return_tensors="pt")).logits[0]
    return logits.sigmoid() if len(logits) == 1 else logits.softmax(0)


def counted(judge, monkeypatch):
    """Sizes of the batches that the judge's model sees from now on."""
    sizes, forward = [], judge._model._forward
    monkeypatch.setattr(
        judge._model, "_forward", lambda rows: sizes.append(len(rows)) or forward(rows)
    )
    return sizes


@pytest.mark.parametrize("kind", [PairClassifier, NLIEquivalence])
def test_a_batch_says_what_single_pairs_say(kind, two_labels, nli, monkeypatch):
    folder = two_labels if kind is PairClassifier else nli
    judge = kind(folder, device="cpu", max_tokens=16, batch_size=3, cache_size=0)
    sizes = counted(judge, monkeypatch)
    together = judge(PAIRS)
    assert sizes == [3] * 6 + [2]  # 20 pairs whose mirror images are among them: 20 judgements
    alone = np.concatenate([judge([pair]) for pair in PAIRS])
    np.testing.assert_allclose(together, alone, atol=1e-6)
    assert together.std() > 0.005, "the random judge tells pairs apart"
    assert together.min() >= 0
    assert together.max() <= 1


def test_the_probability_is_that_of_transformers_itself(two_labels):
    a, b = "the cat sat", "a dog ran and then"
    judge = PairClassifier(two_labels, device="cpu", max_tokens=16, symmetric=False)
    assert judge([(a, b)])[0] == pytest.approx(float(by_hand(two_labels, a, b)[1]), abs=1e-6)
    assert judge([(b, a)])[0] == pytest.approx(float(by_hand(two_labels, b, a)[1]), abs=1e-6)


def test_symmetric_is_the_mean_of_both_orders(two_labels):
    ordered = PairClassifier(two_labels, device="cpu", max_tokens=16, symmetric=False)
    forth, back = ordered(PAIRS), ordered([(b, a) for a, b in PAIRS])
    assert abs(forth - back).max() > 0.01, "the random judge depends on the order"
    symmetric = PairClassifier(two_labels, device="cpu", max_tokens=16)
    np.testing.assert_allclose(symmetric(PAIRS), (forth + back) / 2, atol=1e-6)
    assert (symmetric(PAIRS) == symmetric([(b, a) for a, b in PAIRS])).all()


def test_entailment_is_found_by_name_and_needed_both_ways(make_judge):
    a, b = "the cat sat", "a dog ran"
    for labels in (NLI, ("ENTAILMENT", "NEUTRAL", "CONTRADICTION"), ("not_entailment", "entail")):
        folder = make_judge(*labels)
        at = next(i for i, label in enumerate(labels) if label.lower() in ("entailment", "entail"))
        ways = [float(by_hand(folder, *pair)[at]) for pair in ((a, b), (b, a))]
        judge = NLIEquivalence(folder, device="cpu", max_tokens=16)
        np.testing.assert_allclose(judge([(a, b), (b, a)]), [min(ways)] * 2, atol=1e-6)


@pytest.mark.parametrize(
    ("labels", "same", "at"),
    [
        (("LABEL_0", "LABEL_1"), None, 1),
        (("LABEL_0", "LABEL_1"), 0, 0),
        (("Similar", "Different"), None, 0),
        (("not_duplicate", "is_duplicate"), None, 1),
        (NLI, "entailment", 1),
    ],
)
def test_the_label_that_means_the_same(make_judge, labels, same, at):
    folder = make_judge(*labels)
    judge = PairClassifier(folder, same=same, device="cpu", max_tokens=16, symmetric=False)
    pair = ("the cat", "a dog")
    assert judge([pair])[0] == pytest.approx(float(by_hand(folder, *pair)[at]), abs=1e-6)
    assert judge.facts["same"] == labels[at]


def test_one_output_is_a_cross_encoder(make_judge):
    folder = make_judge("LABEL_0")
    judge = PairClassifier(folder, device="cpu", max_tokens=16, symmetric=False)
    pair = ("the cat", "a dog")
    assert judge([pair])[0] == pytest.approx(float(by_hand(folder, *pair)[0]), abs=1e-6)


def test_each_ordered_pair_is_judged_once(two_labels, monkeypatch):
    judge = PairClassifier(two_labels, device="cpu", max_tokens=16)
    sizes = counted(judge, monkeypatch)
    first = judge([("a", "dog"), ("a", "dog"), ("dog", "a")])
    assert sum(sizes) == 2
    assert (judge([("dog", "a")]) == first[2]).all()
    assert sum(sizes) == 2
    assert judge([]).shape == (0,)
    one_way = PairClassifier(two_labels, device="cpu", max_tokens=16, symmetric=False, cache_size=1)
    sizes = counted(one_way, monkeypatch)
    one_way([("a", "dog")])
    one_way([("dog", "a")])
    one_way([("a", "dog")])
    assert sizes == [1, 1, 1]


def test_each_text_is_cut_by_itself_at_the_chosen_end(two_labels):
    long = "no no no no the cat"
    kept = {"left": "the cat", "right": "no no"}
    for side, short in kept.items():
        judge = PairClassifier(two_labels, device="cpu", max_tokens=2, truncate=side)
        cut, whole = judge([(long, "a dog"), (short, "a dog")])
        assert cut == pytest.approx(whole, abs=1e-9)
        assert judge.facts == {
            "model": two_labels,
            "max_tokens": 2,
            "truncate": side,
            "same": "LABEL_1",
            "symmetric": True,
        }


@pytest.mark.parametrize("kind", [PairClassifier, NLIEquivalence])
def test_random_numbers_of_the_training_do_not_move(kind, two_labels, nli):
    before = torch.random.get_rng_state()
    kind(two_labels if kind is PairClassifier else nli, device="cpu", max_tokens=16)(PAIRS)
    assert torch.equal(torch.random.get_rng_state(), before)


@pytest.mark.parametrize("kind", [PairClassifier, NLIEquivalence])
def test_zero3_does_not_shard_it(kind, two_labels, nli, zero3):
    judge = kind(two_labels if kind is PairClassifier else nli, device="cpu", max_tokens=16)
    assert zero3.is_deepspeed_zero3_enabled(), "the training's own setting came back"
    zero3.unset_hf_deepspeed_config()
    assert all(p.numel() for p in judge._model._model.parameters()), "sharded ones are empty"
    assert judge(PAIRS).shape == (len(PAIRS),)


def test_no_parameter_asks_for_a_gradient_or_drops_out(two_labels):
    model = PairClassifier(two_labels, device="cpu", max_tokens=16)._model._model
    assert not model.training
    assert not any(p.requires_grad for p in model.parameters())


def test_a_model_without_a_trained_head_is_refused(two_labels, tmp_path):
    from transformers import AutoTokenizer, BertForSequenceClassification

    BertForSequenceClassification.from_pretrained(two_labels).bert.save_pretrained(tmp_path)
    AutoTokenizer.from_pretrained(two_labels).save_pretrained(tmp_path)
    with pytest.raises(ValueError, match=r"without classifier\.bias, classifier\.weight"):
        PairClassifier(str(tmp_path), device="cpu", max_tokens=16)


@pytest.mark.parametrize(
    ("kind", "labels", "arguments", "cure"),
    [
        (PairClassifier, NLI, {}, "NLIEquivalence where"),
        (PairClassifier, ("LABEL_0", "LABEL_1"), {"same": "yes"}, "Use same='LABEL_1'"),
        (PairClassifier, ("LABEL_0", "LABEL_1"), {"same": 2}, "'LABEL_0', 'LABEL_1'"),
        (PairClassifier, ("yes", "true"), {}, "no label that clearly"),
        (NLIEquivalence, ("no", "yes"), {}, "with 'no', 'yes'"),
        (PairClassifier, ("no", "yes"), {"max_tokens": 31}, "Use max_tokens=30"),
        (PairClassifier, ("no", "yes"), {"truncate": "middle"}, "Use truncate='left'"),
        (NLIEquivalence, NLI, {"batch_size": 0}, "Use 64"),
        (NLIEquivalence, NLI, {"tokenizer": "/nowhere"}, "Pass the folder"),
    ],
)
def test_bad_input_is_refused_with_the_cure(make_judge, kind, labels, arguments, cure):
    with pytest.raises(ValueError, match=cure):
        kind(make_judge(*labels), device="cpu", **{"max_tokens": 16, **arguments})


def test_a_folder_that_is_not_there_is_refused():
    with pytest.raises(ValueError, match="PairClassifier needs a sequence-classification model"):
        PairClassifier("/nowhere/at/all")
