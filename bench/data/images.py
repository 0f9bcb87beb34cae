"""From image files to scaled latents: what the published trainers do with a picture."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from bench.api.errors import UsageError

if TYPE_CHECKING:
    from PIL import Image
    from torch import Tensor

    from bench.backbones.base import Backbone

POSTERIORS = ("sample", "mean")
"""How a latent is taken from the VAE's posterior: a sample, as trainers do, or its mean.

SANA's deep-compression autoencoder has no posterior: an image has one latent there, and only
`"mean"` can be asked.
"""


def resize_and_crop(image: Image.Image, size: int) -> Image.Image:
    """Return size × size pixels: the short side resized to `size` (bilinear, antialiased), then
    the centre cut out, rounded as torchvision's Resize and CenterCrop round.

    Source: SalesforceAIResearch/DiffusionDPO train.py, `train_transforms`.
    """
    from PIL import Image as Pillow

    width, height = image.size
    short, long = min(width, height), max(width, height)
    other = int(size * long / short)
    width, height = (size, other) if width <= height else (other, size)
    if image.size != (width, height):
        image = image.resize((width, height), Pillow.Resampling.BILINEAR)
    left, top = round((width - size) / 2.0), round((height - size) / 2.0)
    return image.crop((left, top, left + size, top + size))


def encode_pixels(
    backbone: Backbone, pixels: np.ndarray, *, posterior: str, keys: Sequence[int], seed: int
) -> Tensor:
    """Return scaled latents (B, C, h, w) of (B, H, W, 3) uint8 pixels.

    Args:
        backbone: its VAE encodes; the scaling factor (and the shift of flow models) is applied.
        pixels: images.
        posterior: one of `POSTERIORS`.
        keys: B numbers; an image's noise depends on its key and the seed alone.
        seed: of the noise.

    Raises:
        UsageError: a sample is asked of an autoencoder that has no posterior.
    """
    import torch

    from bench.training.randomness import CounterStream, Sample

    images = torch.from_numpy(np.ascontiguousarray(pixels)).permute(0, 3, 1, 2).float() / 255.0
    if posterior == "mean":
        return backbone.encode_images(images)
    with torch.no_grad():
        found = _posterior(backbone, images)
        samples = [Sample(key, 0) for key in keys]
        noise = CounterStream(seed, "posterior", 0).normal(samples, found.mean.shape[1:])
        drawn = found.mean + found.std * noise.to(found.mean.device, found.mean.dtype)
        shift = getattr(backbone, "shift_factor", 0.0) or 0.0
        latents: Tensor = (drawn - shift) * backbone.scaling_factor
    return latents


def encode_moments(
    backbone: Backbone, pixels: np.ndarray, *, posterior: str
) -> tuple[Tensor, Tensor | None]:
    """Return mean and standard deviation of the posterior, scaled, (B, C, h, w) each.

    Args:
        backbone, pixels: as `encode_pixels`.
        posterior: one of `POSTERIORS`; of `"mean"` the second is None.

    Raises:
        UsageError: a sample is asked of an autoencoder that has no posterior.
    """
    import torch

    images = torch.from_numpy(np.ascontiguousarray(pixels)).permute(0, 3, 1, 2).float() / 255.0
    if posterior == "mean":
        return backbone.encode_images(images), None
    with torch.no_grad():
        found = _posterior(backbone, images)
        shift = getattr(backbone, "shift_factor", 0.0) or 0.0
        scale = backbone.scaling_factor
        return (found.mean - shift) * scale, found.std * scale


def _posterior(backbone: Backbone, images: Tensor) -> Any:
    """Return the distribution of (B, 3, H, W) images in [0, 1]."""
    vae = getattr(backbone, "vae", None)
    if vae is None or not hasattr(vae.config, "latent_channels") or not _has_posterior(vae):
        raise UsageError(
            f"the autoencoder of {backbone.checkpoint} ({type(vae).__name__}) gives one latent for "
            "an image, so there is none to sample; set posterior: mean for this data set (--set "
            "data.NAME.posterior=mean)."
        )
    return vae.encode(images.to(backbone.device, vae.dtype) * 2.0 - 1.0).latent_dist


def _has_posterior(vae: object) -> bool:
    return type(vae).__name__ in ("AutoencoderKL", "AsymmetricAutoencoderKL")
