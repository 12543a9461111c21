"""How likely the tokens of the vocabulary are on average, where the unlikely ones decide."""

from collections.abc import Callable

from jaxtyping import Float
from torch import Tensor


def mean_logprob(*, over_logits: Callable[..., Tensor]) -> Float[Tensor, "*b t"]:
    """Mean over the vocabulary of the log-probabilities of the next token.

    At most minus log of the vocabulary's size, nats, where all tokens are as likely.

    Args:
        over_logits: Applies a function to the logits of every token.

    >>> import torch
    >>> mean_logprob(over_logits=lambda f: f(torch.zeros(1, 4))[None])
    tensor([[-1.3863]])
    """
    return over_logits(lambda logits: logits.log_softmax(-1).mean(-1))
