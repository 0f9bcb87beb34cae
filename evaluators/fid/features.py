"""Rows of a feature back-end's arrays, by image."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from bench.api import IncompleteError, Predictions, PromptSuite, Record
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
        for ordinal in prompt.ordinals(images):
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
