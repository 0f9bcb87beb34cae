"""The tiny world's OCR: the sign, of all there can be, that a picture looks most like."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import product
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from bench.api.evaluator import Backend, Record
from bench.api.generation import ImageSet
from bench.tiny.graph_suites import LONGEST_SIGN
from bench.tiny.render import RENDER_VERSION, render
from bench.tiny.world import IMAGE_SIZE, LETTERS, WORLD_VERSION, Scene
from evaluators.models.images import prediction, read_batches

NOTHING = "No text recognized."
ALIKE = 0.7
"""Correlation with the nearest sign below which there is none in the picture. Of 300 signs of the
training distribution one is below (0.69, blurred), and two of 1500 other pictures are above."""
_BAND = slice(IMAGE_SIZE // 2 - 9, IMAGE_SIZE // 2 + 9)
"""Rows a sign's board lies in."""
_SHIFTS = tuple(product((-1, 0, 1), repeat=2))


class TinySignReader(Backend):
    """Reads signs of one to three letters by comparing pictures with renders of all of them.

    No network: the correlation of grey levels around the middle, with signs by day and by night,
    moved by up to one pixel. A picture that is like none has no text.
    """

    name: ClassVar[str] = "tiny-sign-reader"
    version: ClassVar[int] = 1
    verified: ClassVar[str] = "rules"

    def identity(self) -> dict[str, Any]:
        """Return name, version and the versions of the world and its renderer."""
        return {**super().identity(), "world": [WORLD_VERSION, RENDER_VERSION]}

    def predict(
        self, images: ImageSet, queries: Mapping[str, Sequence[str]], *, batch_size: int = 64
    ) -> Iterator[tuple[Record, Mapping[str, np.ndarray]]]:
        """Yield `"text"` and `"alike"` (correlation with that sign) of each image asked about."""
        asked = {prompt_id for prompt_id, texts in queries.items() if texts}
        for records, pictures in read_batches(images, batch_size, asked, one_size=self.name):
            for record, (text, alike) in zip(records, read_signs(np.stack(pictures)), strict=True):
                yield prediction(record, text=text if alike >= ALIKE else NOTHING, alike=alike)


def read_signs(pictures: NDArray[np.uint8]) -> list[tuple[str, float]]:
    """Return the likeliest letters and their correlation, for pictures (N, 32, 32, 3)."""
    texts, templates = _templates()
    seen = _standardise(pictures.astype(np.float64).mean(axis=3)[:, _BAND])
    alike = seen @ templates.T
    best = alike.argmax(axis=1)
    return [(texts[i], round(float(row[i]), 6)) for i, row in zip(best, alike, strict=True)]


@lru_cache
def _templates() -> tuple[list[str], NDArray[np.float64]]:
    """Return letters and (templates, pixels) of every sign by day and night, at every shift."""
    texts, rows = [], []
    for length in range(1, LONGEST_SIGN + 1):
        for letters in product(LETTERS, repeat=length):
            for night in (False, True):
                sign = render(Scene(letters="".join(letters), night=night)).mean(axis=2)
                for dy, dx in _SHIFTS:
                    texts.append("".join(letters))
                    rows.append(np.roll(sign, (dy, dx), (0, 1))[_BAND])
    return texts, _standardise(np.stack(rows))


def _standardise(pictures: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return (N, pixels) of mean 0 and norm 1; a flat picture becomes 0."""
    flat = pictures.reshape(len(pictures), -1)
    flat = flat - flat.mean(axis=1, keepdims=True)
    norms = np.linalg.norm(flat, axis=1, keepdims=True)
    unit: NDArray[np.float64] = flat / np.where(norms > 0, norms, 1.0)
    return unit
