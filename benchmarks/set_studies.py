"""Studies of FID and inception score on Gaussian features, with a true difference of 0.

The base's images have Gaussian features (class scores); a trained row's images have features of
the same distribution, correlated with those of the base's image of the same noise. So both have
the same FID at this number of images, and every difference found is chance.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.api.estimate import Estimate
from bench.stats import CrossedEstimate, combine, crossed_metric_difference
from evaluators.fid.frechet import FrechetReference, GaussianSums
from evaluators.fid.inception_rules import ClassSums

Floats = NDArray[np.float64]
WIDTH, IMAGES, BLOCKS = 6, 200, 20
CORRELATION = 0.9
_SCALES = np.linspace(0.5, 2.0, WIDTH)
_SHIFT = np.linspace(-0.4, 0.6, WIDTH)
_REFERENCE = FrechetReference(np.zeros(WIDTH), np.eye(WIDTH))


def fid(normal: Floats) -> Estimate:
    """Return the FID of features made of standard normal numbers, shape (IMAGES, WIDTH)."""
    return _estimate(_SHIFT + _SCALES * normal, GaussianSums.of, _REFERENCE.distance_to)


def inception(normal: Floats) -> Estimate:
    """Return the inception score of class scores made of standard normal numbers."""
    return _estimate(_SHIFT + 2.0 * normal, ClassSums.of, ClassSums.score)


METRICS: dict[str, Callable[[Floats], Estimate]] = {"FID": fid, "IS": inception}


def _estimate(
    features: Floats, sums: Callable[[Any], Any], metric: Callable[[Any], float]
) -> Estimate:
    blocks = [sums(part) for part in np.array_split(features, BLOCKS)]
    total = blocks[0]
    for block in blocks[1:]:
        total = total + block
    without = tuple(metric(total - block) for block in blocks)
    sizes = (len(features) // BLOCKS,) * BLOCKS
    found = combine(metric(total), without, sizes).estimate(clusters=len(features))
    return replace(found, leave_out=without, block_sizes=sizes)


def study(
    metric: str, *, seeds: int, noise: str, training_sd: float, generator: np.random.Generator
) -> CrossedEstimate:
    """Return one study's difference; its true value is 0.

    Args:
        metric: FID or IS.
        seeds: training seeds.
        noise: `"shared"` by all seeds, or of each seed its `"own"`.
        training_sd: standard deviation of a seed's effect on the metric.
        generator: of all draws.
    """
    shape = (IMAGES, WIDTH)
    common = generator.normal(size=shape)
    ours, base, once = {}, {}, METRICS[metric](common)
    for seed in range(seeds):
        x = common if noise == "shared" else generator.normal(size=shape)
        own = np.sqrt(1.0 - CORRELATION**2) * generator.normal(size=shape)
        found = METRICS[metric](CORRELATION * x + own)
        effect = float(training_sd * generator.normal())
        ours[seed] = replace(
            found, value=found.value + effect, leave_out=tuple(v + effect for v in found.leave_out)
        )
        base[seed] = once if noise == "shared" else METRICS[metric](x)
    return crossed_metric_difference(ours, base)
