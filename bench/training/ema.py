"""An exponential moving average of the trained weights."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn


class MovingAverage:
    """shadow <- decay * shadow + (1 - decay) * weight after each optimiser step.

    Args:
        weights: named trained parameters; the average starts from them.
        decay: weight of the past, in [0, 1).
    """

    def __init__(self, weights: Mapping[str, nn.Parameter], decay: float) -> None:
        self.decay = decay
        self._weights = list(weights.values())
        self.shadow: dict[str, Tensor] = {k: p.detach().clone() for k, p in weights.items()}

    @torch.no_grad()
    def update(self) -> None:
        """Take in the weights as they are now."""
        for shadow, weight in zip(self.shadow.values(), self._weights, strict=True):
            shadow.lerp_(weight.detach(), 1.0 - self.decay)

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Put back a saved average."""
        for name, shadow in self.shadow.items():
            shadow.copy_(tensors[name])
