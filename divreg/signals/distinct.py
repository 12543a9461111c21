"""How many different things a group says."""

from jaxtyping import Float, Int64
from torch import Tensor


def distinct(*, partition: Int64[Tensor, "*p g"]) -> Float[Tensor, "*p g"]:
    """Count the classes of a group, the same number at each of its completions.

    Range 1 to the size of the group.

    Args:
        partition: Class of each completion, ids within its group.

    >>> import torch
    >>> distinct(partition=torch.tensor([[0, 1, 0], [0, 0, 0]]))
    tensor([[2., 2., 2.],
            [1., 1., 1.]])
    """
    same = partition.unsqueeze(-1) == partition.unsqueeze(-2)
    is_first = ~same.tril(-1).any(dim=-1)
    return is_first.sum(dim=-1, keepdim=True).expand_as(partition).float()
