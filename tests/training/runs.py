"""Short runs and what they left, for the tests of the training loop."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from bench.api.method import Method
from bench.backbones.base import Backbone
from bench.training.config import TrainConfig
from bench.training.runner import TrainResult, train
from methods.ddspo import DDSPO
from tests.training.nets import tiny_pairs

KAPPA = 20.0


def settings(**changes: Any) -> TrainConfig:
    """Three steps of six pairs, large enough a rate to move the network; all exports stay."""
    base = {"steps": 3, "batch": 6, "micro_batch": 6, "lr": 1e-3, "weight_decay": 0.0}
    return TrainConfig(**{**base, "keep_exports": "all", **changes})


def run(
    backbone: Backbone,
    work_dir: Path,
    method: Method | None = None,
    *,
    pairs: Any = None,
    options: dict[str, Any] | None = None,
    **changes: Any,
) -> TrainResult:
    """Train with small settings; `changes` go into them, `options` to `train`."""
    return train(
        DDSPO(kappa=KAPPA) if method is None else method,
        backbone,
        tiny_pairs() if pairs is None else pairs,
        settings(**changes),
        work_dir=work_dir,
        **(options or {}),
    )


def rows(result: TrainResult) -> list[dict[str, float]]:
    """The lines of metrics."""
    return [json.loads(line) for line in result.metrics.read_text().splitlines()]


def exported(result: TrainResult) -> dict[str, Tensor]:
    """All tensors of the last export."""
    (file,) = result.export.glob("*.safetensors")
    return load_file(file)


def saved(work_dir: Path, group: str, step: int) -> dict[str, Tensor]:
    """A group of tensors of a checkpoint."""
    return load_file(work_dir / "checkpoints" / f"step-{step:08d}" / f"{group}.safetensors")


def gradients(work_dir: Path) -> dict[str, Tensor]:
    """The first step's gradients, read back from Adam's first moment after one step."""
    moments = saved(work_dir, "optimiser", 1)
    return {k: v / 0.1 for k, v in moments.items() if k.endswith("/exp_avg")}


def relative_difference(one: dict[str, Tensor], two: dict[str, Tensor]) -> float:
    """Norm of the difference over the norm, all tensors together."""
    assert one.keys() == two.keys()
    flat = [torch.cat([d[k].double().flatten() for k in sorted(d)]) for d in (one, two)]
    return float((flat[0] - flat[1]).norm() / flat[0].norm())


def assert_equal_tensors(one: dict[str, Tensor], two: dict[str, Tensor]) -> None:
    """Every tensor is equal to the bit."""
    assert one.keys() == two.keys()
    for name, tensor in one.items():
        assert torch.equal(tensor, two[name]), name
