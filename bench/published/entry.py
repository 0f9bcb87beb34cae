"""What an entry of published hyperparameters holds, and what the runner makes of it. No torch."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from bench.api.errors import UsageError, did_you_mean
from bench.training.beta import (
    kappa_from_beta_half_mean,
    kappa_from_beta_hf,
    kappa_from_beta_sum,
)

CONVENTIONS = ("beta_half_mean", "beta_hf", "beta_sum", "kappa")
MODES = ("full", "lora")
OPTIMISERS = ("adamw", "adafactor")


@dataclass(frozen=True, kw_only=True)
class Backbone:
    """A published backbone.

    Attributes:
        name: what `--backbone` takes.
        title: in words.
        family: adapter in `bench.backbones`.
        checkpoint: hub id.
        parameters: of the denoising network.
        latent_channels: C.
        downsampling: pixels per latent along each side.
        source: of `parameters`.
        activation_bytes: of one image of the size it was made for, float32: what a forward of the
            network of the published configuration saves for its backward, counted.
        resolution: sides of the images that it was made for, in pixels.
        forward_flops: floating-point operations of one forward of the network for one such image, a
            multiply-add as two; counted by `benchmarks/flops.py`, 0 where nobody has.
        decode_flops: of decoding one such image.
    """

    name: str
    title: str
    family: str
    checkpoint: str
    parameters: int
    latent_channels: int
    downsampling: int
    source: str
    activation_bytes: int = 0
    resolution: int = 512
    forward_flops: int = 0
    decode_flops: int = 0

    def latent_elements(self, resolution: int) -> int:
        """Return D = C*H*W of a square image with sides of `resolution` pixels."""
        side = resolution // self.downsampling
        return self.latent_channels * side * side


@dataclass(frozen=True, kw_only=True)
class Beta:
    """A strength with its convention, one of `CONVENTIONS`; see `bench.training.beta`."""

    value: float
    convention: str

    def __post_init__(self) -> None:
        if self.convention not in CONVENTIONS:
            hint = did_you_mean(str(self.convention), CONVENTIONS)
            raise UsageError(f"unknown convention of beta {self.convention!r}.{hint}")

    def kappa(self, latent_elements: int) -> float:
        """Return the coefficient of the difference of mean squares."""
        if self.convention == "beta_half_mean":
            return kappa_from_beta_half_mean(self.value)
        if self.convention == "beta_hf":
            return kappa_from_beta_hf(self.value)
        if self.convention == "beta_sum":
            return kappa_from_beta_sum(self.value, latent_elements)
        return float(self.value)


@dataclass(frozen=True, kw_only=True)
class Lora:
    """Rank, alpha and the modules an adapter is put on."""

    rank: int
    alpha: float
    targets: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Ema:
    """A moving average; `rule` as in `TrainConfig.ema_rule`, every so many optimiser steps."""

    decay: float
    rule: str = "constant"
    every: int = 1


@dataclass(frozen=True, kw_only=True)
class Sampler:
    """How images are sampled."""

    scheduler: str
    steps: int
    cfg_scale: float


@dataclass(frozen=True, kw_only=True)
class Stage:
    """One training.

    Attributes:
        name: of the stage; empty for a method without stages.
        alone: the method that is this stage by itself.
        mode: `"full"` or `"lora"`, and the adapter.
        beta, margin: of the loss.
        batch, lr: the effective ones.
        lr_as_stated: how the source states the rate.
        steps: optimiser steps up to the checkpoint that is used.
        warmup_updates: in optimiser steps, linear from 0.
        optimiser: `"adamw"` or `"adafactor"`, with `weight_decay`.
        max_grad_norm: of clipping.
        ema: None keeps none.
        precision: of the forwards, as in `TrainConfig.precision`.
        prompt_dropout: share of prompts left empty.
        gradient_checkpointing: activations are computed again in the backward.
        departures: in words, where this project does something else than was published.
    """

    name: str
    mode: str
    batch: int
    lr: float
    lr_as_stated: str
    steps: int
    warmup_updates: int
    optimiser: str
    weight_decay: float
    max_grad_norm: float
    precision: str
    alone: str | None = None
    lora: Lora | None = None
    beta: Beta | None = None
    margin: float | None = None
    ema: Ema | None = None
    prompt_dropout: float = 0.0
    gradient_checkpointing: bool = False
    departures: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name, known in (("mode", MODES), ("optimiser", OPTIMISERS)):
            value = getattr(self, name)
            if value not in known:
                raise UsageError(f"unknown {name} {value!r}.{did_you_mean(str(value), known)}")
        if (self.mode == "lora") != (self.lora is not None):
            raise UsageError(f"mode {self.mode!r} and lora belong together; found {self.lora}.")

    def train(self) -> dict[str, Any]:
        """Return fields of `bench.training.config.TrainConfig`."""
        found: dict[str, Any] = {
            "mode": self.mode,
            "batch": self.batch,
            "lr": self.lr,
            "steps": self.steps,
            "warmup_steps": self.warmup_updates,
            "optimiser": self.optimiser,
            "weight_decay": self.weight_decay,
            "max_grad_norm": self.max_grad_norm,
            "precision": self.precision,
            "gradient_checkpointing": self.gradient_checkpointing,
            "prompt_dropout": self.prompt_dropout,
            "ema_decay": None if self.ema is None else self.ema.decay,
        }
        if self.ema is not None:
            found |= {"ema_rule": self.ema.rule, "ema_every": self.ema.every}
        if self.lora is not None:
            found |= {
                "lora_rank": self.lora.rank,
                "lora_alpha": self.lora.alpha,
                "lora_targets": list(self.lora.targets),
            }
        return found


@dataclass(frozen=True, kw_only=True)
class Entry:
    """The settings published for a method on a backbone.

    Attributes:
        method: registry name.
        backbone: see `Backbone`.
        resolution: pixels along each side.
        pairs: what it is trained on, in words; `pair_count` of them where that is known.
        pair_sampler, evaluation_sampler: where images are sampled and it is stated how.
        timesteps: how t is drawn, in words.
        checkpoint_used: which one the published numbers are of.
        stages: the trainings, one where the method has no stages.
        sources: where the settings are from.
        contradictions: where sources contradict each other or themselves, and what is assumed.
        presets: methods of their own that are this one with one of its options.
    """

    method: str
    backbone: Backbone
    resolution: int
    pairs: str
    timesteps: str
    checkpoint_used: str
    stages: tuple[Stage, ...]
    sources: tuple[str, ...]
    contradictions: tuple[str, ...] = ()
    pair_count: int | None = None
    pair_sampler: Sampler | None = None
    evaluation_sampler: Sampler | None = None
    presets: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.sources:
            raise UsageError(f"published {self.method}.{self.backbone.name} names no source.")

    @property
    def latent_elements(self) -> int:
        """D = C*H*W of one image."""
        return self.backbone.latent_elements(self.resolution)

    def settings(self) -> dict[str, Any]:
        """Return the method's own fields: `kappa` and `margin`, where a stage states them."""
        found: dict[str, Any] = {}
        for stage in self.stages:
            if stage.beta is not None:
                found["kappa"] = stage.beta.kappa(self.latent_elements)
            if stage.margin is not None:
                found["margin"] = stage.margin
        return found

    def stage(self, name: str) -> Stage | None:
        """Return a stage by name; that of a method without stages has any name."""
        if len(self.stages) == 1 and not self.stages[0].name:
            return self.stages[0]
        return next((stage for stage in self.stages if stage.name == name), None)

    def only(self, stage: Stage) -> Entry:
        """Return the entry of one stage by itself."""
        return replace(self, method=stage.alone or self.method, stages=(replace(stage, name=""),))
