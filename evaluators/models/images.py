"""Reading the pictures of an image set for a back-end."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from PIL import Image

from bench.api.generation import ImageRecord, ImageSet


def read_batches(
    images: ImageSet, batch_size: int, wanted: set[str] | None = None
) -> Iterator[tuple[list[ImageRecord], list[np.ndarray]]]:
    """Yield records with their uint8 RGB pictures (H, W, 3), in record order.

    Args:
        images: a complete image set.
        batch_size: pictures per batch.
        wanted: prompt ids to look at, or None for all.
    """
    records = [r for r in images.records if wanted is None or r.prompt_id in wanted]
    for start in range(0, len(records), batch_size):
        part = records[start : start + batch_size]
        pictures = []
        for record in part:
            with Image.open(images.root / record.path) as picture:
                pictures.append(np.asarray(picture.convert("RGB")))
        yield part, pictures
