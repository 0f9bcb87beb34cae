"""Exports load in diffusers and give the trained network's outputs."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from diffusers import UNet2DConditionModel
from safetensors import safe_open
from torch import Tensor

from bench.api.errors import UsageError
from bench.backbones.sd import StableDiffusionBackbone
from bench.training.export import export_lora, export_network, load_export
from bench.training.networks import build_policy
from bench.training.session import open_session
from methods.ddspo import DDSPO
from tests.precision import FORWARD
from tests.training.nets import LATENT, TEXT_WIDTH, TOKENS, normal, tiny_pairs
from tests.training.runs import KAPPA, assert_equal_tensors, exported, run, settings

X = normal((2, *LATENT), 31)
T = torch.tensor([50, 700])
CONDITION = {"encoder_hidden_states": normal((2, TOKENS, TEXT_WIDTH), 32)}


def predict(backbone: StableDiffusionBackbone, denoiser: torch.nn.Module) -> Tensor:
    with torch.no_grad():
        return backbone.predict(denoiser, X, T, CONDITION)


def trained(backbone: StableDiffusionBackbone, work_dir: Path, **changes: object) -> Tensor:
    """What the finished run's own network predicts."""
    with open_session(
        DDSPO(kappa=KAPPA),
        backbone,
        tiny_pairs(),
        settings(**changes),
        work_dir=work_dir,
        start_from=None,
        resume=True,
    ) as session:
        assert session.step == 3
        return predict(backbone, session.denoiser)


def test_full_export_loads_with_from_pretrained(
    backbone: StableDiffusionBackbone, tmp_path: Path
) -> None:
    result = run(backbone, tmp_path)
    unet, info = UNet2DConditionModel.from_pretrained(
        result.export, use_safetensors=True, output_loading_info=True
    )
    assert not info["missing_keys"] and not info["unexpected_keys"]
    assert not any("base_layer" in key or "lora" in key for key in exported(result))
    assert torch.equal(predict(backbone, unet.eval()), trained(backbone, tmp_path))
    assert torch.equal(
        predict(backbone, load_export(backbone, result.export)), trained(backbone, tmp_path)
    )


def test_lora_export_loads_with_load_lora_weights(
    backbone: StableDiffusionBackbone, tmp_path: Path
) -> None:
    # alpha unlike rank: a reader that does not know alpha scales the adapter wrongly
    options = {"mode": "lora", "lora_rank": 4, "lora_alpha": 10.0}
    result = run(backbone, tmp_path, **options)
    expected = trained(backbone, tmp_path, **options)
    base = predict(backbone, backbone.denoiser)
    assert not torch.allclose(expected, base, atol=1e-3)

    pipeline = backbone.pipeline(copy.deepcopy(backbone.denoiser))
    pipeline.load_lora_weights(result.export, use_safetensors=True)
    torch.testing.assert_close(predict(backbone, pipeline.unet), expected, rtol=0, atol=FORWARD)
    pipeline.unload_lora_weights()
    assert torch.equal(predict(backbone, pipeline.unet), base)

    loaded = load_export(backbone, result.export)
    torch.testing.assert_close(predict(backbone, loaded), expected, rtol=0, atol=FORWARD)
    assert torch.equal(predict(backbone, backbone.denoiser), base)
    names = list(exported(result))
    assert names and all(name.startswith("unet.") for name in names)
    assert not any("base_layer" in name or "policy" in name for name in names)


def test_a_pipeline_with_the_export_makes_images(
    backbone: StableDiffusionBackbone, tmp_path: Path
) -> None:
    def image(denoiser: torch.nn.Module | None) -> Tensor:
        pipeline = backbone.pipeline(denoiser)
        out = pipeline(
            ["a red circle"],
            num_inference_steps=3,
            height=8,
            width=8,
            generator=torch.Generator().manual_seed(0),
            output_type="pt",
        )
        return out.images

    result = run(backbone, tmp_path, steps=3, lr=1e-2)
    assert not torch.allclose(image(None), image(load_export(backbone, result.export)), atol=1e-3)
    assert torch.equal(image(None), image(None))


def test_a_network_with_an_adapter_is_not_exported_as_a_full_one(
    backbone: StableDiffusionBackbone, tmp_path: Path
) -> None:
    policy = build_policy(backbone, settings(mode="lora"), None)
    with pytest.raises(UsageError, match="adapter attached"):
        export_network(policy, tmp_path / "export")
    assert not (tmp_path / "export").exists()


def test_repeated_exports_are_equal_byte_for_byte(
    backbone: StableDiffusionBackbone, tmp_path: Path
) -> None:
    for mode in ("full", "lora"):
        first = run(backbone, tmp_path / mode, mode=mode)
        files = [next(first.export.glob("*.safetensors"))]
        with open_session(
            DDSPO(kappa=KAPPA),
            backbone,
            tiny_pairs(),
            settings(mode=mode),
            work_dir=tmp_path / mode,
            start_from=None,
            resume=True,
        ) as session:
            write = export_lora if mode == "lora" else export_network
            for number in range(4):  # metadata once came in random order
                folder = write(session.denoiser, tmp_path / f"{mode}-{number}")
                files.append(next(folder.glob("*.safetensors")))
        assert len({file.read_bytes() for file in files}) == 1
        with safe_open(files[0], framework="pt") as file:
            assert all(file.get_tensor(k).dtype is torch.float32 for k in file.keys())  # noqa: SIM118


def test_every_saved_step_is_exported(backbone: StableDiffusionBackbone, tmp_path: Path) -> None:
    result = run(backbone, tmp_path / "all", steps=5, save_every=2, keep_checkpoints=1)
    assert list(result.exports) == [2, 4, 5]
    checkpoints = sorted(p.name for p in (tmp_path / "all" / "checkpoints").iterdir())
    assert checkpoints == ["step-00000005"]
    # the export of step 2 is what a run of two steps gives
    short = run(backbone, tmp_path / "short", steps=2)
    assert_equal_tensors(exported(replace(result, export=result.exports[2])), exported(short))
