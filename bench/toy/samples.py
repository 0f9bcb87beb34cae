"""What the toy's steps make: samples of a network, and what is measured of them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from torch import Tensor, nn

from bench.api.estimate import Estimate
from bench.read.text import read_lines
from bench.steps.scores import METRICS
from bench.store import Artifact, Work, write_safetensors
from bench.toy.backbone import ToyBackbone
from bench.toy.metrics import energy_to
from bench.toy.network import ToyDenoiser
from bench.toy.settings import PointSettings
from bench.training.export import load_export

SAMPLES = "samples.safetensors"
NETWORK = "network"


def open_reference(artifact: Artifact, settings: PointSettings) -> ToyBackbone:
    """Return the backbone of a reference's artifact, its bytes verified.

    Raises:
        CorruptArtifactError: a file was changed.
    """
    for name in artifact.files:
        if name.startswith(f"{NETWORK}/"):
            artifact.file(name)
    network = ToyDenoiser.from_pretrained(artifact.path / NETWORK, use_safetensors=True)
    return ToyBackbone(settings, network)


def traced_energy(backbone: ToyBackbone, export: Path, settings: PointSettings, seed: int) -> float:
    """Return the energy distance to the truth of an earlier checkpoint's first samples."""
    network, first = load_export(backbone, export), settings.sampling.trace_per_class
    points = draw(backbone, network, settings, seed, first)
    return float(energy_to(points, settings.ring, noisy=False).mean())


def cost_units(metrics: Path) -> float:
    """Return the network evaluations of a step as the training loop counted them."""
    lines = read_lines(metrics)
    return float(json.loads(lines[-1])["cost_units"])


def draw(
    backbone: ToyBackbone,
    network: nn.Module,
    settings: PointSettings,
    seed: int,
    first: int | None = None,
) -> Tensor:
    """Return a network's samples, (K, n, 2); `first`: only so many of each class."""
    sampling = settings.sampling
    return backbone.sample(
        network, per_class=sampling.per_class, steps=sampling.steps, seed=seed, first=first
    )


def write_samples(work: Work, points: Tensor, values: Mapping[str, float]) -> None:
    """Write samples (K, n, 2) and what was measured of them."""
    count = points.shape[0] * points.shape[1]
    estimates = {k: Estimate(value=v, n=count).to_json() for k, v in values.items()}
    work.write_json(METRICS, estimates)
    write_safetensors(work, SAMPLES, {"points": points.float().numpy()})
