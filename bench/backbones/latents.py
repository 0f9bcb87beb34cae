"""What all families have in common: parts that are frozen, a VAE, a sampler of their own."""

from __future__ import annotations

from typing import Any, TypedDict, Unpack

import torch
from torch import Tensor, nn

from bench.api.errors import UsageError


class Parts(TypedDict):
    """What every family is made of.

    Attributes:
        checkpoint: folder or hub id, kept for messages and provenance.
        revision: hub revision asked for.
        vae, denoiser, scheduler: parts of the pipeline. The scheduler is the checkpoint's own,
            used for sampling.
    """

    checkpoint: str
    revision: str | None
    vae: Any
    denoiser: nn.Module
    scheduler: Any


class LatentBackbone:
    """Frozen parts of a pipeline; images go through its VAE. It is made of `Parts`.

    Attributes:
        denoiser_name: what the pipeline, and so the folder, calls the denoiser.
    """

    denoiser_name: str

    def __init__(self, **parts: Unpack[Parts]) -> None:
        self.checkpoint = parts["checkpoint"]
        self.revision = parts["revision"]
        self.vae = frozen(parts["vae"])
        self.denoiser: nn.Module = frozen(parts["denoiser"])
        self.scheduler = parts["scheduler"]
        self.num_train_timesteps = int(self.scheduler.config.num_train_timesteps)
        self.scaling_factor = float(self.vae.config.scaling_factor)
        self.device = next(self.denoiser.parameters()).device

    def _to_vae(self, images: Tensor) -> Tensor:
        """Return images (B, 3, H, W) in [0, 1] as the VAE takes them."""
        return (images.to(self.device, self.vae.dtype) * 2.0) - 1.0

    @torch.no_grad()
    def decode(self, latents: Tensor) -> Tensor:
        """Return images in [0, 1]: scaled latents (B, C, h, w) -> (B, 3, H, W)."""
        unscaled = self._unscaled(latents.to(self.device, self.vae.dtype))
        pixels: Tensor = self.vae.decode(unscaled, return_dict=False)[0]
        return (pixels / 2.0 + 0.5).clamp(0.0, 1.0)

    def _unscaled(self, latents: Tensor) -> Tensor:
        """Return scaled latents as the VAE decodes them."""
        return latents / self.scaling_factor

    def _require_multiples(self, height: int, width: int, step: int) -> None:
        """Raise UsageError where images do not fit into whole latents (and patches)."""
        if height % step or width % step:
            raise UsageError(
                f"images of {height}x{width} pixels do not fit {self.checkpoint}; height and "
                f"width must be multiples of {step}."
            )

    def _sampler(self) -> Any:
        """Return a new sampler: it is stateful, so each pipeline gets its own."""
        return type(self.scheduler).from_config(self.scheduler.config)


def frozen(network: Any) -> Any:
    """Return a network in evaluation mode, without gradients."""
    return network.requires_grad_(False).eval()
