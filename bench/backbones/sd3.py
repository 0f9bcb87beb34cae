"""Stable Diffusion 3 and 3.5: a flow-matching transformer, two CLIP text encoders and T5.

A checkpoint is a folder written by `StableDiffusion3Pipeline.save_pretrained` or a hub id such as
`stabilityai/stable-diffusion-3.5-medium`. T5 may be absent (`[null, null]` in the index).

The text sequence is the pipeline's: both CLIPs' last but one states side by side, padded with
zeros to the transformer's width, followed by T5's states or, without T5, by as many zeros. The
pooled vectors are both CLIPs' projections side by side.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Unpack

import torch
from diffusers import AutoencoderKL, SD3Transformer2DModel, StableDiffusion3Pipeline
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import CLIPTextModelWithProjection, CLIPTokenizer, T5EncoderModel, T5TokenizerFast

from bench.api.errors import CorruptArtifactError, UsageError
from bench.api.method import Condition
from bench.backbones.flow import FlowSchedule, FlowTransformer
from bench.backbones.latents import Parts, frozen
from bench.backbones.lengths import counts_of
from bench.backbones.loading import Family, How

PIPELINE_CLASS = "StableDiffusion3Pipeline"
LORA_TARGETS = (
    "attn.to_q",
    "attn.to_k",
    "attn.to_v",
    "attn.to_out.0",
    "attn.add_q_proj",
    "attn.add_k_proj",
    "attn.add_v_proj",
    "attn.to_add_out",
)
"""RealAlign's targets on SD-3.5-M; the second attention of its first blocks stays as it is."""

SAMPLING_T5_TOKENS = 256
TRAINING_T5_TOKENS = 128
"""RealAlign precomputes 77 + 128 tokens for training and samples with the pipeline's default."""

T5_TOKENS_KEY = "_t5_tokens"
"""In `model_index.json`: how many T5 positions a checkpoint was made with, where it is its own
number in training and sampling. The library ignores keys that start with an underscore."""


class StableDiffusion3Backbone(FlowTransformer):
    """A loaded SD-3.x checkpoint; see `Backbone` for the attributes.

    Args:
        tokenizer, tokenizer_2, text_encoder, text_encoder_2: CLIP's.
        tokenizer_3, text_encoder_3: T5's, or None.
        parts: see `Parts`; the scheduler's shift gives the training's grid.
        t5_tokens: length of T5's part of the sequence in training and in sampling, if it is
            neither of the defaults.

    Attributes:
        t5_tokens: length of T5's part in `encode_prompts`.
        training_t5_tokens: the same in `encode_train`.

    Raises:
        UsageError: the scheduler is not one of flow matching with a fixed shift.
    """

    family = "sd3"
    pipeline_arguments: ClassVar[Mapping[str, str]] = {
        "encoder_hidden_states": "prompt_embeds",
        "pooled_projections": "pooled_prompt_embeds",
    }
    lora_targets = LORA_TARGETS

    def __init__(
        self,
        *,
        tokenizer: Any,
        tokenizer_2: Any,
        tokenizer_3: Any,
        text_encoder: Any,
        text_encoder_2: Any,
        text_encoder_3: Any,
        t5_tokens: int | None = None,
        **parts: Unpack[Parts],
    ) -> None:
        scheduler = parts["scheduler"]
        shift = scheduler.config.get("shift")
        if shift is None or scheduler.config.get("use_dynamic_shifting"):
            raise UsageError(
                f"{parts['checkpoint']} has a {type(scheduler).__name__} without a fixed shift; "
                "this adapter is for checkpoints with FlowMatchEulerDiscreteScheduler, such as "
                "SD-3.5-medium."
            )
        super().__init__(**parts)
        self.tokenizer, self.tokenizer_2, self.tokenizer_3 = tokenizer, tokenizer_2, tokenizer_3
        self.text_encoder = frozen(text_encoder)
        self.text_encoder_2 = frozen(text_encoder_2)
        self.text_encoder_3 = None if text_encoder_3 is None else frozen(text_encoder_3)
        self.schedule = FlowSchedule(
            num_train_timesteps=self.num_train_timesteps, shift=float(shift), density="logit-normal"
        )
        self.shift_factor = float(self.vae.config.shift_factor or 0.0)
        self.own_t5_tokens = t5_tokens
        self.t5_tokens = SAMPLING_T5_TOKENS if t5_tokens is None else t5_tokens
        self.training_t5_tokens = TRAINING_T5_TOKENS if t5_tokens is None else t5_tokens

    def encode_prompts(self, prompts: Sequence[str]) -> dict[str, Tensor]:
        """Encode B texts as they are sampled from.

        Returns:
            `encoder_hidden_states` (B, L + t5_tokens, D), L being CLIP's length, and
            `pooled_projections` (B, P).
        """
        return self._encode(list(prompts), self.t5_tokens)

    def encode_negative_prompts(self, prompts: Sequence[str]) -> dict[str, Tensor]:
        """Encode B texts for the other branch of guidance: like any other."""
        return self.encode_prompts(prompts)

    def token_counts(self, texts: Sequence[str]) -> tuple[int, list[int]]:
        """Return how many tokens are read of a text, and how many each has: T5's, which reads on
        where CLIP's 77 end, or without it CLIP's.
        """
        if self.text_encoder_3 is None or self.t5_tokens == 0:
            return int(self.tokenizer.model_max_length), counts_of(self.tokenizer, texts)
        return self.t5_tokens, counts_of(self.tokenizer_3, texts)

    def shorter_counts(self, texts: Sequence[str]) -> tuple[int, list[int]] | None:
        """Return how many tokens CLIP reads of a text, and how many each has; None without T5,
        where nothing reads on behind them.
        """
        if self.text_encoder_3 is None or self.t5_tokens == 0:
            return None
        return int(self.tokenizer.model_max_length), counts_of(self.tokenizer, texts)

    def encode_train(self, prompts: Sequence[str]) -> dict[str, Tensor]:
        """Encode B texts as they are trained on: with `training_t5_tokens`."""
        return self._encode(list(prompts), self.training_t5_tokens)

    @torch.no_grad()
    def _encode(self, prompts: list[str], t5_tokens: int) -> dict[str, Tensor]:
        # both CLIPs are cut to the first one's length, as the pipeline does
        length = self.tokenizer.model_max_length
        states, pooled = [], []
        for tokenizer, encoder in (
            (self.tokenizer, self.text_encoder),
            (self.tokenizer_2, self.text_encoder_2),
        ):
            ids = _tokenise(tokenizer, prompts, length).to(self.device)
            output = encoder(ids, output_hidden_states=True)
            states.append(output.hidden_states[-2])
            pooled.append(output[0])
        of_clip = torch.cat(states, dim=-1)
        of_t5 = self._encode_t5(prompts, t5_tokens, of_clip.dtype)
        of_clip = F.pad(of_clip, (0, of_t5.shape[-1] - of_clip.shape[-1]))
        return {
            "encoder_hidden_states": torch.cat([of_clip, of_t5], dim=1),
            "pooled_projections": torch.cat(pooled, dim=-1),
        }

    def _encode_t5(self, prompts: list[str], tokens: int, dtype: torch.dtype) -> Tensor:
        width: int = self.denoiser.config.joint_attention_dim  # type: ignore[union-attr,assignment]
        if self.text_encoder_3 is None or tokens == 0:
            return torch.zeros(len(prompts), tokens, width, dtype=dtype, device=self.device)
        ids = _tokenise(self.tokenizer_3, prompts, tokens).to(self.device)
        states: Tensor = self.text_encoder_3(ids)[0]
        return states

    def predict(self, denoiser: nn.Module, x_t: Tensor, t: Tensor, condition: Condition) -> Tensor:
        """Return the predicted velocity (B, C, H, W) under the condition, without guidance."""
        prediction: Tensor = denoiser(
            hidden_states=x_t,
            timestep=t,
            encoder_hidden_states=condition["encoder_hidden_states"],
            pooled_projections=condition["pooled_projections"],
            return_dict=False,
        )[0]
        return prediction

    @torch.no_grad()
    def encode_images(self, images: Tensor) -> Tensor:
        """Return (mean - shift) scale: (B, 3, H, W) in [0, 1] -> (B, C, h, w)."""
        mean: Tensor = self.vae.encode(self._to_vae(images)).latent_dist.mean
        return (mean - self.shift_factor) * self.scaling_factor

    def _unscaled(self, latents: Tensor) -> Tensor:
        return super()._unscaled(latents) + self.shift_factor

    def latent_shape(self, height: int, width: int) -> tuple[int, int, int]:
        """Return (C, h, w).

        Raises:
            UsageError: VAE and patches do not divide the size.
        """
        factor = 2 ** (len(self.vae.config.block_out_channels) - 1)
        patch: int = self.denoiser.config.patch_size  # type: ignore[union-attr,assignment]
        step = factor * patch
        self._require_multiples(height, width, step)
        return int(self.vae.config.latent_channels), height // factor, width // factor

    def pipeline(self, denoiser: nn.Module | None = None) -> StableDiffusion3Pipeline:
        """Return a pipeline over the same parts, no progress bar.

        Args:
            denoiser: network to sample from; None samples from the base.
        """
        pipeline = StableDiffusion3Pipeline(
            transformer=self.denoiser if denoiser is None else denoiser,
            scheduler=self._sampler(),
            vae=self.vae,
            text_encoder=self.text_encoder,
            tokenizer=self.tokenizer,
            text_encoder_2=self.text_encoder_2,
            tokenizer_2=self.tokenizer_2,
            text_encoder_3=self.text_encoder_3,
            tokenizer_3=self.tokenizer_3,
        )
        if self.own_t5_tokens is not None:
            pipeline.register_to_config(**{T5_TOKENS_KEY: self.own_t5_tokens})
        pipeline.set_progress_bar_config(disable=True)
        return pipeline


def _tokenise(tokenizer: Any, prompts: list[str], length: int) -> Tensor:
    """Return token ids (B, length), padded and cut."""
    ids: Tensor = tokenizer(
        prompts, padding="max_length", max_length=length, truncation=True, return_tensors="pt"
    ).input_ids
    return ids


def _require_fit(checkpoint: str, networks: Mapping[str, Any]) -> None:
    transformer = networks["denoiser"].config
    pooled = sum(networks[n].config.projection_dim for n in ("text_encoder", "text_encoder_2"))
    states = sum(networks[n].config.hidden_size for n in ("text_encoder", "text_encoder_2"))
    t5 = networks["text_encoder_3"]
    faults = []
    if pooled != transformer.pooled_projection_dim:
        faults.append(f"pooled {pooled} for {transformer.pooled_projection_dim}")
    if states > transformer.joint_attention_dim:
        faults.append(f"CLIP {states} for {transformer.joint_attention_dim}")
    if t5 is not None and t5.config.d_model != transformer.joint_attention_dim:
        faults.append(f"T5 {t5.config.d_model} for {transformer.joint_attention_dim}")
    if faults:
        raise CorruptArtifactError(
            f"{checkpoint}: the text encoders' widths do not fit the transformer's "
            f"({'; '.join(faults)}); the folder mixes two checkpoints. Fetch it again."
        )


FAMILY = Family(
    pipeline_class=PIPELINE_CLASS,
    title="SD-3.x",
    backbone=StableDiffusion3Backbone,
    tokenizers={
        "tokenizer": CLIPTokenizer,
        "tokenizer_2": CLIPTokenizer,
        "tokenizer_3": T5TokenizerFast,
    },
    networks={
        "text_encoder": CLIPTextModelWithProjection,
        "text_encoder_2": CLIPTextModelWithProjection,
        "text_encoder_3": T5EncoderModel,
        "vae": AutoencoderKL,
        "denoiser": SD3Transformer2DModel,
    },
    optional=("text_encoder_3", "tokenizer_3"),
    require_fit=_require_fit,
    options=lambda index: {"t5_tokens": index.get(T5_TOKENS_KEY)},
)


def load_backbone(checkpoint: str | Path, **how: Unpack[How]) -> StableDiffusion3Backbone:
    """Load an SD-3.x checkpoint; see `Family.load`."""
    return FAMILY.load(checkpoint, **how)
