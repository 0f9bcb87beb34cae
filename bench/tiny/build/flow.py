"""What the world's two flow-matching models are trained on: a batch that depends on the step alone.

x_t = (1 - sigma) clean + sigma noise        target = noise - clean
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from bench.tiny.build.noised import EMPTY_CAPTION_SHARE


@dataclass(frozen=True, kw_only=True, eq=False)
class FlowBatch:
    """B noised scenes.

    Attributes:
        picked: (B,) numbers of the scenes.
        empty: (B,) booleans: this caption is left out.
        noisy, target: (B, C, h, w).
        sigma: (B,) noise levels in (0, 1].
    """

    picked: np.ndarray
    empty: Tensor
    noisy: Tensor
    target: Tensor
    sigma: Tensor

    def loss(self, predicted: Tensor) -> Tensor:
        """Return the mean square error of a predicted velocity (B, C, h, w)."""
        return (predicted - self.target).square().mean()


def flow_batch(
    latents: np.ndarray, seed: tuple[int, int], size: int, *, shift: float, normal_share: float
) -> FlowBatch:
    """Return the batch of a step.

    The first `normal_share` of the batch has levels drawn as SD-3 is trained (logit-normal, then
    shifted); the rest has uniform ones, so that small latents get their details, too.

    Args:
        latents: (N, C, h, w) scaled latents.
        seed: (stream, step).
        size: B.
        shift: moves the logit-normal levels towards noise.
        normal_share: in [0, 1].
    """
    rng = np.random.default_rng(seed)
    picked = rng.integers(len(latents), size=size)
    clean = torch.from_numpy(latents[picked]).float()
    noise = torch.from_numpy(rng.standard_normal(clean.shape, dtype=np.float32))
    level = 1 / (1 + np.exp(-rng.standard_normal(size)))
    level = shift * level / (1 + (shift - 1) * level)
    plain = np.arange(size) >= normal_share * size
    sigma = torch.from_numpy(np.where(plain, 1 - rng.random(size), level).astype(np.float32))
    empty = torch.from_numpy(rng.random(size) < EMPTY_CAPTION_SHARE)
    share = sigma.view(-1, 1, 1, 1)
    return FlowBatch(
        picked=picked,
        empty=empty,
        noisy=(1 - share) * clean + share * noise,
        target=noise - clean,
        sigma=sigma,
    )


def zero_start(*layers: nn.Module) -> None:
    """Set linear layers to zero, so that what they gate or put out starts at nothing."""
    for layer in layers:
        for parameter in layer.parameters():
            nn.init.zeros_(parameter)
