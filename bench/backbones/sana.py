"""SANA: a flow-matching transformer with linear attention, Gemma 2 as text encoder, AutoencoderDC.

A checkpoint is a folder written by `SanaPipeline.save_pretrained` or a hub id such as
`Efficient-Large-Model/Sana_600M_1024px_diffusers`.

A prompt is encoded behind the pipeline's "complex human instruction", of whose tokens the first
alone is kept; the other branch of guidance is encoded without the instruction. Training has evenly
spaced noise levels (shift 1.0), sampling the scheduler's own shift (3.0): the authors' trainer
loads the checkpoint's DPM-Solver settings into a flow-matching scheduler, which knows no
`flow_shift`.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Unpack

import torch
from diffusers import AutoencoderDC, SanaPipeline, SanaTransformer2DModel
from torch import Tensor, nn
from transformers import Gemma2Model, GemmaTokenizerFast

from bench.api.errors import CorruptArtifactError, UsageError
from bench.api.method import Condition
from bench.backbones.flow import FlowSchedule, FlowTransformer
from bench.backbones.latents import Parts, frozen
from bench.backbones.lengths import counts_of
from bench.backbones.loading import Family, How

PIPELINE_CLASS = "SanaPipeline"
LORA_TARGETS = ("to_q", "to_k", "to_v")
TRAINING_SHIFT = 1.0
TEXT_TOKENS = 300

TEXT_TOKENS_KEY = "_max_sequence_length"
INSTRUCTION_KEY = "_complex_human_instruction"
"""In `model_index.json`: what a checkpoint was made with, where it is not the pipeline's default.
The library ignores keys that start with an underscore."""

_PIPELINE_STEP = 32  # the pipeline refuses sizes that are no multiples of it


def default_instruction() -> tuple[str, ...]:
    """Return the lines of the pipeline's "complex human instruction"."""
    parameter = inspect.signature(SanaPipeline.__call__).parameters["complex_human_instruction"]
    return tuple(parameter.default)


class SanaBackbone(FlowTransformer):
    """A loaded SANA checkpoint; see `Backbone` for the attributes.

    Args:
        tokenizer, text_encoder: Gemma's.
        parts: see `Parts`.
        text_tokens: length of the text sequence, L.
        instruction: lines put before a prompt; none where empty, the pipeline's where None.

    Raises:
        UsageError: the checkpoint's scheduler is not one of flow matching.
    """

    family = "sana"
    pipeline_arguments: ClassVar[Mapping[str, str]] = {
        "encoder_hidden_states": "prompt_embeds",
        "encoder_attention_mask": "prompt_attention_mask",
    }
    pipeline_options: ClassVar[Mapping[str, Any]] = {
        "use_resolution_binning": False,  # sizes are exact here
        "negative_prompt": None,  # its default is "", refused beside encoded texts
    }
    lora_targets = LORA_TARGETS

    def __init__(
        self,
        *,
        tokenizer: Any,
        text_encoder: Any,
        text_tokens: int = TEXT_TOKENS,
        instruction: Sequence[str] | None = None,
        **parts: Unpack[Parts],
    ) -> None:
        prediction = parts["scheduler"].config.get("prediction_type", "flow_prediction")
        if prediction != "flow_prediction":
            raise UsageError(
                f"{parts['checkpoint']} predicts {prediction!r}; this adapter is for checkpoints "
                "that predict the velocity ('flow_prediction'), such as Sana_600M_1024px_diffusers."
            )
        super().__init__(**parts)
        self.tokenizer = tokenizer
        self.tokenizer.padding_side = "right"  # as the pipeline does
        self.text_encoder = frozen(text_encoder)
        self.text_tokens = text_tokens
        self.instruction = default_instruction() if instruction is None else tuple(instruction)
        self.schedule = FlowSchedule(
            num_train_timesteps=self.num_train_timesteps, shift=TRAINING_SHIFT, density="uniform"
        )

    def encode_prompts(self, prompts: Sequence[str]) -> dict[str, Tensor]:
        """Encode B texts behind the instruction.

        Returns:
            `encoder_hidden_states` (B, L, D) and `encoder_attention_mask` (B, L) of ones and
            zeros: the first token and the last L - 1.
        """
        prefix = "\n".join(self.instruction)
        length = self.text_tokens
        if prefix:
            # of the prefix the start token alone is kept; two less is the pipeline's arithmetic
            length += len(self.tokenizer.encode(prefix)) - 2
        keep = [0, *range(length - self.text_tokens + 1, length)]
        return self._encode([prefix + _clean(prompt) for prompt in prompts], length, keep)

    def token_counts(self, texts: Sequence[str]) -> tuple[int, list[int]]:
        """Return how many tokens are read of a text, and how many each has."""
        return self.text_tokens, counts_of(self.tokenizer, [_clean(text) for text in texts])

    def encode_negative_prompts(self, prompts: Sequence[str]) -> dict[str, Tensor]:
        """Encode B texts for the other branch of guidance: without the instruction."""
        texts = [_clean(prompt) for prompt in prompts]
        return self._encode(texts, self.text_tokens, list(range(self.text_tokens)))

    @torch.no_grad()
    def _encode(self, texts: list[str], length: int, keep: list[int]) -> dict[str, Tensor]:
        tokens = self.tokenizer(
            texts,
            padding="max_length",
            max_length=length,
            truncation=True,
            add_special_tokens=True,
            return_tensors="pt",
        )
        mask = tokens.attention_mask.to(self.device)
        states = self.text_encoder(tokens.input_ids.to(self.device), attention_mask=mask)[0]
        return {
            "encoder_hidden_states": states[:, keep],
            "encoder_attention_mask": mask[:, keep],
        }

    def predict(self, denoiser: nn.Module, x_t: Tensor, t: Tensor, condition: Condition) -> Tensor:
        """Return the predicted velocity (B, C, H, W) under the condition, without guidance."""
        scale = self.denoiser.config.timestep_scale  # type: ignore[union-attr]
        prediction: Tensor = denoiser(
            x_t,
            encoder_hidden_states=condition["encoder_hidden_states"],
            encoder_attention_mask=condition["encoder_attention_mask"],
            timestep=t * scale,  # type: ignore[operator]
            return_dict=False,
        )[0]
        return prediction

    @torch.no_grad()
    def encode_images(self, images: Tensor) -> Tensor:
        """Return scaled latents: (B, 3, H, W) in [0, 1] -> (B, C, h, w)."""
        latents: Tensor = self.vae.encode(self._to_vae(images), return_dict=False)[0]
        return latents * self.scaling_factor

    def latent_shape(self, height: int, width: int) -> tuple[int, int, int]:
        """Return (C, h, w).

        Raises:
            UsageError: VAE, patches or pipeline do not take the size.
        """
        factor: int = 2 ** (len(self.vae.config.encoder_block_out_channels) - 1)
        config: Any = self.denoiser.config
        step = math.lcm(_PIPELINE_STEP, factor * config.patch_size)
        self._require_multiples(height, width, step)
        return int(config.in_channels), height // factor, width // factor

    def pipeline(self, denoiser: nn.Module | None = None) -> SanaPipeline:
        """Return a pipeline over the same parts, no progress bar.

        Args:
            denoiser: network to sample from; None samples from the base.
        """
        pipeline = SanaPipeline(
            tokenizer=self.tokenizer,
            text_encoder=self.text_encoder,
            vae=self.vae,
            transformer=self.denoiser if denoiser is None else denoiser,
            scheduler=self._sampler(),
        )
        if self.text_tokens != TEXT_TOKENS:
            pipeline.register_to_config(**{TEXT_TOKENS_KEY: self.text_tokens})
        if self.instruction != default_instruction():
            pipeline.register_to_config(**{INSTRUCTION_KEY: list(self.instruction)})
        pipeline.set_progress_bar_config(disable=True)
        return pipeline


def _clean(prompt: str) -> str:
    """Return the prompt as the pipeline prepares it by default."""
    return prompt.lower().strip()


def _require_fit(checkpoint: str, networks: Mapping[str, Any]) -> None:
    text, transformer = networks["text_encoder"].config, networks["denoiser"].config
    faults = []
    if text.hidden_size != transformer.caption_channels:
        faults.append(f"text encoder {text.hidden_size} for {transformer.caption_channels}")
    if networks["vae"].config.latent_channels != transformer.in_channels:
        channels = networks["vae"].config.latent_channels
        faults.append(f"latents {channels} for {transformer.in_channels}")
    if faults:
        raise CorruptArtifactError(
            f"{checkpoint}: widths of its parts do not fit the transformer's "
            f"({'; '.join(faults)}); the folder mixes two checkpoints. Fetch it again."
        )


def _precision(name: str, network: Any, wanted: torch.dtype, checkpoint: str) -> torch.dtype:
    """Return bfloat16 for what overflows in float16: Gemma 2 and the VAE."""
    overflows = wanted == torch.float16 and name != "denoiser"
    return torch.bfloat16 if overflows else wanted


def _options(index: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "text_tokens": int(index.get(TEXT_TOKENS_KEY, TEXT_TOKENS)),
        "instruction": index.get(INSTRUCTION_KEY),
    }


FAMILY = Family(
    pipeline_class=PIPELINE_CLASS,
    title="SANA",
    backbone=SanaBackbone,
    tokenizers={"tokenizer": GemmaTokenizerFast},
    networks={
        "text_encoder": Gemma2Model,
        "vae": AutoencoderDC,
        "denoiser": SanaTransformer2DModel,
    },
    require_fit=_require_fit,
    precision=_precision,
    options=_options,
)


def load_backbone(checkpoint: str | Path, **how: Unpack[How]) -> SanaBackbone:
    """Load a SANA checkpoint; see `Family.load`."""
    return FAMILY.load(checkpoint, **how)
