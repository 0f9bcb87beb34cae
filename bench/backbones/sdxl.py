"""Stable Diffusion XL: a UNet with epsilon prediction, two CLIP text encoders and size conditions.

A checkpoint is a folder written by `StableDiffusionXLPipeline.save_pretrained` or a hub id such as
`stabilityai/stable-diffusion-xl-base-1.0`.

The text sequence is both encoders' last but one states side by side; the pooled vector is the
second's projection. A degraded prompt therefore replaces both: they are one condition.

The published VAE overflows in float16. Where its configuration says so (`force_upcast`) it stays in
float32; `madebyollin/sdxl-vae-fp16-fix`, put into the folder in its place, does not need that.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Unpack

import torch
from diffusers import AutoencoderKL, StableDiffusionXLPipeline, UNet2DConditionModel
from torch import Tensor, nn
from transformers import CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

from bench.api.errors import CorruptArtifactError
from bench.api.method import Condition
from bench.backbones.epsilon import EpsilonUNet
from bench.backbones.latents import Parts, frozen
from bench.backbones.loading import Family, How

log = logging.getLogger(__name__)
PIPELINE_CLASS = "StableDiffusionXLPipeline"
LORA_TARGETS = ("to_q", "to_k", "to_v", "to_out.0")
TIME_IDS = 6
"""Original height and width, top and left of the crop, target height and width, in pixels."""


class StableDiffusionXLBackbone(EpsilonUNet):
    """A loaded SDXL checkpoint; see `Backbone` for the attributes.

    Args:
        tokenizer, tokenizer_2, text_encoder, text_encoder_2: CLIP's.
        parts: see `Parts`.
        force_zeros_for_empty_prompt: whether guidance's other branch is all zeros where it has
            no prompt, as the checkpoint's `model_index.json` says.

    Raises:
        UsageError: the checkpoint does not predict the noise.
    """

    family = "sdxl"
    pipeline_arguments: ClassVar[Mapping[str, str]] = {
        "encoder_hidden_states": "prompt_embeds",
        "text_embeds": "pooled_prompt_embeds",
    }
    lora_targets = LORA_TARGETS

    def __init__(
        self,
        *,
        tokenizer: Any,
        tokenizer_2: Any,
        text_encoder: Any,
        text_encoder_2: Any,
        force_zeros_for_empty_prompt: bool = True,
        **parts: Unpack[Parts],
    ) -> None:
        super().__init__(**parts)
        self.tokenizer, self.tokenizer_2 = tokenizer, tokenizer_2
        self.text_encoder = frozen(text_encoder)
        self.text_encoder_2 = frozen(text_encoder_2)
        self.force_zeros_for_empty_prompt = force_zeros_for_empty_prompt

    @torch.no_grad()
    def encode_prompts(self, prompts: Sequence[str]) -> dict[str, Tensor]:
        """Encode B texts: `encoder_hidden_states` (B, L, D1 + D2) and `text_embeds` (B, P)."""
        first = self._outputs(self.tokenizer, self.text_encoder, prompts)
        second = self._outputs(self.tokenizer_2, self.text_encoder_2, prompts)
        states = [first.hidden_states[-2], second.hidden_states[-2]]
        return {
            "encoder_hidden_states": torch.cat(states, dim=-1),
            "text_embeds": second.text_embeds,
        }

    def _outputs(self, tokenizer: Any, encoder: Any, prompts: Sequence[str]) -> Any:
        tokens = tokenizer(
            list(prompts),
            padding="max_length",
            max_length=tokenizer.model_max_length,
            truncation=True,
            return_tensors="pt",
        )
        return encoder(tokens.input_ids.to(self.device), output_hidden_states=True)

    def encode_negative_prompts(self, prompts: Sequence[str]) -> dict[str, Tensor]:
        """Encode B texts; the empty one gives zeros where the checkpoint says so."""
        condition = self.encode_prompts(prompts)
        if self.force_zeros_for_empty_prompt:
            empty = torch.tensor([not prompt for prompt in prompts], device=self.device)
            for name, tensor in condition.items():
                mask = empty.view(-1, *[1] * (tensor.ndim - 1))
                condition[name] = tensor.masked_fill(mask, 0.0)
        return condition

    def time_ids(self, height: int, width: int) -> Tensor:
        """Return (6,): an image of height x width pixels that was neither resized nor cropped."""
        return torch.tensor([height, width, 0, 0, height, width], dtype=torch.float32)

    def predict(self, denoiser: nn.Module, x_t: Tensor, t: Tensor, condition: Condition) -> Tensor:
        """Return the predicted noise (B, C, H, W) under the condition, without guidance.

        A condition may hold `time_ids` (B, 6), see `TIME_IDS`. Without, they say what the
        pipeline says by default: the image has the latents' size, and no part was cut off.
        """
        states = condition["encoder_hidden_states"]
        ids = condition.get("time_ids")
        if ids is None:
            size = (side * self.vae_factor for side in x_t.shape[-2:])
            ids = self.time_ids(*size).expand(len(x_t), TIME_IDS)
        added = {"text_embeds": condition["text_embeds"], "time_ids": ids.to(states)}
        prediction: Tensor = denoiser(
            x_t, t, encoder_hidden_states=states, added_cond_kwargs=added, return_dict=False
        )[0]
        return prediction

    def pipeline(self, denoiser: nn.Module | None = None) -> StableDiffusionXLPipeline:
        """Return a pipeline over the same parts, without watermark or progress bar.

        Args:
            denoiser: network to sample from; None samples from the base.
        """
        pipeline = StableDiffusionXLPipeline(
            vae=self.vae,
            text_encoder=self.text_encoder,
            text_encoder_2=self.text_encoder_2,
            tokenizer=self.tokenizer,
            tokenizer_2=self.tokenizer_2,
            unet=self.denoiser if denoiser is None else denoiser,
            scheduler=self._sampler(),
            force_zeros_for_empty_prompt=self.force_zeros_for_empty_prompt,
            add_watermarker=False,
        )
        pipeline.set_progress_bar_config(disable=True)
        return pipeline


def _require_fit(checkpoint: str, parts: Mapping[str, Any]) -> None:
    unet, first, second = parts["denoiser"], parts["text_encoder"], parts["text_encoder_2"]
    states = first.config.hidden_size + second.config.hidden_size
    if unet.config.addition_embed_type != "text_time":
        raise CorruptArtifactError(
            f"{checkpoint}: the UNet takes no pooled text and sizes (addition_embed_type is "
            f"{unet.config.addition_embed_type!r}, expected 'text_time'); the folder mixes two "
            "checkpoints. Fetch it again."
        )
    added = second.config.projection_dim + TIME_IDS * unet.config.addition_time_embed_dim
    for what, found, expected in (
        ("states", states, unet.config.cross_attention_dim),
        ("pooled vector and sizes", added, unet.config.projection_class_embeddings_input_dim),
    ):
        if found != expected:
            raise CorruptArtifactError(
                f"{checkpoint}: the text encoders give {what} of width {found}, the UNet expects "
                f"{expected}; the folder mixes two checkpoints. Fetch it again."
            )


def _precision(name: str, network: Any, wanted: torch.dtype, checkpoint: str) -> torch.dtype:
    """Return float32 for a VAE that overflows in float16."""
    if name != "vae" or wanted != torch.float16 or not network.config.force_upcast:
        return wanted
    log.info(
        "the VAE of %s overflows in float16 and stays in float32; "
        "madebyollin/sdxl-vae-fp16-fix does not need that",
        checkpoint,
    )
    return torch.float32


def _options(index: Mapping[str, Any]) -> dict[str, Any]:
    return {"force_zeros_for_empty_prompt": bool(index.get("force_zeros_for_empty_prompt", True))}


FAMILY = Family(
    pipeline_class=PIPELINE_CLASS,
    title="SDXL base; not the refiner, which cannot start from noise",
    backbone=StableDiffusionXLBackbone,
    tokenizers={"tokenizer": CLIPTokenizer, "tokenizer_2": CLIPTokenizer},
    networks={
        "text_encoder": CLIPTextModel,
        "text_encoder_2": CLIPTextModelWithProjection,
        "vae": AutoencoderKL,
        "denoiser": UNet2DConditionModel,
    },
    require_fit=_require_fit,
    precision=_precision,
    options=_options,
)


def load_backbone(checkpoint: str | Path, **how: Unpack[How]) -> StableDiffusionXLBackbone:
    """Load an SDXL base checkpoint; see `Family.load`."""
    return FAMILY.load(checkpoint, **how)
