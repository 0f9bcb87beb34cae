"""The settings of the 2D toy (DDSPO, Fig. 2): what its table's file says. No torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from bench.api.errors import UsageError


@dataclass(frozen=True, kw_only=True)
class Ring:
    """Classes on a ring, in the picture's unit.

    Attributes:
        classes: K modes, evenly spaced.
        radius: of the ring.
        std: of a class, the truth (panel a).
        noisy_std: of a class in the data the reference is trained on (panel b).
        label_flip: share of the noisy data that carries a neighbour's label.
    """

    classes: int
    radius: float
    std: float
    noisy_std: float
    label_flip: float

    def __post_init__(self) -> None:
        if self.classes < 3:
            raise UsageError(f"ring.classes is {self.classes}; a ring needs at least 3.")
        for name in ("radius", "std", "noisy_std"):
            if not getattr(self, name) > 0:
                raise UsageError(f"ring.{name} is {getattr(self, name)}; expected above 0.")
        if not 0 <= self.label_flip < 1:
            raise UsageError(f"ring.label_flip is {self.label_flip}; expected 0 <= it < 1.")


@dataclass(frozen=True, kw_only=True)
class BaseTraining:
    """How the reference network is trained on the noisy data.

    Attributes:
        width, layers: of the network.
        steps, batch, lr: Adam, the rate falling to 0 along half a cosine.
        gate: largest energy distance to the noisy data (in the picture's unit) that is accepted.
    """

    width: int
    layers: int
    steps: int
    batch: int
    lr: float
    gate: float


@dataclass(frozen=True, kw_only=True)
class FineTuning:
    """How a method is trained, the same for all of them.

    Attributes:
        steps: optimiser steps; 9 divides them, so that DDSPO's 9 units of network evaluations
            and Diffusion-DPO's 8 can be compared at equal cost.
        batch: pairs per step, whatever N is: the N pairs of each class are visited again and
            again, each time with another t and another noise.
        lr: learning rate (AdamW without weight decay), without warm-up.
        pairs_from: whether winners and losers are drawn from the true classes or the noisy ones.
    """

    steps: int
    batch: int
    lr: float
    pairs_from: Literal["clean", "noisy"]

    def __post_init__(self) -> None:
        if self.steps % 9 or self.steps < 9:
            raise UsageError(f"finetune.steps is {self.steps}; expected a multiple of 9.")


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """How samples are drawn and measured: DDIM (eta 0) without guidance.

    Attributes:
        steps: of the sampler.
        per_class: samples of each class behind the table's numbers.
        trace_per_class: the first so many of them, behind the distances before the last step.
        projections: directions of the sliced Wasserstein distance.
    """

    steps: int
    per_class: int
    trace_per_class: int
    projections: int


@dataclass(frozen=True, kw_only=True)
class Tuned:
    """What was chosen for a method: its `beta_half_mean` and its learning rate."""

    beta: float
    lr: float


@dataclass(frozen=True, kw_only=True)
class PointSettings:
    """What a reference and all that is trained from it share.

    Attributes:
        ring, base, sampling: see the classes.
        timesteps: T of the noise schedule.
        beta_start, beta_end: its linear ends.
    """

    ring: Ring
    base: BaseTraining
    sampling: Sampling
    timesteps: int
    beta_start: float
    beta_end: float


@dataclass(frozen=True, kw_only=True)
class ToySettings(PointSettings):
    """All settings.

    Attributes:
        finetune: see the class.
        beta: `beta_half_mean` of the table's methods.
        tuned: by method, what its tuned rows have in place of `beta` and `finetune.lr`.
    """

    finetune: FineTuning
    beta: float
    tuned: Mapping[str, Tuned]

    def shared(self) -> PointSettings:
        """Return the part that is no method's."""
        return PointSettings(
            ring=self.ring,
            base=self.base,
            sampling=self.sampling,
            timesteps=self.timesteps,
            beta_start=self.beta_start,
            beta_end=self.beta_end,
        )
