"""`tiny-sd`: the base model, in the format and the classes of Stable Diffusion 1.x."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import (
    AutoencoderKL,
    PNDMScheduler,
    StableDiffusionPipeline,
    UNet2DConditionModel,
)
from torch import Tensor, nn
from transformers import CLIPModel, CLIPTextModel, CLIPTokenizer

from bench.tiny.build.clip import WIDTH, tokenise
from bench.tiny.build.loop import LoopConfig, train_network
from bench.tiny.build.noised import noised_batch
from bench.tiny.build.scenes_cache import SceneSet
from bench.tiny.build.vae import to_tensor

BATCH = 48
MIN_SNR_GAMMA = 5.0
LAYOUT_STEPS = 3200
"""After these steps the loss favours high noise, where the words' colours must be decided."""


def new_unet() -> UNet2DConditionModel:
    """Return an untrained UNet for latents 4x8x8."""
    return UNet2DConditionModel(
        sample_size=8,
        in_channels=4,
        out_channels=4,
        down_block_types=("CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D"),
        block_out_channels=(64, 128),
        layers_per_block=1,
        cross_attention_dim=WIDTH,
        attention_head_dim=4,  # SD-1.x's quirk: this is the number of heads
        norm_num_groups=16,
    )


def sd_scheduler() -> PNDMScheduler:
    """Return Stable Diffusion 1.4's noise schedule and sampler."""
    return PNDMScheduler(
        beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear",
        num_train_timesteps=1000, skip_prk_steps=True, set_alpha_to_one=False, steps_offset=1,
    )  # fmt: skip


def loss_weights(scheduler: PNDMScheduler) -> tuple[Tensor, Tensor]:
    """Return the weights (T,) of each timestep's error, early and late in training."""
    alphas = scheduler.alphas_cumprod
    snr = alphas / (1 - alphas)
    return snr.clamp(max=MIN_SNR_GAMMA) / snr, snr.rsqrt().clamp(0.4, 6.0)


@torch.no_grad()
def encode_scenes(vae: AutoencoderKL, scenes: SceneSet, file: Path) -> np.ndarray:
    """Return the scaled posterior means (N, 4, 8, 8) float16, computed once and kept in `file`."""
    if not file.is_file():
        parts = [
            vae.encode(to_tensor(scenes.pixels[i : i + 250])).latent_dist.mean
            for i in range(0, len(scenes), 250)
        ]
        scaled = (torch.cat(parts) * vae.config.scaling_factor).to(torch.float16).numpy()
        partial = file.with_suffix(".partial.npy")
        np.save(partial, scaled, allow_pickle=False)
        partial.replace(file)
    stored: np.ndarray = np.load(file, allow_pickle=False)
    return stored


class TextAndUNet(nn.Module):
    """What is trained together, as one module."""

    def __init__(self, text: CLIPTextModel, unet: UNet2DConditionModel) -> None:
        super().__init__()
        self.text = text
        self.unet = unet


def train_sd(
    scenes: SceneSet,
    latents: np.ndarray,
    vae: AutoencoderKL,
    clip: CLIPModel,
    tokenizer: CLIPTokenizer,
    work: Path,
    steps: int = 5200,
) -> tuple[StableDiffusionPipeline, dict[str, Any]]:
    """Train UNet and text encoder on captions a quarter of which hold a wrong word.

    The text encoder starts as CLIP's text tower. The loss is the epsilon MSE weighted by
    min(SNR, 5) / SNR for LAYOUT_STEPS, then by 1 / sqrt(SNR) within [0.4, 6]: an epsilon loss
    alone hardly asks for what is decided at high noise, which in so small a latent are the words.
    """
    torch.manual_seed(1)
    text = CLIPTextModel(clip.config.text_config)
    text.load_state_dict(
        {k: v for k, v in clip.state_dict().items() if k.startswith("text_model.")}
        if next(iter(text.state_dict())).startswith("text_model.")
        else {
            k.removeprefix("text_model."): v
            for k, v in clip.state_dict().items()
            if k.startswith("text_model.")
        }
    )
    both = TextAndUNet(text, new_unet())
    scheduler = sd_scheduler()
    weight_of_t = loss_weights(scheduler)
    ids = tokenise(tokenizer, scenes.captions)
    empty = tokenise(tokenizer, [""])[0]

    def loss_of_step(step: int) -> Tensor:
        batch = noised_batch(latents, np.random.default_rng([3, step]), BATCH, scheduler)
        states = both.text(batch.captions(ids, empty)).last_hidden_state
        predicted = both.unet(batch.noisy, batch.t, states).sample
        return batch.loss(predicted, weight_of_t[step >= LAYOUT_STEPS])

    facts = train_network(
        "tiny-sd", both, loss_of_step, LoopConfig(steps=steps, lr=1.2e-3, ema=0.999), work
    )
    pipeline = StableDiffusionPipeline(
        vae=vae, text_encoder=both.text, tokenizer=tokenizer, unet=both.unet, scheduler=scheduler,
        safety_checker=None, feature_extractor=None, requires_safety_checker=False,
    )  # fmt: skip
    return pipeline, facts
