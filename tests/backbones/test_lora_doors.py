"""LoRA files as people have them: renamed, doubled, half configured. Nothing is guessed of them."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from bench.api.errors import BenchError
from bench.backbones.lora_files import lora_facts
from bench.generation.weights import content_hash

MODULES = ("down.to_q", "up.to_q")
SHAPES = {f"{module}.weight": (6, 4) for module in MODULES}


def tensors(mark: str, *, alpha: float | None = None, rank: int = 2) -> dict[str, torch.Tensor]:
    """Two layers as `unet`, `transformer`, `base_model.model` or `lora_unet` spells them."""
    found = {}
    for module in MODULES:
        if mark == "lora_unet":
            name = f"lora_unet_{module.replace('.', '_')}"
            halves = (f"{name}.lora_down.weight", f"{name}.lora_up.weight")
        else:
            name = f"{mark}.{module}"
            halves = (f"{name}.lora_A.weight", f"{name}.lora_B.weight")
        found[halves[0]], found[halves[1]] = torch.ones(rank, 4), torch.ones(6, rank)
        if alpha is not None:
            found[f"{name}.alpha"] = torch.tensor(alpha)
    return found


def config(folder: Path, **more: Any) -> None:
    settings = {"peft_type": "LORA", "r": 2, "lora_alpha": 16, **more}
    (folder / "adapter_config.json").write_text(json.dumps(settings))


def alphas(place: Path) -> tuple[float, ...]:
    facts = lora_facts(place)
    facts.placed(SHAPES, "net")
    return facts.alphas


@pytest.mark.parametrize(
    ("found", "hint"),
    [
        ({**tensors("lora_unet"), "lora_unet_x.alpha": torch.tensor(3.0)}, "is of no layer"),
        ({**tensors("unet"), **tensors("transformer")}, "two layers for the module down.to_q"),
        ({**tensors("unet"), **tensors("lora_unet")}, "two layers for the module down.to_q"),
        (tensors("lora_unet", alpha=float("nan")), "alpha of down_to_q is nan; expected a number"),
        (tensors("base_model.model"), "written by peft, and there is no adapter_config.json"),
    ],
)
def test_a_file_that_says_two_things_is_refused(
    found: dict[str, torch.Tensor], hint: str, tmp_path: Path
) -> None:
    save_file(found, tmp_path / "my.safetensors")
    with pytest.raises(BenchError, match=hint):
        alphas(tmp_path)


def test_a_file_of_peft_under_another_name_takes_the_alpha_beside_it(tmp_path: Path) -> None:
    file = tmp_path / "renamed.safetensors"
    save_file(tensors("base_model.model"), file)
    config(tmp_path)
    assert alphas(file) == (16.0,)
    before = content_hash(file)
    config(tmp_path, lora_alpha=4)
    assert alphas(file) == (4.0,) and content_hash(file) != before


@pytest.mark.parametrize("mark", ["unet", "lora_unet"])
def test_a_configuration_beside_a_file_that_is_not_peft_s_is_none_of_its(
    mark: str, tmp_path: Path
) -> None:
    file = tmp_path / "mine.safetensors"
    save_file(tensors(mark, alpha=1.0 if mark == "lora_unet" else None), file)
    alone = content_hash(file)
    config(tmp_path)
    assert alphas(file) == ((1.0,) if mark == "lora_unet" else (2.0,))
    assert content_hash(file) == alone


@pytest.mark.parametrize(
    ("more", "hint"),
    [
        ({"init_lora_weights": "pissa"}, "init_lora_weights is 'pissa', which cannot be read"),
        ({"init_lora_weights": "olora"}, "init_lora_weights is 'olora'"),
        ({"layer_replication": [[0, 2]]}, "layer_replication"),
        ({"modules_to_save": ["conv_in"]}, "modules_to_save"),
        ({"target_parameters": ["x"]}, "target_parameters"),
        ({"use_qalora": True}, "use_qalora"),
        ({"alora_invocation_tokens": [1]}, "alora_invocation_tokens"),
        ({"use_rslora": "yes"}, "use_rslora is 'yes'; expected true or false"),
        ({"lora_alpha": "16"}, "lora_alpha '16' for down.to_q; expected a number"),
        ({"alpha_pattern": {"[": 8}}, "a pattern of its configuration is none"),
        ({"r": 4}, "weights and configuration are of two adapters"),
    ],
)
def test_a_configuration_that_adds_more_than_a_lora_is_refused(
    more: dict[str, Any], hint: str, tmp_path: Path
) -> None:
    save_file(tensors("base_model.model"), tmp_path / "adapter_model.safetensors")
    config(tmp_path, modules_to_save=None, init_lora_weights="gaussian")
    assert alphas(tmp_path) == (16.0,)
    config(tmp_path, **more)
    with pytest.raises(BenchError, match=hint):
        alphas(tmp_path)


def test_a_key_twice_is_refused(tmp_path: Path) -> None:
    save_file(tensors("base_model.model"), tmp_path / "adapter_model.safetensors")
    (tmp_path / "adapter_config.json").write_text('{"r": 2, "lora_alpha": 16, "lora_alpha": 4}')
    with pytest.raises(BenchError, match="the key 'lora_alpha' stands there twice"):
        alphas(tmp_path)


@pytest.mark.parametrize("other", ["adapter_model.safetensors", "step-500.safetensors"])
def test_two_loras_in_a_folder_are_refused(other: str, tmp_path: Path) -> None:
    save_file(tensors("unet"), tmp_path / "pytorch_lora_weights.safetensors")
    save_file({"emb": torch.ones(2)}, tmp_path / "embedding.safetensors")
    assert alphas(tmp_path) == (2.0,)
    save_file(tensors("unet"), tmp_path / other)
    with pytest.raises(BenchError, match="holds several LoRAs"):
        alphas(tmp_path)


def test_a_header_that_speaks_of_an_alpha_that_is_gone_is_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    about = {"ss_network_alpha": "1", "ss_network_dim": "2"}
    save_file(tensors("unet"), tmp_path / "my.safetensors", metadata=about)
    with caplog.at_level(logging.WARNING):
        assert alphas(tmp_path) == (2.0,)
    assert "speaks of alpha 1 and rank 2, its tensors of no alpha" in caplog.text
