"""The toy as a backbone: points are latents (B, 2, 1, 1), labels are prompts."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor, nn

from bench.api.errors import UsageError
from bench.api.method import Condition
from bench.toy.network import ToyDenoiser, alphas_cumprod
from bench.toy.ring import generator_of, scale, to_points
from bench.toy.settings import PointSettings

CACHED_ROWS = 1600
"""Points that go through the network together: more, and its layers fall out of the cache."""


class ToyBackbone:
    """See `bench.backbones.base.Backbone`; there is no VAE, no text and no pipeline.

    Args:
        settings: of the toy.
        denoiser: the reference network, frozen here.
    """

    family = "toy"
    denoiser_name = "denoiser"
    prediction = "epsilon"
    checkpoint = "the 2D toy's reference"
    revision: str | None = None
    lora_targets: tuple[str, ...] = ()
    pipeline_arguments: Mapping[str, str] = MappingProxyType({})

    def __init__(self, settings: PointSettings, denoiser: nn.Module) -> None:
        self.settings = settings
        self.denoiser: nn.Module = denoiser.requires_grad_(False).eval()
        self.device = torch.device("cpu")
        self.scaling_factor = scale(settings.ring)
        self.num_train_timesteps = settings.timesteps
        alphas = alphas_cumprod(settings.timesteps, settings.beta_start, settings.beta_end)
        self.alphas = alphas.float()

    def encode_prompts(self, prompts: Sequence[str]) -> dict[str, Tensor]:
        """Return the labels (B,) that the texts `"0"` to `"K-1"` name.

        The empty text is K, no class: it has the form of a condition, and no network here knows it.

        Raises:
            UsageError: a text is neither.
        """
        names = [str(k) for k in range(self.settings.ring.classes)]
        for prompt in prompts:
            if prompt and prompt not in names:
                raise UsageError(f"{prompt!r} is no class of the toy; expected 0 to {names[-1]}.")
        labels = [int(prompt) if prompt else len(names) for prompt in prompts]
        return {"label": torch.tensor(labels)}

    def encode_negative_prompts(self, prompts: Sequence[str]) -> dict[str, Tensor]:
        """Raise UsageError: the toy is sampled without guidance."""
        raise UsageError("the 2D toy is sampled without guidance; there is no negative prompt.")

    def add_noise(self, clean: Tensor, noise: Tensor, t: Tensor) -> Tensor:
        """Return sqrt(a_t) clean + sqrt(1 - a_t) noise, (B, 2, 1, 1), at timesteps t (B,)."""
        alpha = self.alphas[t].view(-1, 1, 1, 1)
        return alpha.sqrt() * clean + (1.0 - alpha).sqrt() * noise

    def true_target(self, clean: Tensor, noise: Tensor, t: Tensor) -> Tensor:
        """Return the noise."""
        return noise

    def timesteps(self, uniform: Tensor) -> Tensor:
        """Return floor(T u), uniform over 0 .. T-1."""
        count = self.num_train_timesteps
        return (uniform * count).long().clamp_(max=count - 1)

    def predict(self, denoiser: nn.Module, x_t: Tensor, t: Tensor, condition: Condition) -> Tensor:
        """Return the predicted noise, (B, 2, 1, 1)."""
        prediction: Tensor = denoiser(x_t, t, condition["label"])
        return prediction

    def encode_images(self, images: Tensor) -> Tensor:
        """Raise UsageError: the toy has points, no images."""
        raise UsageError("the 2D toy has points and no images to encode.")

    def decode(self, latents: Tensor) -> Tensor:
        """Raise UsageError: the toy has points, no images."""
        raise UsageError("the 2D toy has points and no images to decode.")

    def latent_shape(self, height: int, width: int) -> tuple[int, int, int]:
        """Return (2, 1, 1)."""
        return 2, 1, 1

    def pipeline(self, denoiser: nn.Module | None = None) -> Any:
        """Raise UsageError: see `sample`."""
        raise UsageError("the 2D toy has no pipeline; use `bench.toy.backbone.ToyBackbone.sample`.")

    @torch.no_grad()
    def sample(
        self,
        denoiser: nn.Module,
        *,
        per_class: int,
        steps: int,
        seed: int,
        first: int | None = None,
    ) -> Tensor:
        """Return (K, per_class, 2) points drawn with DDIM (eta 0; Song et al. 2021), float64.

        The starting noise depends on the seed alone, so networks are compared on the same noise.

        Args:
            denoiser: the network.
            per_class: points of each class.
            steps: of the sampler.
            seed: of the starting noise.
            first: draw only so many of each class: the first ones of all `per_class`.
        """
        classes = self.settings.ring.classes
        count = per_class if first is None else min(first, per_class)
        label = torch.arange(classes).repeat_interleave(count)
        x = torch.randn(classes, per_class, 2, generator=generator_of(seed, "sample"))
        x = x[:, :count].reshape(-1, 2, 1, 1)
        parts = [
            self._denoise(denoiser, some, labels, steps)
            for some, labels in zip(x.split(CACHED_ROWS), label.split(CACHED_ROWS), strict=True)
        ]
        return to_points(torch.cat(parts), self.settings.ring).view(classes, count, 2)

    def _denoise(self, denoiser: nn.Module, x: Tensor, label: Tensor, steps: int) -> Tensor:
        """Return the end of DDIM's way from x, both (B, 2, 1, 1)."""
        times = torch.linspace(self.num_train_timesteps - 1, 0, steps).round().long()
        levels = [*self.alphas[times].tolist(), 1.0]
        for time, alpha, following in zip(times, levels, levels[1:], strict=False):
            noise = self.predict(denoiser, x, time[None], {"label": label})
            clean = (x - math.sqrt(1.0 - alpha) * noise) / math.sqrt(alpha)
            x = math.sqrt(following) * clean + math.sqrt(1.0 - following) * noise
        return x


def new_network(settings: PointSettings, *, exact: bool, seed: int) -> ToyDenoiser:
    """Return an untrained network: random, or the exact reference with nothing added."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(generator_of(seed, "network").initial_seed())
        network: ToyDenoiser = ToyDenoiser(
            classes=settings.ring.classes,
            width=settings.base.width,
            layers=settings.base.layers,
            timesteps=settings.timesteps,
            beta_start=settings.beta_start,
            beta_end=settings.beta_end,
            exact_ring=asdict(settings.ring) if exact else None,
        )
    return network
