import torch

from divreg.methods import differential_smoothing

NORMALISED = torch.tensor([0.865875, 0.865875, -0.865875, -0.865875])
HALF = torch.tensor([True, True, False, False])
LOGPROB = torch.tensor([[-4.0, -6.0], [-30.0, 9.0], [-12.0, 0.0], [-15.0, -25.0]])
MASK = torch.tensor([[True, True], [True, False], [True, True], [True, True]])


def close(a, b):
    torch.testing.assert_close(a, torch.tensor(b), atol=1e-6, rtol=0)


def test_unlikely_is_good_where_right_and_bad_where_wrong():
    """Completions of -10, -30 (its padding does not count), -12 and -40 nats."""
    words = {"correct": HALF, "logprob": LOGPROB, "mask": MASK}
    moved = differential_smoothing(NORMALISED, **words, on_correct=0.01, on_wrong=0.01)
    close(moved, [0.965875, 1.165875, -0.985875, -1.265875])


def test_each_side_can_be_switched_off():
    words = {"correct": HALF, "logprob": LOGPROB, "mask": MASK}
    moved = differential_smoothing(NORMALISED, **words, on_correct=0.01, on_wrong=0.0)
    close(moved, [0.965875, 1.165875, -0.865875, -0.865875])
