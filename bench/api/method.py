"""The method contract: an objective over pairs, stated as halves, targets and a link.

With halves a, b and errors E_h = mean over C,H,W of (policy(x_h,t,c) - target_h)^2, R_h the
same for the reference, all in float32:

    delta = (E_a - R_a) - (E_b - R_b)        loss = mean over pairs of link(delta)

A method never sees the accelerator, the optimiser, files or ranks, and names no backbone.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from torch import Tensor

Condition = Mapping[str, "Tensor"]
"""What a backbone is conditioned on, opaque to methods; first axes run over the batch."""


@dataclass(frozen=True, kw_only=True)
class Batch:
    """B preference pairs on the device.

    Attributes:
        winner, loser: (B, C, H, W) clean latents, already multiplied by the VAE's scaling factor.
        condition: of the prompt c.
        degraded: of the degraded prompt c⁻, or None where the data has none.
        index: (B,) global sample indices.
    """

    winner: Tensor
    loser: Tensor
    condition: Condition
    degraded: Condition | None
    index: Tensor


@dataclass(frozen=True, kw_only=True, eq=False)
class Half:
    """One side of the comparison: what policy and reference are both evaluated on.

    Attributes:
        x_t: (B, C, H, W) noised latents.
        condition: what policy and reference are conditioned on.
        noise: (B, C, H, W) the noise in `x_t`.
        clean: (B, C, H, W) the latents before noising.
    """

    x_t: Tensor
    condition: Condition
    noise: Tensor
    clean: Tensor


@dataclass(frozen=True, kw_only=True, eq=False)
class FromReference:
    """A target that is the frozen reference's prediction at `half.x_t` under `condition`.

    The runner evaluates all of a step's reference predictions in one forward without
    gradient, and evaluates a (half, condition) that occurs twice once.
    """

    half: Half
    condition: Condition


@dataclass(frozen=True, kw_only=True)
class StepContext:
    """What a method may use to build halves and targets.

    Attributes:
        t: (B,) timesteps, shared by both halves.
        noise: (B, C, H, W) Gaussian noise, shared by both halves.
        add_noise: (clean, noise, t) -> x_t, the backbone's forward process.
        true_target: (clean, noise, t) -> what a perfect denoiser predicts (noise, or velocity).
    """

    t: Tensor
    noise: Tensor
    add_noise: Callable[[Tensor, Tensor, Tensor], Tensor]
    true_target: Callable[[Tensor, Tensor, Tensor], Tensor]


@dataclass(frozen=True, kw_only=True, slots=True)
class DataNeeds:
    """Which fields a method's batches must hold."""

    loser: bool = True
    degraded: bool = False


class Method(ABC):
    """A preference-alignment objective. Subclasses are frozen keyword-only dataclasses whose
    fields are the method's own hyperparameters.
    """

    name: ClassVar[str]
    version: ClassVar[int]
    needs: ClassVar[DataNeeds] = DataNeeds()
    uses_reference: ClassVar[bool] = True

    def halves(self, batch: Batch, step: StepContext) -> tuple[Half, ...]:
        """Return (a, b). Default: winner and loser noised with the same noise at the same t,
        both conditioned on the prompt c.
        """
        return tuple(
            Half(
                x_t=step.add_noise(clean, step.noise, step.t),
                condition=batch.condition,
                noise=step.noise,
                clean=clean,
            )
            for clean in (batch.winner, batch.loser)
        )

    def targets(
        self, halves: tuple[Half, ...], batch: Batch, step: StepContext
    ) -> tuple[Tensor | FromReference, ...]:
        """Return one target per half. Default: the true noise (or velocity)."""
        return tuple(step.true_target(h.clean, h.noise, step.t) for h in halves)

    @abstractmethod
    def link(self, delta: Tensor) -> Tensor:
        """Map delta (B,) to a loss per pair (B,)."""

    def config(self) -> dict[str, Any]:
        """Return the hyperparameters that enter the training's identity."""
        from dataclasses import asdict

        return asdict(self)  # type: ignore[call-overload,no-any-return]
