"""DDSPO: direct diffusion score preference optimisation (eq. 7)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from bench.api.errors import ContractError
from bench.api.method import Batch, DataNeeds, FromReference, Half, Method, StepContext
from bench.training.links import is_saturated, preference_loss

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class DDSPO(Method):
    """Diffusion-DPO with the reference's own predictions as targets.

    The winner's target is the reference's prediction under the prompt c, the loser's under the
    degraded prompt c⁻. Policy and reference stay conditioned on c in both halves: were the
    loser's half conditioned on c⁻, its error at the start would be zero and nothing be learnt.

    Attributes:
        kappa: coefficient of the difference of mean squares. The default is the paper's for
            SD-1.4, SD-1.5 and SDXL, beta_half_mean 16000; SANA has 2000.
    """

    name: ClassVar[str] = "ddspo"
    version: ClassVar[int] = 1
    needs: ClassVar[DataNeeds] = DataNeeds(loser=True, degraded=True)
    kappa: float = 8000.0

    def targets(
        self, halves: tuple[Half, ...], batch: Batch, step: StepContext
    ) -> tuple[Tensor | FromReference, ...]:
        """Return ref(x_w, c) and ref(x_l, c⁻)."""
        if batch.degraded is None:
            raise ContractError("ddspo needs degraded prompts; these pairs have none.")
        winner, loser = halves
        return (
            FromReference(half=winner, condition=winner.condition),
            FromReference(half=loser, condition=batch.degraded),
        )

    def link(self, delta: Tensor) -> Tensor:
        """Return -logsigmoid(-kappa delta), (B,)."""
        return preference_loss(delta, self.kappa)

    def saturation(self, delta: Tensor) -> Tensor:
        """Return (B,) booleans: the link hardly answers any more."""
        return is_saturated(delta, self.kappa)
