"""The settings of the 2D toy (DDSPO, Fig. 2) as data. No torch.

The paper shows the figure and gives neither the number of modes nor radius, noise, network,
schedule, learning rate or sampler, and no code was released. What is chosen here is this project's
own, stated in full, and can be changed with `--set`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from bench.api.errors import UsageError
from bench.config import construct, override

PAIR_SOURCES = ("clean", "noisy")


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

    classes: int = 8
    radius: float = 4.0
    std: float = 0.3
    noisy_std: float = 0.9
    label_flip: float = 0.1

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

    width: int = 96
    layers: int = 3
    steps: int = 1000
    batch: int = 256
    lr: float = 4e-3
    gate: float = 0.05


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

    steps: int = 45
    batch: int = 64
    lr: float = 2e-4
    pairs_from: str = "clean"

    def __post_init__(self) -> None:
        if self.steps % 9 or self.steps < 9:
            raise UsageError(f"finetune.steps is {self.steps}; expected a multiple of 9.")
        if self.pairs_from not in PAIR_SOURCES:
            raise UsageError(
                f"finetune.pairs_from is {self.pairs_from!r}; expected one of "
                f"{', '.join(PAIR_SOURCES)}."
            )


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """How samples are drawn and measured: DDIM (eta 0) without guidance.

    Attributes:
        steps: of the sampler.
        per_class: samples of each class behind the table's numbers.
        trace_per_class: the first so many of them, behind the distances before the last step.
        projections: directions of the sliced Wasserstein distance.
    """

    steps: int = 25
    per_class: int = 200
    trace_per_class: int = 100
    projections: int = 32


@dataclass(frozen=True, kw_only=True)
class MethodRow:
    """A method of the table: registry name or path, and its own settings.

    Attributes:
        key: prefix of its rows.
        label: what the table shows.
        method: registry name, `pkg.mod:Class` or `file.py:Class`.
        settings: of the method's class.
        lr: in place of the common one.
        variants: whose references it is trained from.
    """

    key: str
    label: str
    method: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    lr: float | None = None
    variants: tuple[str, ...] = ("learned", "exact")


@dataclass(frozen=True, kw_only=True)
class ToySettings:
    """All settings.

    Attributes:
        ring, base, finetune, sampling: see the classes.
        timesteps: T of the noise schedule.
        beta_start, beta_end: its linear ends.
        pairs_per_class: the N of the table's rows.
        beta: `beta_half_mean` of both methods; 400 is on the authors' project page.
        tuned: beta and learning rate of each method's tuned rows: those of the least energy
            distance to the truth after the last step at N = 2, on seeds that the table does not
            use (`results/sweeps/fig2/points.json`).
    """

    ring: Ring = field(default_factory=Ring)
    base: BaseTraining = field(default_factory=BaseTraining)
    finetune: FineTuning = field(default_factory=FineTuning)
    sampling: Sampling = field(default_factory=Sampling)
    timesteps: int = 1000
    beta_start: float = 1e-4
    beta_end: float = 0.02
    pairs_per_class: tuple[int, ...] = (1, 2, 5, 20)
    beta: float = 400.0
    tuned: Mapping[str, Mapping[str, float]] = field(
        default_factory=lambda: {
            "diffusion-dpo": {"beta": 1.5, "lr": 2e-5},
            "ddspo": {"beta": 1.5, "lr": 2e-5},
        }
    )

    def __post_init__(self) -> None:
        found = tuple(self.pairs_per_class)
        if not found or min(found) < 1 or sorted(set(found)) != list(found):
            raise UsageError(f"pairs_per_class is {found}; expected ascending numbers from 1.")
        object.__setattr__(self, "pairs_per_class", found)

    def to_json(self) -> dict[str, Any]:
        """Return a JSON-able mapping."""
        data = asdict(self)
        data["pairs_per_class"] = list(self.pairs_per_class)
        return data

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> ToySettings:
        """Read a mapping; what is left out keeps its default.

        Raises:
            UsageError: a key is unknown or a value out of range.
        """
        parts = {"ring": Ring, "base": BaseTraining, "finetune": FineTuning, "sampling": Sampling}
        given: dict[str, Any] = {
            key: construct(part, data[key], f"toy settings, {key}")
            for key, part in parts.items()
            if key in data
        }
        rest = {key: value for key, value in data.items() if key not in parts}
        return construct(cls, rest, "toy settings", **given)


def toy_settings(overrides: Sequence[str] = ()) -> ToySettings:
    """Return the settings with `"key.key=value"` changes.

    Raises:
        UsageError: a key is unknown, or a value is out of range.
    """
    data = ToySettings().to_json()
    for assignment in overrides:
        override(data, assignment)
    return ToySettings.from_json(data)
