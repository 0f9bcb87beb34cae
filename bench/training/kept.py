"""Which exports of a run stay on disk: a full network each, so all of them fill disks.

A checkpoint names the exports that a run going on from it has (`bench.training.resume`); those of
all checkpoints that are still there stay, too, until the last step is done.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Collection, Iterable
from contextlib import suppress
from pathlib import Path

from bench.training.checkpoint import STATE
from bench.training.config import TrainConfig

_EMA = "-ema"


def step_of(export: str) -> int:
    """Return the optimiser steps done at an export, by its folder's name."""
    return int(export.removesuffix(_EMA).rpartition("-")[2])


def exports_to_keep(config: TrainConfig, step: int, metrics: Path) -> set[int]:
    """Return the steps of the last export and of the best one, up to `step`."""
    saved = [number for number in range(1, step + 1) if config.saves_at(number)]
    return {step, best_of(saved, metrics)}


def best_of(saved: Iterable[int], metrics: Path) -> int:
    """Return the saved step with the least mean loss since the save before; the first of equals.

    It is what the training itself knows: loss on the pairs that were seen, not quality of images.

    Args:
        saved: steps of the saves, rising; at least one.
        metrics: JSONL file; each line has the mean `loss` of the steps since the line before, and
            no line goes across a save.
    """
    rows = [json.loads(line) for line in metrics.read_text(encoding="utf-8").splitlines()]
    means: dict[int, float] = {}
    before = 0
    for step in saved:
        total, last = 0.0, before
        for row in rows:
            if before < row["step"] <= step:
                total += float(row["loss"]) * (row["step"] - last)
                last = row["step"]
        means[step] = total / (step - before)
        before = step
    return min(means, key=lambda step: (means[step], step))


def exports_of_checkpoints(checkpoints: Path) -> set[str]:
    """Return the names of the exports that the checkpoints on disk know."""
    found: set[str] = set()
    for state in checkpoints.glob(f"step-*/{STATE}"):
        with suppress(OSError, ValueError):  # a damaged one is passed over when a run goes on
            found.update(json.loads(state.read_text(encoding="utf-8")).get("exports", {}))
    return found


def remove_exports(exports: Path, kept: Collection[str]) -> None:
    """Remove the folders of the exports that are not among `kept`."""
    for folder in exports.glob("step-*"):
        if folder.name not in kept:
            shutil.rmtree(folder, ignore_errors=True)
