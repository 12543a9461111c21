"""What the head takes, by the sizes of all tensors that are alive, at the shapes of a large model.

The tensors are fake: they have shapes and no memory. What runs is the head itself; the two kernels
are replaced, as they return some numbers a row, or nothing.
"""

import weakref
from types import SimpleNamespace

import pytest
import torch
from divreg_kernels import backends, linear, matmul
from divreg_kernels.state import finish
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter

MIB = 1 << 20
N, H, V = 8192, 4096, 151_936


class Peak(TorchDispatchMode):
    """Counts the bytes of every storage once, from its first tensor until nobody holds it."""

    def __init__(self):
        super().__init__()
        self.alive, self.live, self.peak = {}, 0, 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        for x in tree_iter(out):
            if isinstance(x, torch.Tensor):
                self.add(x.untyped_storage())
        self.peak = max(self.peak, self.live)
        return out

    def add(self, storage):
        key = storage._cdata
        if key not in self.alive:
            self.alive[key] = storage.nbytes()
            self.live += storage.nbytes()
            weakref.finalize(storage, self.drop, key)

    def drop(self, key):
        self.live -= self.alive.pop(key, 0)


@pytest.mark.parametrize("keep", ["auto", "False"])
@pytest.mark.parametrize("workspace", [512.0, 6500.0])
@pytest.mark.parametrize("reference", [False, True])
def test_never_more_than_the_workspace_and_the_gradients(monkeypatch, keep, workspace, reference):
    kernels = SimpleNamespace(
        fold=lambda tile, targets, start, state, transform, **_: state,
        grad=lambda *arguments, **_: arguments[8],
        finish=finish,
    )
    monkeypatch.setattr(backends, "choose", lambda *_: kernels)
    monkeypatch.setattr(matmul, "_TILES", {"cpu": matmul._TILES["cuda"]})  # as on a GPU
    transform = (1.0, None, None, 1.0)
    rest = ("fp32", workspace, keep, False, "", "auto")
    with FakeTensorMode(), Peak() as peak:
        hidden, weight, ref_hidden, ref_weight = (
            torch.empty(size, H, dtype=torch.bfloat16) for size in (N, V, N, V)
        )
        targets, rows = torch.empty(N, dtype=torch.long), torch.empty(N, 7)
        ref = (ref_hidden, ref_weight, None) if reference else (None,) * 3
        head = (hidden, weight, None, targets, *ref)
        inputs = peak.live
        values = linear._linear_token_stats._init_fn(*head, *transform, True, True, 0, *rest)
        kept = values[-1].nbytes
        forward = peak.peak - inputs
        peak.peak = 0
        grads = linear._linear_token_stats_grad._init_fn(
            *head, *values[-5:], rows, 2, reference, *transform, *rest
        )
        backward = peak.peak - inputs - sum(x.nbytes for x in grads)
        in_fp32 = 4 * N * H - grads[0].nbytes  # of hidden's gradient, until it is whole
    a_few_a_row = 64 * 4 * N
    assert kept <= workspace * MIB
    assert (kept > 0) == (keep == "auto" and workspace > 6000)
    assert forward <= workspace * MIB + a_few_a_row
    assert backward <= workspace * MIB + in_fp32 + a_few_a_row
    assert peak.live >= kept
