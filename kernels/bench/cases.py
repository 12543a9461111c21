"""The sizes that are compared: on a CPU, and on a GPU."""

from dataclasses import dataclass

import torch
from losses import on_losses
from providers import Provider, on_hidden, on_logits
from torch import Tensor

ROTATED = 8e9  # bytes that four sets of inputs may take; else there are two


@dataclass(frozen=True)
class Case:
    """Sizes of one comparison; ``h`` is None where logits are given.

    Attributes:
        n: Tokens.
        v: Vocabulary.
        h: Hidden size.
        dtype: Of the inputs.
        zero: Share of the tokens without gradient.
    """

    n: int
    v: int
    h: int | None
    dtype: torch.dtype
    zero: float = 0.0

    @property
    def shape(self) -> str:
        """Sizes and dtype alone."""
        sizes = f"{self.n} x {self.v}" if self.h is None else f"{self.n} x {self.h} x {self.v}"
        return f"{sizes} {str(self.dtype).removeprefix('torch.')}"

    @property
    def name(self) -> str:
        """As the table shows it."""
        rows = f", {self.zero:.0%} of the rows without gradient" if self.zero else ""
        return f"{'logits' if self.h is None else 'hidden'} {self.shape}{rows}"

    @property
    def bytes(self) -> int:
        """What one set of inputs takes."""
        elements = self.n * self.v if self.h is None else (self.n + self.v) * self.h
        return elements * self.dtype.itemsize

    def sets(self, device: str) -> int:
        """Return how many sets of inputs take turns, so that none is in the cache when needed."""
        return 4 if device == "cuda" and 4 * self.bytes <= ROTATED else 2

    def too_big(self, device: str) -> str | None:
        """Say why it does not fit the memory, None where it does; on a CPU nobody asks."""
        if device != "cuda":
            return None
        torch.cuda.empty_cache()
        free, needed = torch.cuda.mem_get_info()[0], (self.sets(device) + 2) * self.bytes
        if needed <= free:
            return None
        return f"needs {needed / 1e9:.0f} GB or more; {free / 1e9:.0f} GB are free"

    def small(self) -> "Case":
        """Return what everybody is judged on in float64."""
        return Case(16, min(self.v, 5003), self.h and min(self.h, 256), self.dtype)

    def inputs(self, device: str) -> tuple[Tensor, ...]:
        """Draw rows from nearly certain to undecided, as a policy has them."""
        h = self.h or 64
        weight = torch.randn(self.v, h, device=device) / h**0.5
        mix = weight[torch.randint(self.v, (self.n, 4), device=device)].mean(1)
        gain = torch.linspace(6, 30, self.n, device=device)[:, None]
        hidden = mix * gain + 2 * torch.randn(self.n, h, device=device)
        targets = torch.randint(self.v, (self.n,), device=device)
        if self.h is not None:
            return hidden.to(self.dtype), weight.to(self.dtype), targets
        logits = torch.empty(self.n, self.v, dtype=self.dtype, device=device)
        for rows, x in zip(logits.split(1024), hidden.split(1024), strict=True):
            rows.copy_(x @ weight.T)
        return logits, targets

    def providers(self, device: str) -> list[Provider]:
        """Return who takes part."""
        compiled = device == "cuda" and self in COMPILED
        return on_logits(device, compiled) if self.h is None else on_hidden(device, compiled)

    def losses(self, device: str) -> list[Provider]:
        """Return who takes part in the comparison of policy losses; nobody where logits are given.

        One made without hidden states would be the same code for all.
        """
        return [] if self.h is None else on_losses(device)


CPU = (
    Case(512, 32_000, None, torch.float32),
    Case(256, 49_152, 576, torch.float32),
    Case(256, 49_152, 576, torch.float32, zero=0.8),
    Case(1024, 8192, 256, torch.float32),
)

_TOKENS = {"logits": (1, 64, 1024, 8192, 32_768), "hidden": (2048, 8192, 16_384, 32_768)}
_VOCABULARIES = (151_936, 32_000, 128_256, 151_665)
_HEADS = (
    (4096, 151_936),
    (1024, 151_936),
    (2048, 151_936),
    (3584, 152_064),
    (4096, 128_256),
    (4096, 131_072),
    (4096, 32_000),
)
_BF16 = torch.bfloat16
COMPILED = (Case(8192, 151_936, None, _BF16), Case(8192, 151_936, 4096, _BF16))
"""Where torch.compile takes part: it compiles anew for every size."""

GPU = (
    *COMPILED,
    *(Case(8192, 151_936, 4096, _BF16, zero) for zero in (0.5, 0.8)),
    *(Case(n, 151_936, None, _BF16) for n in _TOKENS["logits"] if n != 8192),
    *(Case(8192, v, None, _BF16) for v in _VOCABULARIES[1:]),
    Case(8192, 151_936, None, torch.float32),
    *(Case(8192, v, h, _BF16) for h, v in _HEADS[1:]),
    *(Case(n, 151_936, 4096, _BF16) for n in (2048, 16_384)),
)
"""What fits the time that one command has; the most important first."""

FULL = tuple(
    dict.fromkeys(
        (
            *GPU,
            *(Case(n, v, None, _BF16) for v in _VOCABULARIES for n in _TOKENS["logits"]),
            *(Case(8192, v, None, torch.float32) for v in _VOCABULARIES),
            *(Case(n, v, h, _BF16) for h, v in _HEADS for n in _TOKENS["hidden"]),
        )
    )
)
"""Every combination."""
