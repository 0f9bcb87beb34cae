"""What the world's noise-predicting models are trained on: a batch that a generator draws.

x_t = sqrt(abar_t) clean + sqrt(1 - abar_t) noise        target = noise
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

EMPTY_CAPTION_SHARE = 0.1


@dataclass(frozen=True, kw_only=True, eq=False)
class NoisedBatch:
    """B noised scenes.

    Attributes:
        picked: (B,) numbers of the scenes.
        empty: (B,) booleans: this caption is left out.
        noisy, noise: (B, C, h, w).
        t: (B,) timesteps.
    """

    picked: np.ndarray
    empty: Tensor
    noisy: Tensor
    noise: Tensor
    t: Tensor

    def captions(self, ids: Tensor, nothing: Tensor) -> Tensor:
        """Return the batch's token ids (B, L) of all captions' (N, L) and the empty one's (L,)."""
        tokens = ids[self.picked].clone()
        tokens[self.empty] = nothing
        return tokens

    def loss(self, predicted: Tensor, weights: Tensor) -> Tensor:
        """Return the mean square error of a predicted noise (B, C, h, w), weighted by timestep."""
        return (weights[self.t] * (predicted - self.noise).square().mean((1, 2, 3))).mean()


def noised_batch(
    latents: np.ndarray, rng: np.random.Generator, size: int, scheduler: Any
) -> NoisedBatch:
    """Return the batch of a step.

    Args:
        latents: (N, C, h, w) scaled latents.
        rng: what a step draws more comes after.
        size: B.
        scheduler: diffusers', with a thousand timesteps.
    """
    picked = rng.integers(len(latents), size=size)
    clean = torch.from_numpy(latents[picked]).float()
    noise = torch.from_numpy(rng.standard_normal(clean.shape, dtype=np.float32))
    t = torch.from_numpy(rng.integers(1000, size=size))
    return NoisedBatch(
        picked=picked,
        empty=torch.from_numpy(rng.random(size) < EMPTY_CAPTION_SHARE),
        noisy=scheduler.add_noise(clean, noise, t),
        noise=noise,
        t=t,
    )
