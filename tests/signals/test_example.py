import pytest
import torch

from divreg.compose import STAGES
from divreg.signals import BASE, SIGNALS
from divreg.signals.example import example

EVERYTHING = [*BASE, *SIGNALS]


def same(a, b):
    if callable(a):  # a signal that has a setting of its own
        return type(a) is type(b)
    return torch.equal(a, b) if isinstance(a, torch.Tensor) else a == b


@pytest.mark.parametrize("stage", STAGES)
def test_every_signal_exists_at_every_stage(stage):
    values = example([*EVERYTHING, stage], stage, p=2, g=3, t=4)
    assert set(values) == {*EVERYTHING, stage}
    rows = (2, 3) if stage in ("rewards", "advantages") else (6,)
    for name in ("correct", "partition", "confidence", "lengths"):
        assert values[name].shape == rows
    for name in ("logprob", "entropy", "mask", "logratio"):
        assert values[name].shape == (*rows, 4)


@pytest.mark.parametrize("stage", STAGES)
def test_a_value_does_not_depend_on_what_else_is_asked_for(stage):
    together = example(EVERYTHING, stage, seed=5)
    for name, value in together.items():
        assert same(example([name], stage, seed=5)[name], value)


def test_first_arguments_have_the_shape_of_their_stage():
    shapes = {stage: tuple(example([stage], stage)[stage].shape) for stage in STAGES}
    assert shapes == {
        "rewards": (2, 4),
        "advantages": (2, 4),
        "token_weights": (8, 5),
        "loss": (),
    }


def test_values_are_consistent():
    for seed in range(40):
        v = example(["texts", "answer", "correct", "rewards", "embedding"], "rewards", seed=seed)
        for i in range(2):
            for a in range(4):
                for b in range(4):
                    if v["answer"][i][a] == v["answer"][i][b]:
                        assert v["correct"][i, a] == v["correct"][i, b]
                    if v["texts"][i][a] == v["texts"][i][b]:
                        assert torch.equal(v["embedding"][i, a], v["embedding"][i, b])
        if seed % 4:
            assert torch.equal(v["rewards"], v["correct"].float())


def test_the_seeds_run_through_hard_groups():
    drawn = [example(["correct", "partition", "rewards"], "rewards", seed=s) for s in range(40)]
    groups = [(d["correct"][i], d["partition"][i]) for d in drawn for i in range(2)]
    assert any(c.all() for c, _ in groups)
    assert any(not c.any() for c, _ in groups)
    assert any(c.any() and not c.all() for c, _ in groups)
    assert any(len(set(p.tolist())) < 3 for _, p in groups)
    assert any((d["rewards"] < 0).any() for d in drawn)


@pytest.mark.parametrize(
    ("names", "stage", "message"),
    [
        (["partitoin"], "rewards", "Did you mean 'partition'"),
        (["novelty"], "rewards", "Pass a function"),
        (["mask"], "reward", "Pass divreg.compose.contract"),
    ],
)
def test_unknown_names_are_refused_with_the_cure(names, stage, message):
    with pytest.raises(ValueError, match=message):
        example(names, stage)
