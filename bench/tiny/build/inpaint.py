"""`tiny-inpaint`: paints what a mask leaves out, in the format of Stable Diffusion inpainting."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import (
    AutoencoderKL,
    StableDiffusionInpaintPipeline,
    StableDiffusionPipeline,
    UNet2DConditionModel,
)
from torch import Tensor
from torch.nn import functional as F

from bench.tiny.build.clip import tokenise
from bench.tiny.build.loop import LoopConfig, train_network
from bench.tiny.build.masks import random_masks
from bench.tiny.build.noised import noised_batch
from bench.tiny.build.scenes_cache import SceneSet
from bench.tiny.build.sd import loss_weights
from bench.tiny.build.vae import to_tensor
from bench.tiny.build.warm import warm_start

BATCH = 48
STEPS = 2000
STREAM = 41
WIDTHS = (32, 64)
"""Half of tiny-sd's: what surrounds a hole tells much of what belongs in it."""


def new_inpaint_unet(old: UNet2DConditionModel) -> UNet2DConditionModel:
    """Return a UNet of half the width that starts as `old` and does not look at the picture yet.

    Its nine channels are the noisy latents, the mask, and the latents of the picture without the
    masked part.
    """
    config = {k: v for k, v in old.config.items() if not k.startswith("_")}
    config.update(in_channels=9, block_out_channels=WIDTHS)
    unet = UNet2DConditionModel.from_config(config)
    warm_start(unet, old)
    return unet


@torch.no_grad()
def surroundings(vae: AutoencoderKL, pictures: Tensor, masks: Tensor) -> Tensor:
    """Return what the UNet sees beside the noisy latents, (B, 5, h, w), as the pipeline makes it.

    Args:
        vae: gives the latents.
        pictures: (B, 3, H, W) in [-1, 1].
        masks: (B, 1, H, W), 1 where the picture is to be painted.
    """
    latents = vae.encode(pictures * (masks < 0.5)).latent_dist.mean * vae.config.scaling_factor
    small = F.interpolate(masks, size=latents.shape[-2:])
    return torch.cat([small, latents], dim=1)


def train_inpaint(
    scenes: SceneSet,
    latents: np.ndarray,
    start: StableDiffusionPipeline,
    work: Path,
) -> tuple[StableDiffusionInpaintPipeline, dict[str, Any]]:
    """Train the UNet on tiny-sd's captions; its text encoder and VAE stay as they are.

    Args:
        scenes: pictures with captions.
        latents: their scaled latents (N, 4, h, w).
        start: tiny-sd.
        work: where the state is kept.
    """
    torch.manual_seed(STREAM)
    unet = new_inpaint_unet(start.unet)
    scheduler, text, vae = start.scheduler, start.text_encoder, start.vae
    for part in (text, vae):
        part.requires_grad_(False).eval()
    weights = loss_weights(scheduler)
    ids = tokenise(start.tokenizer, scenes.captions)
    empty = tokenise(start.tokenizer, [""])[0]

    def loss_of_step(step: int) -> Tensor:
        rng = np.random.default_rng([STREAM, step])
        batch = noised_batch(latents, rng, BATCH, scheduler)
        masks = random_masks(rng, BATCH, scenes.pixels.shape[1])
        seen = surroundings(vae, to_tensor(scenes.pixels[batch.picked]), masks)
        with torch.no_grad():
            states = text(batch.captions(ids, empty)).last_hidden_state
        predicted = unet(torch.cat([batch.noisy, seen], dim=1), batch.t, states).sample
        return batch.loss(predicted, weights[step >= STEPS // 2])

    facts = train_network(
        "tiny-inpaint", unet, loss_of_step, LoopConfig(steps=STEPS, lr=1.2e-3, ema=0.998), work
    )
    pipeline = StableDiffusionInpaintPipeline(
        vae=vae, text_encoder=text, tokenizer=start.tokenizer, unet=unet, scheduler=scheduler,
        safety_checker=None, feature_extractor=None, requires_safety_checker=False,
    )  # fmt: skip
    return pipeline, dict(facts)
