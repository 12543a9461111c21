"""Published weights say what they are known for: `HF_HUB_OFFLINE=0 pytest -m hub`."""

import pytest

from divreg import signals
from divreg.encoders import NLIEquivalence, PairClassifier, SentenceEncoder

pytestmark = pytest.mark.hub

ALIKE = ("You could name your cat Whiskers, after its long whiskers.", "Call the cat Whiskers!")
UNLIKE = ("You could name your cat Whiskers, after its long whiskers.", "The capital is Nairobi.")


def test_noveltybenchs_classifier_at_its_threshold():
    judge = PairClassifier(
        "yimingzhang/deberta-v3-large-generation-similarity",
        tokenizer="microsoft/deberta-v3-large",
        same=1,
        symmetric=False,
        truncate="right",
    )
    alike, unlike = judge([ALIKE, UNLIKE])
    assert alike > 0.102 > unlike
    texts = [ALIKE[0], UNLIKE[1], ALIKE[1]]
    classes = signals.by_pairs(texts=texts, judge=judge, threshold=0.102, short_words=5)
    assert classes.tolist() == [0, 1, 0]


def test_an_nli_model_finds_that_paraphrases_entail_each_other():
    judge = NLIEquivalence("microsoft/deberta-large-mnli")
    same = ("A man is playing a guitar.", "A man plays the guitar.")
    narrower = ("A man is playing a guitar.", "A person is playing an instrument.")
    alike, one_way = judge([same, narrower])
    assert alike > 0.5 > one_way


def test_a_cross_encoder_of_duplicate_questions():
    judge = PairClassifier("cross-encoder/quora-distilroberta-base")
    pairs = [
        ("How do I learn Python?", "What is the best way to learn Python?"),
        ("How do I learn Python?", "How far away is the moon?"),
    ]
    duplicate, other = judge(pairs)
    assert duplicate > 0.5 > other


def test_the_default_encoder_is_found_by_its_name(minilm):
    published, packaged = SentenceEncoder(device="cpu"), SentenceEncoder(minilm, device="cpu")
    assert (published(["a robin"]) == packaged(["a robin"])).all()
