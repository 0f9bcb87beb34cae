"""How a training is shown before it starts: `bench train --dry-run`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from bench.cli._output import hanging
from bench.cli._progress import duration, size

if TYPE_CHECKING:
    from bench.executors.estimate import TrainingEstimate


def estimate_json(found: TrainingEstimate) -> dict[str, Any]:
    """Return an estimate as JSON-able data."""
    data = asdict(found)
    data["train"] = found.train.to_json()
    data["epochs"] = found.epochs
    data["memory_total"] = sum(found.memory.values())
    return data


def estimate_lines(found: TrainingEstimate) -> list[str]:
    """Return an estimate as lines for reading."""
    train = found.train
    share = f"{train.micro_batch} x {found.micro_batches} micro-batches"
    processes = "1 process" if found.processes == 1 else f"{found.processes} processes"
    warm_up = f", warm-up over {train.warmup_steps} updates" if train.warmup_steps else ""
    rows = {
        "method": _settings(found.method),
        "settings": found.settings,
        "data": _data(found),
        "effective batch": f"{train.batch} pairs = {share}, {processes}",
        "learning rate": f"{train.lr:g} (effective, whatever the number of devices){warm_up}",
        "steps": f"{train.steps} optimiser steps, {found.visits} pairs seen",
        "epochs": "not known" if found.epochs is None else f"{found.epochs:.2f} of {found.pairs}",
        "trained": _trained(found),
        "precision": {"no": "float32"}.get(train.precision, train.precision),
        "moving average": "none" if train.ema_decay is None else _average(found),
        "memory, estimate": _memory(found.memory),
        "time, estimate": f"{duration(3600 * found.hours)} on one device "
        f"({found.hours:.2f} device-hours), at the profile's speed",
        "artifact": found.artifact,
    }
    width = max(map(len, rows))
    lines = (hanging(f"  {name:<{width}}  ", text) for name, text in rows.items())
    return [found.label, *"\n".join(lines).splitlines()]


def _data(found: TrainingEstimate) -> str:
    """Return which data set, and what must be sampled for it."""
    if found.data_there:
        return f"{found.data}, which is there: no image to sample"
    if found.images is None:
        return f"{found.data}; how many images must be sampled for it is not known"
    if found.images == 0:
        return f"{found.data}: no image to sample"
    time = duration(3600 * found.data_hours)
    return f"{found.data}: {found.images:,} images to sample first, about {time}"


def _settings(method: Mapping[str, Any]) -> str:
    rest = ", ".join(f"{k} {v}" for k, v in method.items() if k != "name" and v is not None)
    return f"{method['name']} ({rest})" if rest else str(method["name"])


def _trained(found: TrainingEstimate) -> str:
    train = found.train
    what = "all weights"
    if train.mode == "lora":
        what = f"a LoRA of rank {train.lora_rank}, alpha {train.lora_alpha:g}"
    if found.trainable is None:
        return f"{what} (how many parameters is not known: the weights are not here)"
    return f"{what}: {found.trainable:,} of {found.parameters:,} parameters"


def _average(found: TrainingEstimate) -> str:
    train = found.train
    return f"decay {train.ema_decay:g}, {train.ema_rule}, every {train.ema_every} updates"


def _memory(memory: Mapping[str, int]) -> str:
    if not memory:
        return "not known: the network's weights are not here"
    parts = ", ".join(f"{name} {size(count)}" for name, count in memory.items())
    hint = "" if "activations" in memory else "; activations not known, they come on top"
    return f"about {size(sum(memory.values()))} ({parts}{hint})"
