"""Trained networks in the formats users load: a diffusers network's folder or a LoRA folder."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from diffusers import StableDiffusion3Pipeline, StableDiffusionPipeline
from diffusers.utils import convert_state_dict_to_diffusers
from peft.utils import get_peft_model_state_dict
from safetensors.torch import save_file
from torch import Tensor, nn

from bench.api.errors import PrerequisiteError, UsageError
from bench.backbones.base import Backbone, place
from bench.backbones.hub import PipelineFiles
from bench.backbones.lora import attach
from bench.backbones.lora_files import LORA_FILE, find_lora
from bench.training.atomic import atomic_folder

NETWORK_FILE = "diffusion_pytorch_model.safetensors"
POLICY = "policy"
"""Name of the adapter that is trained."""
_LORA_WRITERS: Mapping[str, Any] = {
    "unet": StableDiffusionPipeline,
    "transformer": StableDiffusion3Pipeline,
}
"""A pipeline class for each kind of denoiser; the files of all of a kind are alike."""


def folder_kind(folder: Path) -> str:
    """Return `"lora"`, `"network"` or `"pipeline"`: what a folder of weights holds.

    Raises:
        PrerequisiteError: none of them.
    """
    if find_lora(folder) is not None:
        return "lora"
    for name, kind in (
        ("model_index.json", "pipeline"),
        ("config.json", "network"),
    ):
        if (folder / name).is_file():
            return kind
    raise PrerequisiteError(
        f"{folder} holds no trained network (no {LORA_FILE}, model_index.json or config.json)",
        fix="train it first, or name the folder of an export (exports/step-...)",
    )


def export_network(
    denoiser: nn.Module, folder: Path, weights: Mapping[str, Tensor] | None = None
) -> Path:
    """Write a full network as a folder that `from_pretrained` loads.

    Args:
        denoiser: a diffusers model without any adapter attached.
        folder: to be created or replaced, atomically.
        weights: written in place of the parameters they name (a moving average).

    Raises:
        UsageError: an adapter is attached: its keys would make the loader fill the attention
            layers at random.
        StoreError: it cannot be written.
    """
    state = {**denoiser.state_dict(), **(weights or {})}
    wrapped = [key for key in state if ".base_layer." in key or ".lora_" in key]
    if wrapped:
        raise UsageError(
            f"the network has an adapter attached ({wrapped[0]}); export the adapter, or fuse "
            "and unload it first."
        )
    with atomic_folder(folder) as temporary:
        denoiser.save_config(temporary)  # type: ignore[operator]
        packed = {name: tensor.detach().cpu().contiguous() for name, tensor in state.items()}
        save_file(packed, temporary / NETWORK_FILE, metadata={"format": "pt"})
    return folder


def export_lora(
    denoiser: nn.Module,
    folder: Path,
    weights: Mapping[str, Tensor] | None = None,
    *,
    component: str = "unet",
) -> Path:
    """Write the policy's adapter as a folder that `pipe.load_lora_weights` loads.

    Args:
        denoiser: a diffusers model with the adapter `"policy"`.
        folder: to be created or replaced, atomically.
        weights: written in place of the parameters they name (a moving average).
        component: what the pipeline calls the network, `Backbone.denoiser_name`.

    Raises:
        StoreError: it cannot be written.
    """
    full = {**denoiser.state_dict(), **(weights or {})}
    adapter = get_peft_model_state_dict(denoiser, state_dict=full, adapter_name=POLICY)
    # diffusers keeps two spellings: its own for UNets, peft's for transformers. Its own knows
    # attention alone, and of a file with both its reader takes those of one
    layers = convert_state_dict_to_diffusers(adapter) if component == "unet" else adapter
    if any(".lora_A." in key for key in layers):
        layers = adapter
    configuration: Any = denoiser.peft_config
    with atomic_folder(folder) as temporary:
        _LORA_WRITERS[component].save_lora_weights(
            temporary,
            weight_name=LORA_FILE,
            **{
                f"{component}_lora_layers": {
                    k: v.detach().cpu().contiguous() for k, v in layers.items()
                },
                # without the metadata a reader takes alpha for the rank
                f"{component}_lora_adapter_metadata": _plain(configuration[POLICY].to_dict()),
            },
        )
        sort_metadata(temporary / LORA_FILE)
    return folder


def sort_metadata(file: Path) -> None:
    """Sort the metadata in a safetensors file's header, which are written in random order.

    The header keeps its length (the format allows trailing spaces), so the tensors stay put.
    """
    with file.open("r+b") as stream:
        length = int.from_bytes(stream.read(8), "little")
        header = json.loads(stream.read(length))
        header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
        text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
        if len(text) > length:
            raise ValueError(f"the header of {file} grew from {length} to {len(text)} bytes")
        stream.seek(8)
        stream.write(text.ljust(length))


def _plain(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return an adapter's configuration with sets as sorted lists, so that bytes repeat."""
    return {k: sorted(v) if isinstance(v, set | frozenset) else v for k, v in config.items()}


def load_export(
    backbone: Backbone,
    folder: Path,
    *,
    adapter: str = POLICY,
    dtype: torch.dtype | None = None,
    device: torch.device | str | None = None,
) -> nn.Module:
    """Return the network of an export, ready for `backbone.pipeline(denoiser)`.

    Args:
        backbone: the checkpoint the training started from; it is left as it is.
        folder: a network's, pipeline's or LoRA folder. A LoRA stays attached, active, as `adapter`.
        adapter: name for a LoRA.
        dtype, device: of the network returned; those of the backbone where None.

    Raises:
        PrerequisiteError: the folder holds no network.
        CorruptArtifactError: the weights do not fill the network.
    """
    base = backbone.denoiser
    kind = folder_kind(folder)
    if kind == "lora":
        network = attach(copy.deepcopy(base), folder, adapter, component=backbone.denoiser_name)
    else:
        files = PipelineFiles(checkpoint=str(folder), revision=None, local_files_only=True)
        part = backbone.denoiser_name if kind == "pipeline" else None
        network = files.load_weights(type(base), part)
    wanted = next(base.parameters()).dtype if dtype is None else dtype
    return place(network, device or backbone.device, wanted).eval()
