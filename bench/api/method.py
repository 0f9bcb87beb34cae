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
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias

from bench.api.errors import ContractError, did_you_mean
from bench.api.rollout import Rollout, RolloutPlan

if TYPE_CHECKING:
    from torch import Tensor

Condition = Mapping[str, "Tensor"]
"""What a backbone is conditioned on, opaque to methods; first axes run over the batch."""


@dataclass(frozen=True, kw_only=True)
class Batch:
    """B preference pairs, or B single images, on the device.

    Attributes:
        winner: (B, C, H, W) clean latents, already multiplied by the VAE's scaling factor. For a
            method that needs labels it is the single image, whichever its label.
        loser: likewise, or None where the data has none.
        condition: of the prompt c.
        degraded: of the degraded prompt c⁻, or None where the data has none.
        index: (B,) global sample indices.
        label: (B,) +1 for a desirable image in `winner`, -1 for an undesirable one; None for pairs.
        mean_delta: () mean of delta over the whole batch of the optimiser step, without gradient;
            only for methods with `centred`.
    """

    winner: Tensor
    loser: Tensor | None
    condition: Condition
    degraded: Condition | None
    index: Tensor
    label: Tensor | None = None
    mean_delta: Tensor | None = None


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

    Attributes:
        half: where it is evaluated.
        condition: under what.
        supplier: a frozen network that is asked in the reference's place, by the name of the
            earlier stage that trained it (see `bench.api.stages.Stage.suppliers`); None asks the
            reference.
    """

    half: Half
    condition: Condition
    supplier: str | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class Combination:
    """A target that is a weighted sum of predictions, such as guidance's.

    Attributes:
        terms: (weight, prediction); a weight is a number, or a tensor (B,) with one for each pair.
    """

    terms: tuple[tuple[float | Tensor, FromReference], ...]


Target: TypeAlias = "Tensor | FromReference | Combination"
"""What the policy's prediction at a half is compared with."""


def requests_of(target: object) -> tuple[FromReference, ...]:
    """Return the predictions that a target is made of; none for a tensor."""
    if isinstance(target, FromReference):
        return (target,)
    return tuple(request for _, request in target.terms) if isinstance(target, Combination) else ()


@dataclass(frozen=True, kw_only=True)
class StepContext:
    """What a method may use to build halves and targets.

    Attributes:
        t: (B,) timesteps, shared by both halves.
        noise: (B, C, H, W) Gaussian noise, shared by both halves.
        add_noise: (clean, noise, t) -> x_t, the backbone's forward process.
        true_target: (clean, noise, t) -> what a perfect denoiser predicts (noise, or velocity).
        rollout: a sample of the policy itself for each pair, at `t`, where the method asks for
            it; see `Method.rollout`.
    """

    t: Tensor
    noise: Tensor
    add_noise: Callable[[Tensor, Tensor, Tensor], Tensor]
    true_target: Callable[[Tensor, Tensor, Tensor], Tensor]
    rollout: Rollout | None = None


PAIRINGS = ("own", "not-paired", "rand-positive", "one-image")
"""What a batch's loser is; see `DataNeeds`."""


@dataclass(frozen=True, kw_only=True, slots=True)
class DataNeeds:
    """What a method takes from a pair set.

    With a pairing other than `"own"` the data layer makes the loser of pair i out of winners
    (DDSPO, section 3.3), so that no loser need ever be sampled:

    | pairing         | loser image                   | degraded prompt           |
    |-----------------|-------------------------------|---------------------------|
    | `own`           | the pair's own                | the pair's own            |
    | `not-paired`    | the winner of another pair j  | the pair's own            |
    | `rand-positive` | the winner of another pair j  | j's prompt, not degraded  |
    | `one-image`     | the pair's own winner         | the pair's own            |

    Attributes:
        loser: the set must hold losers.
        degraded: the set must hold degraded prompts.
        pairing: one of `PAIRINGS`.
        label: the method takes single images with a label; see `bench.training.single`.

    Raises:
        ContractError: the pairing is unknown, or makes losers that are asked of the set too.
    """

    loser: bool = True
    degraded: bool = False
    pairing: str = "own"
    label: bool = False

    def __post_init__(self) -> None:
        if self.pairing not in PAIRINGS:
            raise ContractError(
                f"unknown pairing {self.pairing!r}.{did_you_mean(str(self.pairing), PAIRINGS)}"
            )
        if self.pairing != "own" and self.loser:
            raise ContractError(
                f"pairing {self.pairing!r} makes losers of winners; set loser=False with it."
            )

    @property
    def batch_has_loser(self) -> bool:
        """Whether the method's batches hold losers, the set's or made ones."""
        return self.loser or self.pairing != "own"

    @property
    def batch_has_degraded(self) -> bool:
        """Whether the method's batches hold degraded prompts, the set's or made ones."""
        return self.degraded or self.pairing == "rand-positive"


class Method(ABC):
    """A preference-alignment objective. Subclasses are frozen keyword-only dataclasses whose
    fields are the method's own hyperparameters.
    """

    name: ClassVar[str]
    version: ClassVar[int]
    needs: ClassVar[DataNeeds] = DataNeeds()
    uses_reference: ClassVar[bool] = True
    centred: ClassVar[bool] = False
    """Whether `losses` uses `batch.mean_delta`. It is known before the first gradient is taken, so
    a batch cut into micro-batches costs one more forward of each."""

    def halves(self, batch: Batch, step: StepContext) -> tuple[Half, ...]:
        """Return (a, b). Default: winner and loser noised with the same noise at the same t,
        both conditioned on the prompt c.

        Raises:
            ContractError: the batch has no losers.
        """
        if batch.loser is None:
            raise ContractError(f"{self.name} compares winners with losers; these pairs have none.")
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
    ) -> tuple[Target, ...]:
        """Return one target per half. Default: the true noise (or velocity)."""
        return tuple(step.true_target(h.clean, h.noise, step.t) for h in halves)

    def rollout(self, prediction: str) -> RolloutPlan | None:
        """Return how the policy is to be sampled from in each step, or None for not at all.

        Args:
            prediction: what the backbone predicts, `"epsilon"` or `"flow"`.
        """
        return None

    @abstractmethod
    def link(self, delta: Tensor) -> Tensor:
        """Map delta (B,) to a loss per pair (B,)."""

    def losses(self, delta: Tensor, batch: Batch) -> Tensor:
        """Return the loss of each pair (B,). Default: `link(delta)`. A method of single images
        overrides it to take their labels in; there, `link` is the loss of a desirable image.
        """
        return self.link(delta)

    def saturation(self, delta: Tensor) -> Tensor | None:
        """Return which pairs' loss no longer pulls, (B,) booleans: the metric `saturated`.

        Only looked at, with every line of metrics. Default: None, the method has no such notion.
        """
        return None

    def gate_open(self, delta: Tensor) -> Tensor | None:
        """Return which pairs' loss a gate lets through, (B,) booleans: the metric `gate_open`.

        Only looked at, with every line of metrics. Default: None, the method has no gate.
        """
        return None

    def desirable_share(self) -> float:
        """Return the share of desirable images among those a method with labels is shown."""
        return 0.5

    def config(self) -> dict[str, Any]:
        """Return the hyperparameters that enter the training's identity."""
        from dataclasses import asdict

        return asdict(self)  # type: ignore[call-overload,no-any-return]
