"""What is wrong in published code is not wrong here: one test a bug, beside the number it gives."""

import math

import numpy as np
import pytest

from divreg.metrics import (
    ast_diversity,
    branching_factor,
    compression,
    cosine,
    decomposition,
    ead,
    ngrams,
    nli,
    noveltybench,
    semantic_entropy,
    vendi,
)

COPIES = np.tile(np.random.default_rng(0).normal(size=384), (16, 1))
NEAR = [[100, 0], [99, 1], [0, 100]]


def test_vendi_of_embeddings_reads_its_order():
    """``vendi-score`` 0.0.3: ``score_X`` gives the order 1 whatever it is asked."""
    one, two = (vendi.vendi_score_from_embeddings(NEAR, q) for q in (1, 2))
    assert (one, two) == pytest.approx((1.889882, 1.8), abs=1e-6)


def test_vendi_of_an_infinite_order_is_a_number():
    """``vendi-score`` 0.0.3: NaN for ``numpy.inf``, and a number for the word."""
    assert vendi.vendi_score_from_embeddings(NEAR, math.inf) == pytest.approx(1.5, abs=1e-3)


@pytest.mark.parametrize("q", [0, 0.1, 0.5])
def test_vendi_of_low_orders_does_not_count_rounding(q):
    """``vendi-score`` 0.0.3: 16 copies of one vector are 11 at order 0, 5.35 at 0.1."""
    assert vendi.vendi_score_from_embeddings(COPIES, q) == pytest.approx(1, abs=1e-6)


def test_vendi_of_embeddings_takes_weights():
    """``vendi-score`` 0.0.3: only the matrix has them."""
    weighted = vendi.vendi_score_from_embeddings(NEAR, 1, (0.5, 0.25, 0.25))
    assert weighted == pytest.approx(1.75479, abs=1e-6)


def test_k_star_is_of_the_gram_matrix_and_not_of_a_covariance():
    """Agent-Scaling, ``exp2_embedding_robustness.py``: 1.446062 for these."""
    assert vendi.k_star([[1, 0, 0], [0.8, 0.6, 0], [0, 0, 1]]) == pytest.approx(2.347231, abs=1e-6)


def test_distinct_k_is_the_number_of_classes_and_not_their_largest_id():
    """NoveltyBench, ``partition.py``: 0.83 was published where 1.83 is meant."""
    assert noveltybench.distinct_k([0, 0, 0]) == 1
    assert noveltybench.distinct_k([0, 1, 0, 2, 1, 0, 3]) == 4


def test_nli_diversity_has_the_sign_of_the_paper():
    """Kirk et al.: contradiction makes theirs less diverse, entailment more."""
    entail, contradict = [[0, 0, 1]], [[1, 0, 0]]
    assert nli.nli_diversity(entail, entail) == 0
    assert nli.nli_diversity(contradict, contradict) == 2


def test_nli_diversity_reads_probabilities_and_not_the_likeliest_label():
    """Kirk et al.: these two are the same there."""
    sure, unsure = [[0.0, 0.1, 0.9]], [[0.1, 0.4, 0.5]]
    assert nli.nli_diversity(sure, sure) < nli.nli_diversity(unsure, unsure)


def test_nli_diversity_is_the_mean_of_both_directions():
    """Kirk et al.: their sum."""
    assert nli.nli_agreement([[0, 0, 1]], [[0, 1, 0]]) == pytest.approx([0.5])


def test_nli_pairs_are_of_sentences_and_not_of_characters():
    """Kirk et al.: the sampled variant indexes a text that was not split."""
    assert nli.aligned_sentences("Yes. No.", "So. Or.") == [("Yes", "So"), ("No.", "Or.")]


def test_the_loss_is_split_over_the_same_prompts_unless_asked_otherwise():
    """Karouzos et al.: means over all prompts beside means over those with right answers."""
    base = [(0.40, 0.30), (0.50, 0.20), (0.30, None)]
    post = [(0.20, 0.18), (0.10, 0.08), (0.12, 0.06)]
    assert decomposition.decomposition(base, post).genuine_frac == pytest.approx(0.4)


def test_one_program_that_does_not_parse_is_named_and_not_left_out():
    """Karouzos et al., ``compute_code_diversity.py``: left out unseen."""
    with pytest.raises(ValueError, match="got program 1, which does not parse"):
        ast_diversity.ast_diversity(["x = 1", "x = = 1"])


def test_short_programs_have_subtrees():
    """Karouzos et al., ``compute_code_diversity.py``: height 4 alone, which ``x`` has not."""
    assert ast_diversity.ast_diversity(["x", "y"]) > 0


def test_expectation_adjusted_distinct_is_not_cut_off_at_one():
    """Karouzos et al.: 1 for all of them."""
    words = " ".join(map(str, range(50)))
    assert ead.ead_n([words], 1, vocabulary=50) == pytest.approx(1.572747, abs=1e-6)


def test_truncation_that_does_not_reach_top_p_says_so():
    """LLMBranchingFactor: the 50 likeliest tokens stand for top-p, whatever they hold."""
    left = branching_factor.nucleus(probs=[0.3, 0.2, 0.1], top_p=0.9)
    assert float(left.mass) == pytest.approx(0.6)


def test_kuhns_entropy_has_no_constant():
    """semantic_uncertainty, Kuhn et al.: 5 more."""
    found = semantic_entropy.semantic_entropy_kuhn_nats([0, 1], [-1.0, -2.0])
    assert found == pytest.approx(1.5)


def test_nobody_is_compared_with_himself():
    """Language-of-Thought: two orthogonal answers are half alike there."""
    assert cosine.cosine_diversity([[1, 0], [0, 1]]) == 1
    assert cosine.intra_repetition([[1, 0], [0, 1]]) == 0


def test_texts_are_compressed_once_and_nothing_is_rounded():
    """diversity 0.3.1: gzip of what gzip returned, three digits."""
    import gzip

    texts = ["the cat sat on the mat"] * 51
    data = " ".join(texts).encode()
    once = gzip.compress(data, 9, mtime=0)
    assert compression.compression_ratio(texts) == len(data) / len(once)
    assert len(gzip.compress(once, 9, mtime=0)) > 1.2 * len(once)


def test_two_spaces_are_no_word_and_few_words_no_error():
    """diversity 0.3.1: an empty word, and a division by zero."""
    assert ngrams.ngram_diversity_score(["a  b"], n=1) == 1
    assert ngrams.ngram_diversity_score(["a"], n=4) == 1
