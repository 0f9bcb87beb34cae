"""Diffusion-DPO (Wallace et al., CVPR 2024, arXiv 2311.12908, eq. 14)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from bench.api.method import Method
from bench.training.links import is_saturated, preference_loss

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class DiffusionDPO(Method):
    """Lower the denoising error of winners and raise that of losers, relative to the reference.

    Attributes:
        kappa: coefficient of the difference of mean squares. The default is the DDSPO paper's
            baseline on SD-1.4, beta_half_mean 8000; the method's own paper has 5000 for SDXL
            and 2000 to 5000 for SD-1.5 (see `bench.training.beta` for the conventions).
    """

    name: ClassVar[str] = "diffusion-dpo"
    version: ClassVar[int] = 1
    kappa: float = 4000.0

    def link(self, delta: Tensor) -> Tensor:
        """Return -logsigmoid(-kappa delta), (B,)."""
        return preference_loss(delta, self.kappa)

    def saturation(self, delta: Tensor) -> Tensor:
        """Return (B,) booleans: the link hardly answers any more."""
        return is_saturated(delta, self.kappa)
