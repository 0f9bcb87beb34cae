"""Values of a row and differences of two, with the error term of `bench.stats.crossed`.

Four functions: a mean over images or a metric of a whole set, of one row or of two. Each takes one
entry per training seed. Where the base was sampled once, its images stand beside every training
seed (`dict.fromkeys(seeds, images)`); where each training seed samples from noise of its own, the
base's images of that noise do. What seeds share and what they do not is seen in the numbers, so
both go through the same formula.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

from bench.api.errors import ProtocolError
from bench.api.estimate import Estimate
from bench.stats.bootstrap import require_same_keys
from bench.stats.clusters import stratify
from bench.stats.contributions import of_images, of_metric
from bench.stats.crossed import CrossedEstimate, error_term, estimate_of
from bench.stats.proportions import share_interval

Images = Mapping[str, float]
"""The value of each image by key, `<prompt id>/<ordinal>`."""
Bounds = tuple[float | None, float | None]


def crossed_mean(
    by_seed: Mapping[int, Images],
    prompts: Mapping[str, str],
    tasks: Mapping[str, str] | None = None,
    *,
    bounds: Bounds = (None, None),
    level: float = 0.95,
) -> CrossedEstimate:
    """Estimate the unweighted mean over tasks of the mean over images, over training seeds.

    Args:
        by_seed: images by training seed; one entry (any key) for a row without training.
        prompts: prompt id by image key.
        tasks: task tag by image key; None puts all images in one task.
        bounds: ends of the scale. Where both are known, the interval over prompts is that of a
            share (`bench.stats.proportions`): it stays within, is not symmetric near an end, and
            has a length even where all images agree.
        level: confidence level.

    Raises:
        ProtocolError: seeds were measured on unlike prompts.
        ValueError: no seed, a value that is NaN, infinite or out of bounds, an image without
            prompt or task.
    """
    found = [of_images(values, prompts, tasks) for values in by_seed.values()]
    term, given = error_term(found, level=level), None
    low, high = bounds
    if low is not None and high is not None:
        averaged = _averaged(by_seed)
        strata = stratify(
            list(averaged.values()),
            [prompts[key] for key in averaged],
            None if tasks is None else [tasks[key] for key in averaged],
        )
        given = share_interval(strata, (low, high), level=level)
    n = len(found[0].names)
    return _cut(estimate_of(term, seeds=len(found), prompts=n, level=level, given=given), bounds)


def crossed_difference(
    a: Mapping[int, Images],
    b: Mapping[int, Images],
    prompts: Mapping[str, str],
    tasks: Mapping[str, str] | None = None,
    *,
    span: float | None = None,
    level: float = 0.95,
) -> CrossedEstimate:
    """Estimate row a less row b, image by image and seed by seed.

    Args:
        a: images by training seed.
        b: the same seeds. A row that was sampled once stands beside each of them.
        prompts: prompt id by image key.
        tasks: task tag by image key; None puts all images in one task.
        span: width of the metric's scale, where it is bounded. Rows that agree on all images
            then get the interval of a difference that these prompts could have missed; without
            it they get none.
        level: confidence level.

    Raises:
        ProtocolError: unlike training seeds; a seed whose two sides were not measured on the same
            images; seeds measured on unlike prompts.
        ValueError: as `crossed_mean`.
    """
    _require_same_seeds(a, b)
    found = []
    for seed, values in a.items():
        require_same_keys(values, b[seed])
        # image by image first: rows that agree differ by exactly 0
        found.append(of_images({k: v - b[seed][k] for k, v in values.items()}, prompts, tasks))
    term = error_term(found, span=span, level=level)
    return estimate_of(term, seeds=len(found), prompts=len(found[0].names), level=level)


def crossed_metric(
    by_seed: Mapping[int, Estimate],
    *,
    bounds: Bounds = (None, None),
    level: float = 0.95,
) -> CrossedEstimate:
    """Estimate a metric of a whole set (FID, inception score, KID) over training seeds.

    Args:
        by_seed: by training seed, with the values without each block of prompts; an estimate
            that has none leaves only the seeds' part known.
        bounds: ends of the scale; the interval is cut there.
        level: confidence level.

    Raises:
        ProtocolError: unlike blocks of prompts.
        ValueError: no seed, or a value that is NaN or infinite.
    """
    found = [of_metric(estimate) for estimate in by_seed.values()]
    prompts = min((e.clusters or 0 for e in by_seed.values()), default=0)
    term = error_term(found, level=level)
    return _cut(estimate_of(term, seeds=len(found), prompts=prompts, level=level), bounds)


def crossed_metric_difference(
    a: Mapping[int, Estimate], b: Mapping[int, Estimate], *, level: float = 0.95
) -> CrossedEstimate:
    """Estimate row a less row b of a metric of a whole set, block by block and seed by seed.

    Args:
        a: by training seed.
        b: the same seeds. A row that was sampled once stands beside each of them.
        level: confidence level.

    Raises:
        ProtocolError: unlike training seeds or blocks of prompts.
        ValueError: as `crossed_metric`.
    """
    _require_same_seeds(a, b)
    found = [of_metric(a[seed]).less(of_metric(b[seed])) for seed in a]
    prompts = min((e.clusters or 0 for e in [*a.values(), *b.values()]), default=0)
    term = error_term(found, level=level)
    return estimate_of(term, seeds=len(found), prompts=prompts, level=level)


def _require_same_seeds(a: Mapping[int, object], b: Mapping[int, object]) -> None:
    if a.keys() != b.keys():
        raise ProtocolError(f"unlike training seeds: {sorted(a)} against {sorted(b)}")


def _averaged(by_seed: Mapping[int, Images]) -> dict[str, float]:
    """Return the mean over seeds of each image, of those seeds that have it."""
    values: dict[str, list[float]] = {}
    for images in by_seed.values():
        for key, value in images.items():
            values.setdefault(key, []).append(value)
    return {key: math.fsum(found) / len(found) for key, found in values.items()}


def _cut(estimate: CrossedEstimate, bounds: Bounds) -> CrossedEstimate:
    """Return the estimate with its interval cut at the ends of the scale."""
    low, high = estimate.low, estimate.high
    if low is not None and bounds[0] is not None:
        low = max(low, bounds[0])
    if high is not None and bounds[1] is not None:
        high = min(high, bounds[1])
    return replace(estimate, low=low, high=high)
