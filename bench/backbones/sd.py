"""Stable Diffusion 1.x: UNet with epsilon prediction, one CLIP text encoder, AutoencoderKL.

A checkpoint is a folder written by `StableDiffusionPipeline.save_pretrained` or a hub id such as
`CompVis/stable-diffusion-v1-4`. Both are read by the same calls.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Unpack

import torch
from diffusers import AutoencoderKL, StableDiffusionPipeline, UNet2DConditionModel
from torch import Tensor, nn
from transformers import CLIPTextModel, CLIPTokenizer

from bench.api.errors import CorruptArtifactError
from bench.api.method import Condition
from bench.backbones.epsilon import EpsilonUNet
from bench.backbones.latents import Parts, frozen
from bench.backbones.loading import Family, How

PIPELINE_CLASS = "StableDiffusionPipeline"
LORA_TARGETS = ("to_q", "to_k", "to_v", "to_out.0")


class StableDiffusionBackbone(EpsilonUNet):
    """A loaded SD-1.x checkpoint; see `Backbone` for the attributes.

    Args:
        tokenizer, text_encoder: CLIP's.
        parts: see `Parts`.

    Raises:
        UsageError: the checkpoint does not predict the noise.
    """

    family = "sd"
    pipeline_arguments: ClassVar[Mapping[str, str]] = {"encoder_hidden_states": "prompt_embeds"}
    lora_targets = LORA_TARGETS

    def __init__(
        self,
        *,
        tokenizer: Any,
        text_encoder: Any,
        **parts: Unpack[Parts],
    ) -> None:
        super().__init__(**parts)
        self.tokenizer = tokenizer
        self.text_encoder = frozen(text_encoder)

    @torch.no_grad()
    def encode_prompts(self, prompts: Sequence[str]) -> dict[str, Tensor]:
        """Encode B texts: `encoder_hidden_states` (B, L, D), padded and cut to the model's L."""
        tokens = self.tokenizer(
            list(prompts),
            padding="max_length",
            max_length=self.tokenizer.model_max_length,
            truncation=True,
            return_tensors="pt",
        )
        masked = getattr(self.text_encoder.config, "use_attention_mask", False)
        mask = tokens.attention_mask.to(self.device) if masked else None
        hidden = self.text_encoder(tokens.input_ids.to(self.device), attention_mask=mask)[0]
        return {"encoder_hidden_states": hidden}

    def encode_negative_prompts(self, prompts: Sequence[str]) -> dict[str, Tensor]:
        """Encode B texts as `encode_prompts` does."""
        return self.encode_prompts(prompts)

    def predict(self, denoiser: nn.Module, x_t: Tensor, t: Tensor, condition: Condition) -> Tensor:
        """Return the predicted noise (B, C, H, W) under the condition, without guidance."""
        prediction: Tensor = denoiser(
            x_t, t, encoder_hidden_states=condition["encoder_hidden_states"], return_dict=False
        )[0]
        return prediction

    def pipeline(self, denoiser: nn.Module | None = None) -> StableDiffusionPipeline:
        """Return a pipeline over the same parts, safety checker off, no progress bar.

        Args:
            denoiser: network to sample from; None samples from the base.
        """
        pipeline = StableDiffusionPipeline(
            vae=self.vae,
            text_encoder=self.text_encoder,
            tokenizer=self.tokenizer,
            unet=self.denoiser if denoiser is None else denoiser,
            scheduler=self._sampler(),
            safety_checker=None,
            feature_extractor=None,
            requires_safety_checker=False,
        )
        pipeline.set_progress_bar_config(disable=True)
        return pipeline


def _require_fit(checkpoint: str, networks: Mapping[str, Any]) -> None:
    found = networks["text_encoder"].config.hidden_size
    expected = networks["denoiser"].config.cross_attention_dim
    if found != expected:
        raise CorruptArtifactError(
            f"{checkpoint}: the text encoder gives vectors of width {found}, the UNet expects "
            f"{expected}; the folder mixes two checkpoints. Fetch it again."
        )


FAMILY = Family(
    pipeline_class=PIPELINE_CLASS,
    title="SD-1.x",
    backbone=StableDiffusionBackbone,
    tokenizers={"tokenizer": CLIPTokenizer},
    networks={
        "text_encoder": CLIPTextModel,
        "vae": AutoencoderKL,
        "denoiser": UNet2DConditionModel,
    },
    require_fit=_require_fit,
)


def load_backbone(checkpoint: str | Path, **how: Unpack[How]) -> StableDiffusionBackbone:
    """Load an SD-1.x checkpoint; see `Family.load`."""
    return FAMILY.load(checkpoint, **how)
