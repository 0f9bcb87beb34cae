"""Intervals of a mean near the ends of its scale, where a t interval is too short.

With 50 prompts and a true share of .02, many samples show one failure or none; the spread among
them says next to nothing, and an interval made from it covers the truth in .78 of all cases.
Here a task's mean on a scale from 0 to 1 gets the interval of a binomial share (Jeffreys' beta
quantiles) of as many images as the clustered variance says are independent, and the mean over
tasks gets its ends from those of the tasks.

Source: Korn and Graubard, Survey Methodology 24 (1998) 193-201 (effective number, t over normal);
Brown, Cai and DasGupta, Statistical Science 16 (2001) 101-133 (Jeffreys' interval); Zou and
Donner, Statistics in Medicine 27 (2008) 1693-1702 (ends of a sum from those of its terms).
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from statistics import NormalDist

from bench.stats.clusters import Stratum
from bench.stats.student import half_width_factor, regularised_beta

# So many failures (or successes) are added whose prompt's images all agree: the variance that a
# handful of failures shows is no measure of how they cluster.
_ADDED = 2.0


def reach_of_means(
    strata: Sequence[Stratum], bounds: tuple[float, float], *, level: float = 0.95
) -> tuple[float, float] | None:
    """Return the distances from the mean over tasks to the ends of its interval over prompts.

    Args:
        strata: images by task; every value within `bounds`.
        bounds: ends of the scale.
        level: confidence level.

    Returns:
        Distance down and distance up; None when a task has a single prompt.

    Raises:
        ValueError: a value outside the bounds.
    """
    down = up = 0.0
    for stratum in strata:
        if len(stratum.sizes) < 2:
            return None
        low, high = _task_interval(stratum, bounds, level)
        down += (stratum.mean - low) ** 2
        up += (high - stratum.mean) ** 2
    return math.sqrt(down) / len(strata), math.sqrt(up) / len(strata)


def _task_interval(
    stratum: Stratum, bounds: tuple[float, float], level: float
) -> tuple[float, float]:
    width = bounds[1] - bounds[0]
    scaled = (stratum.values - bounds[0]) / width
    if scaled.min() < 0.0 or scaled.max() > 1.0:
        raise ValueError(
            f"task {stratum.name!r}: values from {stratum.values.min()} to {stratum.values.max()} "
            f"on a scale from {bounds[0]} to {bounds[1]}"
        )
    share = min(max(float(scaled.mean()), 0.0), 1.0)
    prompts, images = len(stratum.sizes), scaled.size
    effective = _effective(stratum, share, float(scaled.var()), width)
    # a t interval's length, in numbers: fewer prompts, fewer images
    effective *= (
        NormalDist().inv_cdf(0.5 + 0.5 * level) / half_width_factor(level, prompts - 1)
    ) ** 2
    hits = share * effective
    tail = 0.5 - 0.5 * level
    low = 0.0 if hits <= 0.0 else beta_quantile(tail, hits + 0.5, effective - hits + 0.5)
    high = (
        1.0
        if images and hits >= effective
        else beta_quantile(1.0 - tail, hits + 0.5, effective - hits + 0.5)
    )
    low, high = min(low, share), max(high, share)
    return bounds[0] + width * low, bounds[0] + width * high


def _effective(stratum: Stratum, share: float, spread: float, width: float) -> float:
    """Return how many independent images the task's mean is worth; at least its prompts."""
    prompts, images = len(stratum.sizes), stratum.values.size
    variance = (stratum.variance() or 0.0) / width**2
    if variance == 0.0 or spread == 0.0:
        return float(prompts)
    few = min(share, 1.0 - share) * images
    whole = spread / images * float(stratum.sizes.max())
    variance = (few * variance + _ADDED * whole) / (few + _ADDED)
    return max(float(prompts), share * (1.0 - share) / variance)


@functools.lru_cache(maxsize=4096)
def beta_quantile(p: float, a: float, b: float) -> float:
    """Return the x with I_x(a, b) = p, for 0 < p < 1, by bisection.

    Raises:
        ValueError: `p` outside (0, 1), or as `regularised_beta`.
    """
    if not 0.0 < p < 1.0:
        raise ValueError(f"a quantile needs 0 < p < 1, got {p}")
    low, high = 0.0, 1.0
    while high - low > 1e-12:
        middle = 0.5 * (low + high)
        if regularised_beta(middle, a, b) < p:
            low = middle
        else:
            high = middle
    return 0.5 * (low + high)
