"""The accelerator of a training, by the training's settings alone.

accelerate reads settings of other programs from the environment (`accelerate launch` leaves some
there) and shares its state among all that a process trains: both could change numbers, and are
part of no identity.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from accelerate.utils import GradientAccumulationPlugin

from bench.api.errors import UsageError
from bench.training.config import TrainConfig

_PREFIX = "ACCELERATE_"
_OF_THE_MACHINE = ("USE_CPU", "TORCH_DEVICE", "CPU_AFFINITY", "DEBUG_MODE")


def accelerator_of(config: TrainConfig, device: torch.device) -> Any:
    """Return the accelerator that trains by `config` on `device`.

    Raises:
        UsageError: the precision needs another device.
    """
    cpu = device.type == "cpu"
    if cpu and config.precision == "fp16":
        raise UsageError("precision 'fp16' needs a GPU; use 'no' or 'bf16' on a CPU.")
    state = AcceleratorState._shared_state
    if state and state.get("_mixed_precision") != config.precision:
        # accelerate keeps one precision per process; an earlier run of this process set another
        AcceleratorState._reset_state()
    with _without_settings():
        made = Accelerator(
            mixed_precision=config.precision,
            cpu=cpu,
            # the runner's micro-batches are shares of one batch already
            gradient_accumulation_plugin=GradientAccumulationPlugin(num_steps=1),
        )
    # an accumulation of the caller's own may have stopped half-way: then no step would be taken
    made.gradient_state._set_sync_gradients(True)
    return made


@contextmanager
def _without_settings() -> Iterator[None]:
    """Hide accelerate's variables, but those that say what the machine is."""
    kept = [f"{_PREFIX}{name}" for name in _OF_THE_MACHINE]
    hidden = {k: v for k, v in os.environ.items() if k.startswith(_PREFIX) and k not in kept}
    for name in hidden:
        del os.environ[name]
    try:
        yield
    finally:
        os.environ.update(hidden)
