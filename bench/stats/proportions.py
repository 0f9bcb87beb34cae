"""The interval of a mean near the ends of its scale, where a t interval is too short.

With 50 prompts and a true share of .02, many samples show one failure or none; the spread among
them says next to nothing, and an interval made from it covers the truth in .78 of all cases. The
mean on a scale from 0 to 1 gets the interval of a binomial share instead, of as many images as
are worth its clustered variance: beta quantiles between Jeffreys' (short just beside 0 and 1) and
Clopper and Pearson's (never short, and long).

Source: Korn and Graubard, Survey Methodology 24 (1998) 193-201 (effective number, t over normal);
Brown, Cai and DasGupta, Statistical Science 16 (2001) 101-133 (the intervals of a share).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import NormalDist

from bench.stats.clusters import Stratum, clustered_variance, mean_of_means
from bench.stats.student import beta_quantile, half_width_factor

# A failure is added whose prompt's images all agree: the variance that a handful of failures shows
# is no measure of how they cluster.
_ADDED = 1.0
# Of the way from Jeffreys' quantiles to Clopper and Pearson's, .6: the least that keeps coverage
# above .94 at every share, for 50 to 300 images.
_OUTWARDS = 0.3


def share_interval(
    strata: Sequence[Stratum], bounds: tuple[float, float], *, level: float = 0.95
) -> tuple[float, float] | None:
    """Return the interval over prompts of the mean over tasks of the mean over images.

    Args:
        strata: images by task; every value within `bounds`.
        bounds: ends of the scale.
        level: confidence level.

    Returns:
        Lower and upper end; None when a task has a single prompt.

    Raises:
        ValueError: a value outside the bounds.
    """
    spread = clustered_variance(strata)
    if spread is None:
        return None
    _require_within(strata, bounds)
    width = bounds[1] - bounds[0]
    share = min(max((mean_of_means(strata) - bounds[0]) / width, 0.0), 1.0)
    effective = _effective(strata, bounds)
    # a t interval's length, in numbers: fewer prompts, fewer images
    effective *= (
        NormalDist().inv_cdf(0.5 + 0.5 * level) / half_width_factor(level, spread[1])
    ) ** 2
    hits, misses = share * effective, (1.0 - share) * effective
    tail, inner, outer = 0.5 - 0.5 * level, 0.5 - _OUTWARDS, 0.5 + _OUTWARDS
    low = 0.0 if hits <= 0.0 else beta_quantile(tail, hits + inner, misses + outer)
    high = 1.0 if misses <= 0.0 else beta_quantile(1.0 - tail, hits + outer, misses + inner)
    return bounds[0] + width * min(low, share), bounds[0] + width * max(high, share)


def _effective(strata: Sequence[Stratum], bounds: tuple[float, float]) -> float:
    """Return how many independent images the mean is worth; not fewer than it has prompts."""
    found = [_share_and_variance(stratum, bounds) for stratum in strata]
    variance = math.fsum(v for _, v in found) / len(found) ** 2
    share = math.fsum(s for s, _ in found) / len(found)
    prompts = len(strata) * min(len(stratum.sizes) for stratum in strata)
    return max(float(prompts), share * (1.0 - share) / variance)


def _share_and_variance(stratum: Stratum, bounds: tuple[float, float]) -> tuple[float, float]:
    """Return a task's mean from 0 to 1 and its variance over prompts, neither of them degenerate.

    A task whose prompts all agree counts as one with a prompt more of each kind: nothing is
    known of its images but that prompts are as good as so many.
    """
    width = bounds[1] - bounds[0]
    share = (stratum.mean - bounds[0]) / width
    prompts, images = len(stratum.sizes), stratum.values.size
    variance = (stratum.variance() or 0.0) / width**2
    if variance == 0.0:
        share = (prompts * share + 1.0) / (prompts + 2.0)
        return share, share * (1.0 - share) / prompts
    few = min(share, 1.0 - share) * images
    # were all images of a prompt alike
    whole = float(stratum.values.var()) / width**2 / images * float(stratum.sizes.max())
    return share, (few * variance + _ADDED * whole) / (few + _ADDED)


def _require_within(strata: Sequence[Stratum], bounds: tuple[float, float]) -> None:
    for stratum in strata:
        least, most = float(stratum.values.min()), float(stratum.values.max())
        if least < bounds[0] or most > bounds[1]:
            raise ValueError(
                f"task {stratum.name!r}: values from {least} to {most} on a scale from {bounds[0]} "
                f"to {bounds[1]}"
            )
