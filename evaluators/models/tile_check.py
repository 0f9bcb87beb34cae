"""How bright a picture is at most: what says that a tile is black. No model."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import ClassVar

import numpy as np

from bench.api.evaluator import Backend, Record
from bench.api.generation import ImageSet
from evaluators.models.images import prediction, read_batches


class TileCheck(Backend):
    """Writes the largest grey level of each picture; which of them are black is a rule's matter."""

    name: ClassVar[str] = "tile-check"
    version: ClassVar[int] = 1
    verified: ClassVar[str] = "rules"

    def predict(
        self, images: ImageSet, queries: Mapping[str, Sequence[str]], *, batch_size: int = 64
    ) -> Iterator[tuple[Record, Mapping[str, np.ndarray]]]:
        """Yield `"largest"` (0 to 255) of each image; queries are ignored."""
        for records, pictures in read_batches(images, batch_size):
            for record, picture in zip(records, pictures, strict=True):
                yield prediction(record, largest=int(picture.max()))
