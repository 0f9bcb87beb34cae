"""Reading the pictures of an image set for a back-end."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from bench.api.errors import ProtocolError
from bench.api.evaluator import Record
from bench.api.generation import ImageRecord, ImageSet
from bench.read.pictures import read_pixels


def read_batches(
    images: ImageSet,
    batch_size: int,
    wanted: set[str] | None = None,
    *,
    one_size: str | None = None,
) -> Iterator[tuple[list[ImageRecord], list[np.ndarray]]]:
    """Yield records with their uint8 RGB pictures (H, W, 3), in record order.

    Args:
        images: a complete image set.
        batch_size: pictures per batch.
        wanted: prompt ids to look at, or None for all.
        one_size: name of a back-end that does not resize, which looks at pictures of one size.

    Raises:
        ProtocolError: a picture is broken, or of another size than the first.
    """
    first: tuple[str, tuple[int, ...]] | None = None
    records = [r for r in images.records if wanted is None or r.prompt_id in wanted]
    for start in range(0, len(records), batch_size):
        part = records[start : start + batch_size]
        pictures = [read_pixels(images.root / record.path) for record in part]
        for record, picture in zip(part, pictures, strict=True):
            first = first or (record.path, picture.shape)
            if one_size is not None and picture.shape != first[1]:
                raise ProtocolError(
                    f"{one_size} looks at pictures of one size: {first[0]} has {_size(first[1])} "
                    f"pixels, {record.path} {_size(picture.shape)}. Resize them, or choose a "
                    "back-end that does (--set backends.ROLE=NAME); --any-size cannot help here"
                )
        yield part, pictures


def prediction(
    record: ImageRecord, arrays: Mapping[str, np.ndarray] | None = None, **found: Any
) -> tuple[Record, Mapping[str, np.ndarray]]:
    """Return what a back-end yields of an image: whose it is with what was found, and arrays."""
    return {"prompt_id": record.prompt_id, "ordinal": record.ordinal, **found}, arrays or {}


def _size(shape: tuple[int, ...]) -> str:
    return f"{shape[1]} x {shape[0]}"
