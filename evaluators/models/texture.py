"""How much fine texture a picture has: the variance of its Laplacian. No network.

Grey levels and the four-neighbour Laplacian as OpenCV computes them on 8-bit pictures (15-bit
fixed-point luma; borders mirrored without repeating the edge). Source: RealAlign's texture measure,
the variance of `cv2.Laplacian(grey, CV_64F)`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from bench.api.evaluator import Backend, Record
from bench.api.generation import ImageSet
from evaluators.models.images import prediction, read_batches

_LUMA = (9798, 19235, 3735)
"""0.299, 0.587 and 0.114 in units of 2^-15."""
_BITS = 15


def grey(picture: np.ndarray) -> NDArray[np.uint8]:
    """Return (H, W) uint8 grey levels of (H, W, 3) uint8 RGB."""
    weighted = picture.astype(np.int64) @ np.array(_LUMA)
    levels: NDArray[np.uint8] = ((weighted + (1 << (_BITS - 1))) >> _BITS).astype(np.uint8)
    return levels


def laplacian_variance(picture: np.ndarray) -> float:
    """Return the variance of the Laplacian of (H, W, 3) uint8 RGB's grey levels.

    Raises:
        ValueError: the picture is less than two pixels high or wide.
    """
    levels = grey(picture).astype(np.float64)
    if min(levels.shape) < 2:
        raise ValueError(f"a picture of {levels.shape} pixels has no Laplacian; expected 2 x 2")
    around = np.pad(levels, 1, mode="reflect")
    response = (
        around[:-2, 1:-1] + around[2:, 1:-1] + around[1:-1, :-2] + around[1:-1, 2:] - 4 * levels
    )
    return float(response.var())


class LaplacianVariance(Backend):
    """See the module's docstring."""

    name: ClassVar[str] = "laplacian"
    version: ClassVar[int] = 1
    batches_of: ClassVar[str] = "images"
    verified: ClassVar[str] = "rules"

    def predict(
        self, images: ImageSet, queries: Mapping[str, Sequence[str]], *, batch_size: int = 64
    ) -> Iterator[tuple[Record, Mapping[str, np.ndarray]]]:
        """Yield `"texture"` of each image."""
        for records, pictures in read_batches(images, batch_size):
            for record, picture in zip(records, pictures, strict=True):
                yield prediction(record, texture=laplacian_variance(picture))
