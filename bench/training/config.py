"""The settings of a training run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from bench.api.errors import UsageError, did_you_mean
from bench.config import read

MODES = ("full", "lora")
REFERENCES = ("auto", "adapter_off", "adapter_copy", "frozen_copy", "frozen_checkpoint")
PRECISIONS = ("no", "bf16", "fp16")
SCHEDULES = ("constant_with_warmup",)
OPTIMISERS = ("adamw", "adafactor")
EMA_RULES = ("constant", "ramp")
LAST_AND_BEST, ALL = KEPT_EXPORTS = ("last-and-best", "all")

# How the work is cut and watched; the numbers do not depend on it beyond float rounding.
OUTSIDE_IDENTITY = (
    "micro_batch",
    "gradient_checkpointing",
    "save_every",
    "log_every",
    "keep_checkpoints",
    "keep_exports",
)

# Settings that came later: at these values a run is what it was without them, hash included.
ADDED: Mapping[str, Any] = {"ema_rule": "constant", "ema_every": 1, "prompt_dropout": 0.0}


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """Settings of one stage of training. Learning rate and batch are the *effective* ones.

    Attributes:
        steps: optimiser steps.
        batch: pairs per optimiser step, over all processes and micro-batches.
        micro_batch: pairs per forward on one process.
        lr: learning rate after warm-up; never scaled by batch or processes.
        warmup_steps: the rate rises linearly from 0 in the first step to `lr` in this one.
        schedule: `"constant_with_warmup"`.
        optimiser: `"adamw"`, with `adam_betas`, `adam_epsilon`, `weight_decay` (decoupled), or
            `"adafactor"`, with `weight_decay`: factored second moments, no first moment, at the
            given rate, as SDXL is trained by Diffusion-DPO.
        max_grad_norm: gradients are scaled down to this norm; None leaves them.
        mode: `"full"` trains all weights, `"lora"` an adapter of `lora_rank` and `lora_alpha`
            on `lora_targets` (None: the backbone's own list).
        reference: where the frozen reference comes from, see `bench.training.reference`.
        reference_checkpoint: network, pipeline or LoRA folder for `"frozen_checkpoint"`.
        ema_decay: weight of the past in the exponential moving average; None keeps none.
        ema_rule: `"constant"`, or `"ramp"`: the decay rises to `ema_decay`, see
            `bench.training.ema`.
        ema_every: optimiser steps between updates of the moving average.
        prompt_dropout: share of the visits that are trained on the empty prompt.
        precision: autocast dtype; the trained weights are float32 always.
        seed: of every random number of the run; 0 is a seed like any other.
        gradient_checkpointing: recompute activations in the backward to save memory.
        save_every: optimiser steps between checkpoints and exports; None saves the last alone.
        log_every: optimiser steps between lines of metrics, which are means over them.
        keep_checkpoints: how many of the newest checkpoints stay while it trains.
        keep_exports: which exports stay: `"last-and-best"`, the last and the one whose steps since
            the save before had the least mean loss, or `"all"`.

    Raises:
        UsageError: a value is out of range, or two contradict each other.
    """

    steps: int
    batch: int
    lr: float
    micro_batch: int = 8
    warmup_steps: int = 0
    schedule: str = "constant_with_warmup"
    optimiser: str = "adamw"
    adam_betas: tuple[float, float] = (0.9, 0.999)
    adam_epsilon: float = 1e-8
    weight_decay: float = 1e-2
    max_grad_norm: float | None = 1.0
    mode: str = "full"
    lora_rank: int = 8
    lora_alpha: float = 8.0
    lora_targets: tuple[str, ...] | None = None
    reference: str = "auto"
    reference_checkpoint: str | None = None
    ema_decay: float | None = None
    ema_rule: str = "constant"
    ema_every: int = 1
    prompt_dropout: float = 0.0
    precision: str = "no"
    seed: int = 0
    gradient_checkpointing: bool = False
    save_every: int | None = None
    log_every: int = 1
    keep_checkpoints: int = 2
    keep_exports: str = LAST_AND_BEST

    def __post_init__(self) -> None:
        for name in ("steps", "batch", "micro_batch", "lora_rank", "log_every", "keep_checkpoints"):
            self._at_least(name, 1)
        self._at_least("ema_every", 1)
        for name in ("warmup_steps", "seed", "weight_decay", "lr"):
            self._at_least(name, 0)
        if self.save_every is not None:
            self._at_least("save_every", 1)
        if self.max_grad_norm is not None and self.max_grad_norm <= 0:
            raise UsageError(f"max_grad_norm is {self.max_grad_norm}; expected above 0, or None.")
        if self.ema_decay is not None and not 0 <= self.ema_decay < 1:
            raise UsageError(
                f"ema_decay is {self.ema_decay}; expected 0 <= ema_decay < 1, or None."
            )
        if not 0 <= self.prompt_dropout < 1:
            raise UsageError(
                f"prompt_dropout is {self.prompt_dropout}; expected 0 <= prompt_dropout < 1."
            )
        for name, known in (
            ("ema_rule", EMA_RULES),
            ("mode", MODES),
            ("reference", REFERENCES),
            ("precision", PRECISIONS),
            ("schedule", SCHEDULES),
            ("optimiser", OPTIMISERS),
            ("keep_exports", KEPT_EXPORTS),
        ):
            value = getattr(self, name)
            if value not in known:
                raise UsageError(f"unknown {name} {value!r}.{did_you_mean(str(value), known)}")
        if self.mode == "full" and self.reference in ("adapter_off", "adapter_copy"):
            raise UsageError(
                f"reference {self.reference!r} needs mode 'lora': a full fine-tune has no adapter "
                "to switch. Use reference 'auto' or 'frozen_copy'."
            )
        if (self.reference == "frozen_checkpoint") != (self.reference_checkpoint is not None):
            raise UsageError(
                "reference 'frozen_checkpoint' and reference_checkpoint belong together; found "
                f"reference {self.reference!r} and reference_checkpoint "
                f"{self.reference_checkpoint!r}."
            )

    def _at_least(self, name: str, least: int) -> None:
        if not getattr(self, name) >= least:
            raise UsageError(f"{name} is {getattr(self, name)}; expected at least {least}.")

    def lr_at(self, step: int) -> float:
        """Return the learning rate of an optimiser step (counted from 0).

        With warm-up the first step has rate 0, as in diffusers' schedule of the same name.
        """
        if step >= self.warmup_steps:
            return self.lr
        return self.lr * step / self.warmup_steps

    def saves_at(self, step: int) -> bool:
        """Whether a checkpoint is due after `step` optimiser steps."""
        return step == self.steps or (self.save_every is not None and step % self.save_every == 0)

    def identity(self) -> dict[str, Any]:
        """Return the JSON-able settings that can change the trained weights.

        The path of a reference checkpoint is left out: its content counts, which the caller
        adds as a hash.
        """
        outside = (*OUTSIDE_IDENTITY, "reference_checkpoint")
        return {
            k: v
            for k, v in self.to_json().items()
            if k not in outside and (k not in ADDED or v != ADDED[k])
        }

    def to_json(self) -> dict[str, Any]:
        """Return all settings as a JSON-able mapping."""
        data = asdict(self)
        return {k: list(v) if isinstance(v, tuple) else v for k, v in data.items()}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> TrainConfig:
        """Read a mapping; lists become tuples.

        Raises:
            UsageError: a key is unknown, a required one is missing, or a value is of another type.
        """
        return read(cls, data, "training settings")
