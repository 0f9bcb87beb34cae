"""Rows of a feature back-end's arrays, by image, and blocks of prompts for their jackknife."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from bench.api import Estimate, IncompleteError, Predictions, PromptSuite, Record
from evaluators.records import by_image, images_per_prompt

FEATURES = "features"
"""The role; its arrays are `features` (n, d) and `logits` (n, K), float32."""


def image_records(
    suite: PromptSuite, predictions: Mapping[str, Predictions], *, evaluator: str
) -> Iterator[Record]:
    """Yield one record per image (prompt_id, ordinal, tag), complete.

    Raises:
        IncompleteError: an image has no features, naming it.
    """
    given = [predictions[FEATURES]] if FEATURES in predictions else []
    images = images_per_prompt(suite, given)
    by_image(suite, predictions, FEATURES, evaluator=evaluator, images=images)
    for prompt in suite:
        for ordinal in range(images):
            yield {"prompt_id": prompt.id, "ordinal": ordinal, "tag": prompt.tag}


def rows(
    predictions: Mapping[str, Predictions], name: str, records: Sequence[Record] | None = None
) -> NDArray[np.floating]:
    """Return the rows of array `name` in the order of `records`, shape (n, d).

    Args:
        predictions: by role; only "features" is looked at.
        name: "features" or "logits".
        records: the images wanted; by default all there are.

    Raises:
        IncompleteError: no such array, or an image without a row, naming it.
        ValueError: a row is NaN or infinite, naming the image; or the array is not (n, d).
    """
    if FEATURES not in predictions or name not in predictions[FEATURES].arrays:
        raise IncompleteError(
            f"the feature predictions hold no array {name!r}; run a features back-end that "
            "writes it on the image set first"
        )
    stored, array = predictions[FEATURES].records, predictions[FEATURES].arrays[name]
    if array.ndim != 2 or len(array) != len(stored):
        raise ValueError(
            f"array {name!r} has shape {array.shape}, expected ({len(stored)}, d): one row for "
            "each image"
        )
    if records is not None:
        place = {(r["prompt_id"], r["ordinal"]): i for i, r in enumerate(stored)}
        keys = [(r["prompt_id"], r["ordinal"]) for r in records]
        missing = [f"{pid}/{k}" for pid, k in keys if (pid, k) not in place]
        if missing:
            raise IncompleteError(
                f"no {name} of {len(missing)} of {len(keys)} images: {', '.join(missing[:5])}"
            )
        array = array[[place[key] for key in keys]]
        stored = records
    broken = np.flatnonzero(~np.isfinite(array).all(axis=1))
    if broken.size:
        first = stored[int(broken[0])]
        raise ValueError(
            f"{name} of {broken.size} images are NaN or infinite, the first is "
            f"{first['prompt_id']}/{first['ordinal']}; the feature network is broken for it"
        )
    return array


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
