import math

import torch

from divreg import signals

LOGPROB = torch.tensor([[-1.0, -3.0, -9.0], [0.0, 0.0, 0.0]])
MASK = torch.tensor([[True, True, False], [False, False, False]])


def test_confidence_is_the_geometric_mean_over_tokens():
    result = signals.confidence(logprob=LOGPROB, mask=MASK)
    torch.testing.assert_close(result, torch.tensor([math.exp(-2), 1.0]))
    grouped = signals.confidence(logprob=LOGPROB.view(1, 2, 3), mask=MASK.view(1, 2, 3))
    assert grouped.shape == (1, 2)


def test_confidence_ignores_what_stands_in_padding():
    poisoned = LOGPROB.masked_fill(~MASK, float("nan"))
    assert signals.confidence(logprob=poisoned, mask=MASK).isfinite().all()


def test_lengths_and_logratio():
    assert signals.lengths(mask=MASK).tolist() == [2, 0]
    ratio = signals.logratio(logprob=LOGPROB, old_logprob=LOGPROB - 0.5)
    torch.testing.assert_close(ratio, torch.full((2, 3), 0.5))


def test_a_zero_vector_is_similar_to_nothing():
    result = signals.similarity(embedding=torch.tensor([[0.0, 0.0], [3.0, 4.0]]))
    torch.testing.assert_close(result, torch.tensor([[0.0, 0.0], [0.0, 1.0]]))


def test_similarity_does_not_leave_its_range():
    vectors = torch.randn(1, 50, 3, generator=torch.Generator().manual_seed(0)).repeat(1, 2, 1)
    assert signals.similarity(embedding=vectors).abs().max() <= 1
