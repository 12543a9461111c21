"""A head whose rows two processes share, against the whole head in one.

    torchrun --standalone --nproc_per_node 2 tests/kernels/test_ranks.py OUT

is what each of the two runs.
"""

import os
import subprocess
import sys

import pytest
import torch
import torch.distributed as dist
from divreg_kernels import linear_policy_loss, linear_token_stats

EVERY = ("logp", "entropy", "lse", "p_max", "varentropy", "log_sum_p2", "sum_p2_logp", "rank")
CUT = 400  # of 1000 rows of the head: the two hold different numbers of them
TERMS = {"entropy_coef": 0.05, "temperature": 0.9}


def inputs():
    torch.manual_seed(0)
    hidden, weight, bias = torch.randn(3, 7, 16), torch.randn(1000, 16), torch.randn(1000)
    ref_weight, targets = weight + 0.1 * torch.randn(1000, 16), torch.randint(1000, (3, 7))
    targets[0, 0] = -100
    return hidden, weight, bias, ref_weight, targets, torch.randn(3, 7)


def results(rows=slice(None), **ranks):
    """Statistics, and the gradients that the rows of a head and the hidden states get."""
    hidden, weight, bias, ref_weight, targets, advantages = inputs()
    leaves = [x.requires_grad_() for x in (hidden, weight[rows].clone(), bias[rows].clone())]
    x, head, offset = leaves
    found = {}
    for space in (64.0, 0.03):
        stats = linear_token_stats(
            x, head, targets, bias=offset, stats=EVERY, topk=5, ref=(hidden, ref_weight[rows]),
            temperature=0.9, workspace_mb=space, **ranks,
        )  # fmt: skip
        (stats.entropy.sum() + stats.logp.square().sum() + stats.ref_kl.sum()).backward()
        found |= {f"{name}, {space}": value.detach() for name, value in stats.items()}
    old = stats.logp.detach() - 0.1
    for space in (64.0, 0.02):  # 6 and 4 rows at a time, as the shards are unequal
        loss, stats = linear_policy_loss(
            x, head, targets, advantages, old, bias=offset, workspace_mb=space, **TERMS, **ranks
        )
        loss.backward()
        found |= {f"loss, {space}": loss.detach(), f"its logp, {space}": stats.logp}
    return found, [leaf.grad for leaf in leaves]


def work(out):
    dist.init_process_group("gloo")
    rank = dist.get_rank()
    rows = slice(0, CUT) if rank == 0 else slice(CUT, 1000)
    torch.save(results(rows, tp_group=dist.group.WORLD, vocab_start=rows.start), f"{out}/{rank}.pt")
    # Shards of one size need no start.
    half = slice(500 * rank, 500 * rank + 500)
    torch.save(results(half, tp_group=dist.group.WORLD), f"{out}/half{rank}.pt")
    dist.destroy_process_group()


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    out = tmp_path_factory.mktemp("ranks")
    words = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    done = subprocess.run(
        [*words, __file__, str(out)],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return out


@pytest.mark.parametrize("kind", ["", "half"], ids=["unequal shards", "equal shards"])
def test_two_processes_find_what_one_finds(shared, kind):
    whole, (hidden, weight, bias) = results()
    parts = [torch.load(shared / f"{kind}{rank}.pt") for rank in (0, 1)]
    for found, (of_hidden, *_) in parts:
        for name, value in whole.items():
            torch.testing.assert_close(found[name], value, rtol=1e-5, atol=5e-6, msg=name)
        torch.testing.assert_close(of_hidden, hidden, rtol=1e-5, atol=1e-5)
    of_weight, of_bias = (torch.cat([part[1][at] for part in parts]) for at in (1, 2))
    torch.testing.assert_close(of_weight, weight, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(of_bias, bias, rtol=1e-5, atol=1e-5)


if __name__ == "__main__":
    work(sys.argv[1])
