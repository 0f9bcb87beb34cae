"""A family of your own: Stable Diffusion 1.x trained more often where images are mostly noise.

    python -m bench validate examples/my_backbone.py:load_backbone --checkpoint DIR

A family is a module with `load_backbone` and `PIPELINE_CLASS`, the `_class_name` that its
checkpoints' `model_index.json` holds. An installed package says so in its pyproject.toml, and every
verb then takes its checkpoints:

    [project.entry-points."bench.backbones"]
    sd-noisier = "my_backbone:load_backbone"
"""

from pathlib import Path

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from torch import Tensor
from transformers import CLIPTextModel, CLIPTokenizer

from bench.backbones.base import place, resolve_dtype
from bench.backbones.hub import Source
from bench.backbones.sd import StableDiffusionBackbone

PIPELINE_CLASS = "NoisierDiffusionPipeline"


class NoisierDiffusion(StableDiffusionBackbone):
    """As its base, but that t is drawn with a density that grows linearly."""

    family = "sd-noisier"

    def timesteps(self, uniform: Tensor) -> Tensor:
        """Map (B,) numbers uniform in [0, 1) to timesteps (B,)."""
        return super().timesteps(uniform.sqrt())


def load_backbone(
    checkpoint: str | Path,
    *,
    revision: str | None = None,
    dtype: str | torch.dtype = "float32",
    device: str | torch.device = "cpu",
    local_files_only: bool = False,
) -> NoisierDiffusion:
    """Load a checkpoint; arguments and errors as those of `bench.backbones.load_backbone`."""
    source = Source(
        checkpoint=str(checkpoint), revision=revision, local_files_only=local_files_only
    )
    source.index_of(PIPELINE_CLASS, "noisier SD-1.x")
    networks = {
        "text_encoder": source.load_weights(CLIPTextModel, "text_encoder"),
        "vae": source.load_weights(AutoencoderKL, "vae"),
        "denoiser": source.load_weights(UNet2DConditionModel, "unet"),
    }
    for network in networks.values():
        place(network, device, resolve_dtype(dtype))
    return NoisierDiffusion(
        checkpoint=source.checkpoint,
        revision=revision,
        tokenizer=source.load_tokenizer(CLIPTokenizer, "tokenizer"),
        scheduler=source.load_scheduler(),
        **networks,
    )
