"""What holds for every family: loading, training, resume, export, and stock diffusers beside it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from bench.api.errors import UsageError
from bench.api.method import Method
from bench.backbones import BACKBONES, PIPELINES, load_backbone
from bench.backbones.base import Backbone
from bench.backbones.condition import concatenate_conditions, select_condition
from bench.training.export import load_export
from methods.ddspo import DDSPO
from methods.diffusion_dpo import DiffusionDPO
from tests.backbones.stock import assert_stock_samples_alike
from tests.paper.hub_cache import add_repository
from tests.tiny_families import (
    FAMILIES,
    HUB_IDS,
    PROMPTS,
    probe,
    random_pairs,
    write_checkpoint,
)
from tests.training.runs import assert_equal_tensors, exported, run, saved

KAPPA = 20.0


@pytest.fixture(scope="module", params=FAMILIES)
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_checkpoint(request.param, tmp_path_factory.mktemp(request.param) / "checkpoint")


@pytest.fixture(scope="module")
def backbone(folder: Path) -> Backbone:
    return load_backbone(folder)


def predict(backbone: Backbone, denoiser: nn.Module) -> Tensor:
    with torch.no_grad():
        return backbone.predict(denoiser, *probe(backbone))


def test_the_real_hub_id_loads_from_a_cache_without_network(
    backbone: Backbone, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = HUB_IDS[backbone.family]
    snapshot = add_repository(tmp_path, name, folder)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    for revision in (None, snapshot.name):
        loaded = load_backbone(name, revision=revision, local_files_only=True)
        assert (loaded.family, loaded.checkpoint) == (backbone.family, name)
        assert_equal_tensors(
            dict(backbone.denoiser.state_dict()), dict(loaded.denoiser.state_dict())
        )


def test_a_text_s_condition_does_not_depend_on_the_batch(backbone: Backbone) -> None:
    together = backbone.encode_prompts(PROMPTS)
    alone = concatenate_conditions([backbone.encode_prompts([p]) for p in PROMPTS])
    assert together.keys() == alone.keys()
    for name, tensor in together.items():
        assert len(tensor) == len(PROMPTS)
        torch.testing.assert_close(tensor, alone[name], rtol=0, atol=1e-5)


def test_every_tensor_of_a_condition_reaches_the_network(backbone: Backbone) -> None:
    x_t, t, condition = probe(backbone)
    other = backbone.encode_prompts(PROMPTS[2:4])
    with torch.no_grad():
        plain = backbone.predict(backbone.denoiser, x_t, t, condition)
        for name in condition:
            if condition[name].dtype.is_floating_point:
                changed = {**condition, name: other[name]}
                found = backbone.predict(backbone.denoiser, x_t, t, changed)
                assert not torch.allclose(found, plain, atol=1e-6), name
        rows = [
            backbone.predict(
                backbone.denoiser, x_t[[i]], t[[i]], select_condition(condition, torch.tensor([i]))
            )
            for i in range(2)
        ]
    torch.testing.assert_close(torch.cat(rows), plain, rtol=1e-4, atol=1e-5)


def stop_after_two(step: int, steps: int, row: object) -> None:
    # a checkpoint is written after its step's line: in the third step the second is on disk
    if step == 3:
        raise InterruptedError


@pytest.mark.parametrize("mode", ["full", "lora"])
@pytest.mark.parametrize("method", [DDSPO, pytest.param(DiffusionDPO, marks=pytest.mark.slow)])
def test_training_resumes_bit_exactly_and_moves_only_what_it_should(
    backbone: Backbone, tmp_path: Path, method: type[Any], mode: str
) -> None:
    made: Method = method(kappa=KAPPA)
    base = {k: v.clone() for k, v in backbone.denoiser.state_dict().items()}
    options: dict[str, Any] = {"mode": mode, "lora_rank": 2, "lora_alpha": 3.0, "save_every": 1}
    pairs = random_pairs(backbone)
    whole = run(backbone, tmp_path / "whole", made, pairs=pairs, **options)
    with pytest.raises(InterruptedError):
        stop = {"progress": stop_after_two}
        run(backbone, tmp_path / "parts", made, pairs=pairs, options=stop, **options)
    assert (tmp_path / "parts/exports/step-00000002").is_dir()
    assert not (tmp_path / "parts/exports/step-00000003").is_dir()
    parts = run(backbone, tmp_path / "parts", made, pairs=pairs, **options)
    assert_equal_tensors(exported(whole), exported(parts))
    for group in ("trainable", "optimiser"):
        assert_equal_tensors(
            saved(tmp_path / "whole", group, 3), saved(tmp_path / "parts", group, 3)
        )
    assert_equal_tensors(base, dict(backbone.denoiser.state_dict()))
    first, last = (saved(tmp_path / "whole", "trainable", step) for step in (2, 3))
    assert all(torch.isfinite(v).all() for v in last.values())
    assert any(not torch.equal(first[k], last[k]) for k in last)


@pytest.mark.parametrize("mode", ["full", "lora"])
def test_exports_sample_alike_in_stock_diffusers(
    folder: Path, backbone: Backbone, tmp_path: Path, mode: str
) -> None:
    options: dict[str, Any] = {"mode": mode, "lora_rank": 2, "lora_alpha": 5.0, "lr": 2e-2}
    result = run(backbone, tmp_path, DDSPO(kappa=KAPPA), pairs=random_pairs(backbone), **options)
    network = load_export(backbone, result.export)
    assert not torch.allclose(predict(backbone, network), predict(backbone, backbone.denoiser))

    assert_stock_samples_alike(folder, backbone, result.export, mode)


def test_an_unknown_pipeline_lists_the_known_ones(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "model_index.json").write_text('{"_class_name": "StableDiffusionXLPipelin"}')
    with pytest.raises(UsageError, match="StableDiffusionXLPipelin;") as caught:
        load_backbone(tmp_path)
    assert all(name in str(caught.value) for name in PIPELINES)


@pytest.mark.parametrize("name", BACKBONES.names())
def test_a_misspelt_keyword_is_refused_before_anything_is_asked_for(name: str) -> None:
    with pytest.raises(TypeError, match="local_file_only"):
        BACKBONES.load(name)("owner/nowhere", local_file_only=True)
