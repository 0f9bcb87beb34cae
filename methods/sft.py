"""Supervised fine-tuning on the winners: the control row without any preference."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from bench.api.method import Batch, DataNeeds, Half, Method, StepContext

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class SFT(Method):
    """The denoising loss on winner images under their prompts.

    It has one half, no reference and the identity as link, so the loss is E_a itself.
    """

    name: ClassVar[str] = "sft"
    version: ClassVar[int] = 1
    needs: ClassVar[DataNeeds] = DataNeeds(loser=False)
    uses_reference: ClassVar[bool] = False

    def halves(self, batch: Batch, step: StepContext) -> tuple[Half, ...]:
        """Return the noised winner alone."""
        return (
            Half(
                x_t=step.add_noise(batch.winner, step.noise, step.t),
                condition=batch.condition,
                noise=step.noise,
                clean=batch.winner,
            ),
        )

    def link(self, delta: Tensor) -> Tensor:
        """Return delta, (B,)."""
        return delta
