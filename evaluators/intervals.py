"""The interval of a metric of all images together: the jackknife over blocks of prompts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from bench.api import Estimate, Record


def jackknifed(
    records: Sequence[Record],
    value: float,
    without: Callable[[NDArray[np.bool_]], float | None],
    *,
    least: float,
) -> Estimate:
    """Return `value` with the interval that leaving out blocks of prompts gives.

    Args:
        records: the images, in the order of the mask below.
        value: the metric of all images.
        without: the metric without the images of a mask, shape (n,); None where too few are left.
        least: smallest possible value; the interval is cut there.

    Returns:
        An Estimate with the values without each block, which a comparison with another row over
        the same prompts needs; without interval where there is one prompt only, or too few images.
    """
    from bench.stats.jackknife import assign_blocks, combine

    prompts = [record["prompt_id"] for record in records]
    clusters = len(set(prompts))
    bare = Estimate(value=value, n=len(records), clusters=clusters)
    if clusters < 2:
        return bare
    block_of = assign_blocks(prompts, [record["tag"] for record in records])
    leave_out: list[float] = []
    for block in range(int(block_of.max()) + 1):
        found = without(block_of == block)
        if found is None:
            return bare
        leave_out.append(found)
    sizes = np.bincount(block_of).tolist()
    estimate = combine(value, leave_out, sizes).estimate(clusters=clusters)
    return replace(
        estimate,
        low=max(least, estimate.low or least),
        leave_out=tuple(leave_out),
        block_sizes=tuple(sizes),
    )
