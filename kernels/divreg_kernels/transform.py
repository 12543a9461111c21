"""What logits go through before the softmax: a scale, a soft cap, a temperature, in that order."""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Transform:
    """``z = cap(logit_scale x) / temperature`` with ``cap(x) = softcap tanh(x / softcap)``.

    Attributes:
        temperature: A number, or one per row ``(n,)`` in fp32.
        softcap: None for no cap.
        logit_scale: Multiplies logits first.
    """

    temperature: float | Tensor = 1.0
    softcap: float | None = None
    logit_scale: float = 1.0

    def check(self) -> None:
        """Refuse what has no softmax.

        Raises:
            ValueError: For a temperature, cap or scale that is not positive.
        """
        for name in ("temperature", "softcap", "logit_scale"):
            value = getattr(self, name)
            if value is not None and not isinstance(value, Tensor) and not value > 0:
                raise ValueError(f"{name} needs to be positive; got {value}.")

    @property
    def scale(self) -> float | Tensor:
        """What multiplies a capped logit: all of the transform where there is no cap."""
        return (1.0 if self.softcap else self.logit_scale) / self.temperature

    def capped(self, x: Tensor) -> Tensor:
        """Return logits in fp32, capped; ``x`` itself where nothing is to be done."""
        x = x.float()
        if self.softcap is None:
            return x
        return torch.tanh(x * (self.logit_scale / self.softcap)).mul_(self.softcap)

    def slope(self, capped: Tensor) -> Tensor | float:
        """Return how a capped logit moves with the logit itself."""
        if self.softcap is None:
            return 1.0
        return (1 - (capped / self.softcap).square()) * self.logit_scale

    def rows(self, at: slice | Tensor) -> "Transform":
        """Return the transform of some rows."""
        if not isinstance(self.temperature, Tensor):
            return self
        return Transform(self.temperature[at], self.softcap, self.logit_scale)
