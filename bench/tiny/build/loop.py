"""One resumable training loop for the world's own networks.

The data of step k depend on (seed, k) alone, and the state on disk is replaced atomically, so a
build that was killed continues where it was and ends with the same weights.
"""

from __future__ import annotations

import logging
import math
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

log = logging.getLogger("bench.assets")


@dataclass(frozen=True, kw_only=True)
class LoopConfig:
    """Steps, peak rate of a one-cycle schedule, EMA decay (0: none), seconds between saves.

    `last_rate` is the share of the peak rate that is left at the end; 1 keeps it constant.
    """

    steps: int
    lr: float
    warmup: float = 0.05
    last_rate: float = 0.01
    weight_decay: float = 0.01
    ema: float = 0.0
    max_grad_norm: float = 1.0
    save_every_seconds: float = 60.0


def learning_rate(config: LoopConfig, step: int) -> float:
    """Return the one-cycle rate of a step: linear warm-up, then a cosine to `last_rate`."""
    warm = max(1, int(config.warmup * config.steps))
    if step < warm:
        return config.lr * (step + 1) / warm
    share = (step - warm) / max(1, config.steps - warm)
    last = config.last_rate
    return config.lr * (last + (1 - last) * 0.5 * (1 + math.cos(math.pi * share)))


def train_network(
    name: str,
    module: nn.Module,
    loss_of_step: Callable[[int], Tensor],
    config: LoopConfig,
    work: Path,
) -> dict[str, float]:
    """Train `module` in place by `loss_of_step(step)` and return {steps, seconds, loss}.

    With `config.ema` the module holds the averaged weights at the end. Continues from
    `work/state.safetensors` when it is there.
    """
    work.mkdir(parents=True, exist_ok=True)
    state_file = work / "state.safetensors"
    names = [n for n, p in module.named_parameters() if p.requires_grad]
    weights = [p for p in module.parameters() if p.requires_grad]
    optimiser = torch.optim.AdamW(weights, lr=config.lr, weight_decay=config.weight_decay)
    average = [p.detach().clone() for p in weights]
    start, seconds, running = 0, 0.0, float("nan")
    if state_file.is_file():
        start, seconds, running = _load(state_file, module, names, weights, average, optimiser)
        log.info("%s: continues at step %d of %d", name, start, config.steps)
    module.train()
    last_save = last_log = time.monotonic()
    for step in range(start, config.steps):
        began = time.monotonic()
        rate = learning_rate(config, step)
        for group in optimiser.param_groups:
            group["lr"] = rate
        loss = loss_of_step(step)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(weights, config.max_grad_norm)
        optimiser.step()
        if config.ema:
            decay = min(config.ema, (1 + step) / (10 + step))
            torch._foreach_lerp_(average, [p.detach() for p in weights], 1 - decay)
        value = float(loss.detach())
        if not math.isfinite(value):
            raise FloatingPointError(f"{name}: loss is {value} at step {step}")
        running = value if running != running else 0.98 * running + 0.02 * value
        seconds += time.monotonic() - began
        now = time.monotonic()
        if now - last_log > 15 or step + 1 == config.steps:
            left = (config.steps - step - 1) * seconds / (step + 1)
            log.info(
                "%s: step %d/%d loss %.5f, %.0f s left", name, step + 1, config.steps, running, left
            )
            last_log = now
        if now - last_save > config.save_every_seconds or step + 1 == config.steps:
            _save(
                state_file, module, names, weights, average, optimiser, step + 1, seconds, running
            )
            last_save = now
    if config.ema:
        with torch.no_grad():
            for parameter, mean in zip(weights, average, strict=True):
                parameter.copy_(mean)
    module.eval()
    return {"steps": float(config.steps), "seconds": round(seconds, 1), "loss": running}


def _save(
    file: Path,
    module: nn.Module,
    names: list[str],
    weights: list[nn.Parameter],
    average: list[Tensor],
    optimiser: torch.optim.Optimizer,
    step: int,
    seconds: float,
    running: float,
) -> None:
    tensors: dict[str, Tensor] = {}
    for name, weight, mean in zip(names, weights, average, strict=True):
        tensors[f"weight.{name}"] = weight.detach().contiguous()
        tensors[f"average.{name}"] = mean.contiguous()
        for key, value in optimiser.state[weight].items():
            tensors[f"adam.{key}.{name}"] = value.detach().clone().contiguous()
    for name, buffer in module.named_buffers():
        tensors[f"buffer.{name}"] = buffer.detach().clone().contiguous()
    temporary = file.with_suffix(".tmp")
    facts = {"step": str(step), "seconds": str(seconds), "running": str(running)}
    save_file(tensors, temporary, metadata=facts)
    with temporary.open("rb") as handle:
        os.fsync(handle.fileno())
    temporary.replace(file)


def _load(
    file: Path,
    module: nn.Module,
    names: list[str],
    weights: list[nn.Parameter],
    average: list[Tensor],
    optimiser: torch.optim.Optimizer,
) -> tuple[int, float, float]:
    tensors = load_file(file)
    with safe_open(file, framework="pt") as handle:
        facts = handle.metadata()
    with torch.no_grad():
        for name, weight, mean in zip(names, weights, average, strict=True):
            weight.copy_(tensors[f"weight.{name}"])
            mean.copy_(tensors[f"average.{name}"])
            optimiser.state[weight] = {
                key: tensors[f"adam.{key}.{name}"] for key in ("step", "exp_avg", "exp_avg_sq")
            }
        for name, buffer in module.named_buffers():
            buffer.copy_(tensors[f"buffer.{name}"])
    return int(facts["step"]), float(facts["seconds"]), float(facts["running"])
