"""Intervals *given these checkpoints*: what other prompts and other sampling seeds would have said.

Prompts are resampled within their task, and the images of each drawn prompt inside it. Resampling
at both levels alone counts the spread inside prompts twice (the mean of a prompt already carries
it), so the deviations of each task are scaled to the unbiased clustered variance; that also mends
the (P-1)/P shortfall of a bootstrap over P prompts. With few prompts the ends are moved out by
the ratio of the t to the normal quantile.

Source: Davison and Hinkley, Bootstrap Methods and their Application (1997), §3.8 (two levels);
Rao and Wu, JASA 83 (1988) 231-241 (rescaling by task).
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Hashable, Mapping, Sequence
from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike

from bench.api.errors import ProtocolError
from bench.api.estimate import Estimate
from bench.stats.clusters import Floats, Stratum, clustered_variance, mean_of_means, stratify
from bench.stats.student import half_width_factor

PROMPT_BOOTSTRAP = "prompt-bootstrap"
DEFAULT_REPLICATES = 2000
# Drawn image indices held at once; part of the stream, so changing it changes the draws.
_CHUNK = 2_000_000
_SHOWN = 5


def clustered_mean(
    values: ArrayLike,
    clusters: Sequence[Hashable],
    strata: Sequence[Hashable] | None = None,
    *,
    seed: int = 0,
    replicates: int = DEFAULT_REPLICATES,
    level: float = 0.95,
    bounds: tuple[float | None, float | None] = (None, None),
) -> Estimate:
    """Estimate the unweighted mean over tasks of the mean over images, with its interval.

    The result does not depend on the order of the images, nor a task's draws on other tasks.

    Args:
        values: shape (n,), one number per image.
        clusters: n prompt ids.
        strata: n task tags; None puts all images in one task.
        seed: of the counter-based generator.
        replicates: bootstrap replicates.
        level: confidence level of the interval.
        bounds: smallest and largest possible value; the interval is cut there.

    Returns:
        An Estimate whose `stderr` is the analytic clustered one. It has neither `stderr` nor
        interval when a task has a single prompt: nothing is then known of other prompts.

    Raises:
        ValueError: as `clusters.stratify`; or `replicates` below 1 or `level` outside (0, 1).
    """
    if replicates < 1 or not 0.0 < level < 1.0:
        raise ValueError(f"need replicates >= 1 and 0 < level < 1, got {replicates} and {level}")
    grouped = stratify(values, clusters, strata)
    value = mean_of_means(grouped)
    n = sum(s.values.size for s in grouped)
    prompts = sum(len(s.sizes) for s in grouped)
    spread = clustered_variance(grouped)
    if spread is None:
        return Estimate(value=value, n=n, clusters=prompts)
    variance, df = spread
    drawn = np.mean([_replicate_means(s, seed, replicates) for s in grouped], axis=0)
    low, high = np.quantile(drawn, [0.5 - 0.5 * level, 0.5 + 0.5 * level]).tolist()
    widening = half_width_factor(level, df) / NormalDist().inv_cdf(0.5 + 0.5 * level)
    return Estimate(
        value=value,
        stderr=math.sqrt(variance),
        low=_at_least(value - (value - low) * widening, bounds[0]),
        high=_at_most(value + (high - value) * widening, bounds[1]),
        n=n,
        clusters=prompts,
        interval=PROMPT_BOOTSTRAP,
    )


def require_same_keys(a: Mapping[str, float], b: Mapping[str, float]) -> None:
    """Raise ProtocolError naming some images that only one of two rows has."""
    only_a, only_b = sorted(a.keys() - b.keys()), sorted(b.keys() - a.keys())
    if only_a or only_b:
        raise ProtocolError(
            "a paired difference needs the same images on both sides: "
            f"{len(only_a)} are only in the first row {only_a[:_SHOWN]}, "
            f"{len(only_b)} only in the second {only_b[:_SHOWN]}. "
            "Measure both rows with the same prompts and images per prompt."
        )


def _replicate_means(stratum: Stratum, seed: int, replicates: int) -> Floats:
    """Return shape (replicates,): the task's resampled means, scaled to the unbiased variance."""
    generator = np.random.Generator(np.random.Philox(key=_stream_key(seed, stratum.name)))
    prompts, largest = len(stratum.sizes), int(stratum.sizes.max())
    rows = max(1, _CHUNK // (prompts * largest))
    means = np.concatenate(
        [
            _resample(stratum, generator, min(rows, replicates - start), largest)
            for start in range(0, replicates, rows)
        ]
    )
    between, within = stratum.residual_squares(), stratum.within_squares()
    if between + within == 0.0:
        return means
    # the conditional variance of `_resample` is (between + within) / n²
    scale = math.sqrt(prompts / (prompts - 1) * between / (between + within))
    return stratum.mean + scale * (means - stratum.mean)


def _resample(
    stratum: Stratum, generator: np.random.Generator, replicates: int, largest: int
) -> Floats:
    """Draw prompts, then images inside each drawn prompt; return the means, shape (replicates,)."""
    prompts = len(stratum.sizes)
    drawn_RP = generator.integers(prompts, size=(replicates, prompts))  # noqa: N806
    sizes_RP1 = stratum.sizes[drawn_RP][:, :, None]  # noqa: N806
    uniform = generator.random((replicates, prompts, largest))
    index = stratum.offsets[drawn_RP][:, :, None] + (uniform * sizes_RP1).astype(np.int64)
    images = stratum.values[index]
    if int(stratum.sizes.min()) < largest:  # prompts with fewer images: ignore the surplus draws
        images = np.where(np.arange(largest) < sizes_RP1, images, 0.0)
    means: Floats = images.sum(axis=(1, 2)) / sizes_RP1.sum(axis=(1, 2))
    return means


def _stream_key(seed: int, stratum: str) -> int:
    digest = hashlib.sha256(f"prompt-bootstrap\x1f{seed}\x1f{stratum}".encode()).digest()
    return int.from_bytes(digest[:16], "big")


def _at_least(value: float, bound: float | None) -> float:
    return value if bound is None else max(value, bound)


def _at_most(value: float, bound: float | None) -> float:
    return value if bound is None else min(value, bound)
