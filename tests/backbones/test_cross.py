"""Every method on every family: finite, resumed to the bit, its export sampled by the library."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from bench.api.registry import METHODS
from bench.api.stages import StagedMethod, stages_of
from bench.backbones import load_backbone
from bench.backbones.base import Backbone
from bench.data.pairing import RePaired
from bench.spec.methods import make_method
from bench.training.export import load_export
from bench.training.runner import TrainResult
from bench.training.source import PairSource
from tests.backbones.stock import assert_stock_samples_alike
from tests.tiny_families import FAMILIES, random_pairs, write_checkpoint
from tests.training.runs import assert_equal_tensors, exported, rows, run

QUICK = {"sdxl": "diffusion-kto", "sana": "ddspo-not-paired"}
"""The part of the cross that quick tests run."""

PRESETS = {"ddspo-efficient"}
"""Settings alone: there by its presets."""

SETTINGS: dict[str, dict[str, Any]] = {
    "realalign": {"margin": 1.0},
    "realalign-stage1": {"margin": 1.0, "rollout_steps": 3},
    "ddspo-dd-cpp": {"fit_lr": 2e-2, "fit_steps": 3, "lora_rank": 2},
}


class StoppedError(Exception):
    """Stands for a killed process."""


def stop_at_three(step: int, steps: int, row: object) -> None:
    # a checkpoint is written after its step's line: in the third step the second is on disk
    if step == 3:
        raise StoppedError


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Checkpoints by family, written when they are asked for."""
    return {"": tmp_path_factory.mktemp("families")}


def checkpoint(folders: dict[str, Path], family: str) -> Path:
    if family not in folders:
        folders[family] = write_checkpoint(family, folders[""] / family)
    return folders[family]


def twice(backbone: Backbone, folder: Path, method: Any, **more: Any) -> TrainResult:
    """Train three steps in one go, and again with an interruption; both must end alike."""
    before = {k: v.clone() for k, v in backbone.denoiser.state_dict().items()}
    options, changes = more.pop("options", {}), {**more, "save_every": 1}
    whole = run(backbone, folder / "whole", method, options=options, **changes)
    with pytest.raises(StoppedError):
        stopped = {**options, "progress": stop_at_three}
        run(backbone, folder / "parts", method, options=stopped, **changes)
    parts = run(backbone, folder / "parts", method, options=options, **changes)
    ends = exported(whole)
    assert_equal_tensors(ends, exported(parts))
    assert all(bool(torch.isfinite(tensor).all()) for tensor in ends.values())
    assert all(math.isfinite(row["loss"]) for row in rows(whole))
    # what was loaded is not what is trained: the base's weights stay
    assert_equal_tensors(before, dict(backbone.denoiser.state_dict()))
    return whole


@pytest.mark.parametrize(
    ("family", "name"),
    [
        pytest.param(f, name, marks=() if QUICK.get(f) == name else pytest.mark.slow)
        for f in FAMILIES
        for name in sorted(set(METHODS.names()) - PRESETS)
    ],
)
def test_the_method_trains_on_the_family(
    family: str, name: str, folders: dict[str, Path], tmp_path: Path
) -> None:
    folder = checkpoint(folders, family)
    backbone = load_backbone(folder)
    frozen = {
        part: {k: v.clone() for k, v in module.state_dict().items()}
        for part, module in backbone.pipeline().components.items()
        if isinstance(module, nn.Module) and part != backbone.denoiser_name
    }
    method = make_method(METHODS.load(name), SETTINGS.get(name, {}))
    lora = isinstance(method, StagedMethod) or name.startswith("realalign")
    mode = {"mode": "lora", "lora_rank": 2, "lora_alpha": 2.0} if lora else {"mode": "full"}
    ends: dict[str, TrainResult] = {}
    last: TrainResult | None = None
    for stage in stages_of(method):
        pairs: PairSource = random_pairs(backbone)
        if stage.method.needs.pairing != "own":
            pairs = RePaired(pairs=pairs, pairing=stage.method.needs.pairing)
        options: dict[str, Any] = {
            "suppliers": {n: load_export(backbone, ends[n].export) for n in stage.suppliers}
        }
        if last is not None and stage.start == "previous":
            options["start_from"] = last.export
        train = {"lr": 2e-2, **stage.train, **mode, "steps": 3}
        last = twice(
            backbone, tmp_path / (stage.name or "only"), stage.method,
            pairs=pairs, options=options, **train,
        )  # fmt: skip
        ends[stage.name] = last
    assert last is not None
    for part, tensors in frozen.items():
        assert_equal_tensors(tensors, dict(getattr(backbone.pipeline(), part).state_dict()))
    assert_stock_samples_alike(folder, backbone, last.export, str(mode["mode"]), moved=False)
