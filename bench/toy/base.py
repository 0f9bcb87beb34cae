"""The reference of the learned variant: a network trained on the noisy data, behind a gate."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from bench.api.errors import BenchError
from bench.toy.backbone import ToyBackbone, new_network
from bench.toy.metrics import energy_distance
from bench.toy.network import ToyDenoiser
from bench.toy.ring import draw_classes, generator_of, noisy_mixture, to_latents
from bench.toy.settings import PointSettings

PRE_DRAWN = 40_000
"""Points of noisy data the reference sees, over all classes."""


def train_reference(
    settings: PointSettings, seed: int, progress: Callable[[int, int], None]
) -> ToyDenoiser:
    """Return a network trained to predict the noise in the noisy data.

    Args:
        settings: of the toy.
        seed: of the data, the network's first weights and the training.
        progress: told (steps done, all).
    """
    ring, base = settings.ring, settings.base
    network = new_network(settings, exact=False, seed=seed)
    network.train()
    backbone = ToyBackbone(settings, new_network(settings, exact=False, seed=seed))
    points = draw_classes(noisy_mixture(ring), PRE_DRAWN // ring.classes, seed, "data")
    label = torch.arange(ring.classes).repeat_interleave(points.shape[1])
    latents = to_latents(points.reshape(-1, 2), ring)
    generator = generator_of(seed, "reference")
    drawn = (base.steps, base.batch)  # all at once: a draw at each step costs as much as a layer
    rows = torch.randint(0, len(latents), drawn, generator=generator)
    times = torch.randint(0, settings.timesteps, drawn, generator=generator)
    noises = torch.randn(*drawn, 2, 1, 1, generator=generator)
    optimiser = torch.optim.AdamW(network.parameters(), lr=base.lr, weight_decay=0.0, fused=True)
    for step in range(base.steps):
        for group in optimiser.param_groups:
            group["lr"] = base.lr * 0.5 * (1.0 + math.cos(math.pi * step / base.steps))
        row, t, noise = rows[step], times[step], noises[step]
        x_t = backbone.add_noise(latents[row], noise, t)
        loss = (network(x_t, t, label[row]) - noise).square().mean()
        loss.backward()
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
        if step % 50 == 49:
            progress(step + 1, base.steps)
    network.eval()
    return network


def require_close(points: Tensor, settings: PointSettings, seed: int) -> float:
    """Return the energy distance of a reference's samples (K, n, 2) to the noisy data.

    Raises:
        BenchError: it is above the gate, so that the comparison would start from nothing.
    """
    truth = draw_classes(noisy_mixture(settings.ring), points.shape[1], seed, "gate")
    found = float(energy_distance(points, truth).mean())
    if not found <= settings.base.gate:
        raise BenchError(
            f"the toy's reference of seed {seed} has energy distance {found:.4g} to the data it "
            f"was trained on; expected at most {settings.base.gate:g}. Train it longer, e.g. --set "
            f"base.steps={2 * settings.base.steps}."
        )
    return found
