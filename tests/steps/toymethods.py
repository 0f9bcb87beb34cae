"""Methods of stages for the tests of the graph."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from bench.api.stages import Stage, StagedMethod
from methods.diffusion_dpo import DiffusionDPO
from methods.sft import SFT


@dataclass(frozen=True, kw_only=True)
class WarmThenPrefer(StagedMethod):
    """SFT, then Diffusion-DPO from its result."""

    name: ClassVar[str] = "warm-then-prefer"
    version: ClassVar[int] = 1
    kappa: float = 100.0

    def stages(self) -> tuple[Stage, ...]:
        """Return both stages."""
        return (
            Stage(name="warm", method=SFT(), train={"weight_decay": 0.0}),
            Stage(name="prefer", method=DiffusionDPO(kappa=self.kappa)),
        )
