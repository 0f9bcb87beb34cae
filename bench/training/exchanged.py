"""A control that no method can win: in a random half of the pairs the loser is preferred.

Of pair i the sign of delta is turned with probability one half, keyed by (seed, i) as images are
shuffled (`bench.training.source.controlled`): winner and loser change places with all that makes
them so, images, targets and conditions. To exchange the images alone is no such control for a
method whose targets say which side is which: DDSPO's loser has the reference's prediction under
the degraded prompt as target, whatever its image is.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, TypeVar

from bench.api.method import Batch, Method
from bench.training.randomness import coin

if TYPE_CHECKING:
    from torch import Tensor

M = TypeVar("M", bound=Method)


def exchanged(method: M, seed: int) -> M:
    """Return the method, its preference turned round in a random half of the pairs.

    Name, settings and halves are the method's own; the pairs are as they were.
    """
    made = copy.copy(method)

    class Exchanged(type(method)):  # type: ignore[misc]
        """The method, its losses turned."""

        def losses(self, delta: Tensor, batch: Batch) -> Tensor:
            """Return the method's losses of delta, turned in the pairs that a coin chose."""
            turned = exchanged_pairs(batch, seed)
            found: Tensor = super().losses(delta.where(~turned, -delta), batch)
            return found

    object.__setattr__(made, "__class__", Exchanged)  # a frozen dataclass
    return made


def exchanged_pairs(batch: Batch, seed: int) -> Tensor:
    """Return (B,) booleans: whose winner and loser change places."""
    import torch

    chosen = [coin(seed, "shuffle", int(i)) for i in batch.index.tolist()]
    return torch.tensor(chosen, device=batch.index.device)
