"""A vocabulary spread over ranks: each folds the columns it holds, and hears of the others once."""

import torch
import torch.distributed as dist
from torch import Tensor

from divreg_kernels.state import State, merge_states

_groups: dict[str, dist.ProcessGroup] = {}  # an operator takes a name, no group


def name_of(group: dist.ProcessGroup | None) -> str:
    """Return what operators call a group; empty for none."""
    if group is None:
        return ""
    _groups[group.group_name] = group
    return group.group_name


def first_column(group: dist.ProcessGroup | None, width: int) -> int:
    """Return the first column of this rank, where all hold ``width`` of them."""
    return 0 if group is None else dist.get_rank(group) * width


def joined(state: State, group: str) -> State:
    """Return the state of all columns, on every rank: one gather of some numbers a row."""
    if not group:
        return state
    own = state.packed()
    parts = [torch.empty_like(own) for _ in range(dist.get_world_size(_groups[group]))]
    dist.all_gather(parts, own, group=_groups[group])
    return merge_states([state.unpacked(part) for part in parts])


def summed(x: Tensor, group: str) -> Tensor:
    """Add what all ranks have, in place."""
    if group:
        dist.all_reduce(x, group=_groups[group])
    return x


def smallest(x: int, group: str, device: torch.device) -> int:
    """Return the smallest of what all ranks have."""
    if not group:
        return x
    found = torch.tensor(x, device=device)
    dist.all_reduce(found, dist.ReduceOp.MIN, group=_groups[group])
    return int(found)


def largest(x: Tensor, group: str) -> Tensor:
    """Take the largest of what all ranks have, in place."""
    if group:
        dist.all_reduce(x, dist.ReduceOp.MAX, group=_groups[group])
    return x
