"""What the families of UNets that predict the noise have in common: SD-1.x and SDXL."""

from __future__ import annotations

from typing import Unpack

import torch
from diffusers import DDPMScheduler
from torch import Tensor

from bench.api.errors import UsageError
from bench.backbones.latents import LatentBackbone, Parts


class EpsilonUNet(LatentBackbone):
    """Latents of an AutoencoderKL, noised by the checkpoint's schedule; a UNet gives the noise.

    It is made of `Parts`. The scheduler is the checkpoint's own, used for sampling; training uses
    its noise schedule.

    Raises:
        UsageError: the checkpoint does not predict the noise.
    """

    denoiser_name = "unet"
    prediction = "epsilon"

    def __init__(self, **parts: Unpack[Parts]) -> None:
        checkpoint, scheduler = parts["checkpoint"], parts["scheduler"]
        prediction = scheduler.config.get("prediction_type", "epsilon")
        if prediction != "epsilon":
            raise UsageError(
                f"{checkpoint} predicts {prediction!r}; this adapter is for checkpoints that "
                "predict the noise ('epsilon'). Choose an SD-1.x or SDXL base checkpoint."
            )
        super().__init__(**parts)
        self.training_scheduler = DDPMScheduler.from_config(scheduler.config)

    def add_noise(self, clean: Tensor, noise: Tensor, t: Tensor) -> Tensor:
        """Return sqrt(a_t) clean + sqrt(1 - a_t) noise, (B, C, H, W), at timesteps t (B,)."""
        noised: Tensor = self.training_scheduler.add_noise(clean, noise, t)
        return noised

    def true_target(self, clean: Tensor, noise: Tensor, t: Tensor) -> Tensor:
        """Return the noise."""
        return noise

    def timesteps(self, uniform: Tensor) -> Tensor:
        """Return floor(T u), uniform over 0 .. T-1."""
        last = self.num_train_timesteps - 1
        return (uniform * self.num_train_timesteps).long().clamp_(max=last)

    @torch.no_grad()
    def encode_images(self, images: Tensor) -> Tensor:
        """Return the posterior mean, scaled: (B, 3, H, W) in [0, 1] -> (B, C, h, w)."""
        mean: Tensor = self.vae.encode(self._to_vae(images)).latent_dist.mean
        return mean * self.scaling_factor

    @property
    def vae_factor(self) -> int:
        """Pixels per latent, along one side."""
        return int(2 ** (len(self.vae.config.block_out_channels) - 1))

    def latent_shape(self, height: int, width: int) -> tuple[int, int, int]:
        """Return (C, h, w).

        Raises:
            UsageError: the VAE's factor does not divide the size.
        """
        factor = self.vae_factor
        self._require_multiples(height, width, factor)
        return int(self.vae.config.latent_channels), height // factor, width // factor
