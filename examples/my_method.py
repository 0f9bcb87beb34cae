"""Your own method in 30 lines: Diffusion-DPO's comparison under IPO's squared link.

    python -m bench validate examples.my_method:IPO
    python -m bench run --table 1a --method examples.my_method:IPO

With delta = (E_w - R_w) - (E_l - R_l), the policy prefers the winner by h = -kappa * delta. Where
Diffusion-DPO pushes h up for ever, IPO (Azar et al., 2024, arXiv 2310.12036, eq. 17) pulls it to
a fixed margin.
"""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from bench.api import Method


@dataclass(frozen=True, kw_only=True)
class IPO(Method):
    """Pull the preference for the winner, h = -kappa * delta, to `margin`."""

    name: ClassVar[str] = "ipo"
    version: ClassVar[int] = 1
    kappa: float = 4000.0
    margin: float = 0.5

    def link(self, delta: Tensor) -> Tensor:
        """Return (h - margin)^2, (B,)."""
        return (-self.kappa * delta - self.margin).square()
