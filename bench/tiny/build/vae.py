"""The tiny VAE: an AutoencoderKL from 32x32 pixels to 4x8x8 latents."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import AutoencoderKL
from torch import Tensor
from torch.nn import functional as F

from bench.tiny.build.loop import LoopConfig, train_network
from bench.tiny.build.scenes_cache import SceneSet

BATCH = 16
HARD_WORDS = ("night", "noisy", "dotted")


def new_vae() -> AutoencoderKL:
    """Return an untrained tiny VAE: RGB 32x32 to latents 4x8x8."""
    return AutoencoderKL(
        in_channels=3,
        out_channels=3,
        down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3,
        block_out_channels=(24, 48, 64),
        layers_per_block=1,
        latent_channels=4,
        norm_num_groups=8,
        sample_size=32,
        mid_block_add_attention=False,
    )


def to_tensor(pixels: np.ndarray) -> Tensor:
    """Return uint8 (N, H, W, 3) as float (N, 3, H, W) in [-1, 1]."""
    return torch.from_numpy(pixels).permute(0, 3, 1, 2).float().div(127.5).sub(1.0)


def train_vae(scenes: SceneSet, work: Path) -> tuple[AutoencoderKL, dict[str, Any]]:
    """Train the VAE (L1 + half MSE + 1e-6 KL) and set its scaling factor from the latents' std.

    Half of each batch are scenes that are rare and hard to keep: night, blotches, dots.
    """
    torch.manual_seed(0)
    vae = new_vae()
    hard = np.array([i for i, t in enumerate(scenes.texts) if any(w in t for w in HARD_WORDS)])

    def loss_of_step(step: int) -> Tensor:
        rng = np.random.default_rng([1, step])
        picked = rng.integers(len(scenes), size=BATCH)
        picked[: BATCH // 2] = hard[rng.integers(len(hard), size=BATCH // 2)]
        x = to_tensor(scenes.pixels[picked])
        posterior = vae.encode(x).latent_dist
        noise = torch.from_numpy(rng.standard_normal(posterior.mean.shape, dtype=np.float32))
        reconstruction = vae.decode(posterior.mean + posterior.std * noise).sample
        kl = posterior.kl().mean()
        loss: Tensor = (
            F.l1_loss(reconstruction, x) + 0.5 * F.mse_loss(reconstruction, x) + 1e-6 * kl
        )
        return loss

    facts = train_network(
        "vae", vae, loss_of_step, LoopConfig(steps=3500, lr=3e-3, ema=0.998), work
    )
    with torch.no_grad():
        means = torch.cat([
            vae.encode(to_tensor(scenes.pixels[i : i + 200])).latent_dist.mean
            for i in range(0, 2000, 200)
        ])  # fmt: skip
        again = vae.decode(means[:400]).sample.clamp(-1, 1)
        error = F.l1_loss(again, to_tensor(scenes.pixels[:400])) * 127.5
    vae.register_to_config(scaling_factor=round(float(1 / means.std()), 5))
    return vae, {**facts, "l1_of_255": round(float(error), 3)}
