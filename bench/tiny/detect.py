"""What a picture of the tiny world shows, read from its pixels alone.

Each pixel's difference from the ground is compared in direction with the palette; connected
pixels of one colour are one object; its filled outline is compared with templates of each shape.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from PIL import Image, ImageDraw

from bench.tiny.render import outline
from bench.tiny.world import COLORS, GROUND_DAY, GROUND_NIGHT, SHAPES, WASH_GREY

DETECT_VERSION = 1
MIN_COSINE = 0.90
MIN_STRENGTH = 0.40
"""Least length of a pixel's difference from the ground, relative to that of the pure colour."""
EDGE_SHARE = 0.5
"""A pixel with this share of its object's typical strength is half covered, and belongs to it."""
MIN_AREA = 12
"""Pixels of the filled object; the smallest rendered one has about 25."""

_EIGHT = np.ones((3, 3), dtype=bool)


@dataclass(frozen=True, kw_only=True, slots=True)
class Found:
    """One object. `box` is (x0, y0, x1, y1) in pixels, right and bottom exclusive.

    Attributes:
        overlap: IoU of the filled outline with the best template.
        margin: `overlap` less that of the second-best shape.
        purity: mean cosine of the object's pixels with its colour.
        strength: mean strength of its pixels (see MIN_STRENGTH).
        area: filled pixels.
    """

    shape: str
    color: str
    box: tuple[float, float, float, float]
    overlap: float
    margin: float
    purity: float
    strength: float
    area: int

    def features(self) -> tuple[float, ...]:
        """The inputs of the confidence calibration."""
        return (self.overlap, self.margin, self.purity, self.strength, float(np.log(self.area)))


def find(pixels: np.ndarray) -> list[Found]:
    """Return the objects of a uint8 image (H, W, 3), best overlap first."""
    image = pixels.astype(np.float32)
    from scipy import ndimage  # half a second, which a plan that detects nothing need not wait

    ground, pure_ground, wash = _ground(image)
    difference = image - ground
    palette = (np.array(list(COLORS.values()), dtype=np.float32) - pure_ground) * (1 - wash)
    lengths = np.linalg.norm(palette, axis=1)
    dots = difference @ palette.T
    norms = np.linalg.norm(difference, axis=-1)
    cosine = dots / np.maximum(norms[..., None] * lengths, 1e-6)
    label = cosine.argmax(-1)
    best = cosine.max(-1)
    strength = norms / lengths[label]
    colored = (best > MIN_COSINE) & (strength > MIN_STRENGTH)
    found: list[Found] = []
    for index, color in enumerate(COLORS):
        mask = colored & (label == index)
        if int(mask.sum()) < MIN_AREA // 2:
            continue
        parts, count = ndimage.label(mask, structure=_EIGHT)
        for part in range(1, count + 1):
            piece = parts == part
            thing = _describe(piece, color, best, strength)
            if thing is not None:
                found.append(thing)
    found.sort(key=lambda f: -f.overlap)
    return found


def _ground(image: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
    """Return the ground as seen, the pure ground it came from, and the share of grey in it."""
    edge = np.concatenate([image[0], image[-1], image[:, 0], image[:, -1]])
    seen = np.median(edge, axis=0)
    night = float(seen.mean()) < 125
    pure = np.array(GROUND_NIGHT if night else GROUND_DAY, dtype=np.float32)
    wash = float((seen - pure).mean() / (WASH_GREY - pure).mean())
    return seen, pure, min(max(wash, 0.0), 0.7) if wash > 0.05 else 0.0


def _describe(
    piece: np.ndarray, color: str, cosine: np.ndarray, strength: np.ndarray
) -> Found | None:
    from scipy import ndimage

    typical = float(np.percentile(strength[piece], 80))
    core = ndimage.binary_fill_holes(piece & (strength > EDGE_SHARE * typical))
    area = int(core.sum())
    if area < MIN_AREA:
        return None
    rows, columns = np.flatnonzero(core.any(1)), np.flatnonzero(core.any(0))
    if min(np.ptp(rows), np.ptp(columns)) < 3:
        return None
    # share of each pixel that the object covers; one more ring for its antialiased rim
    cover = np.clip(strength / typical, 0.0, 1.0)
    cover = np.where(core & (ndimage.binary_erosion(core) | ~piece), 1.0, cover)
    cover = np.where(ndimage.binary_dilation(core, structure=_EIGHT) & (cosine > 0.6), cover, 0.0)
    cover = np.where(core, np.maximum(cover, EDGE_SHARE), cover)
    top, bottom = _extent(cover.max(1), rows[0], rows[-1])
    left, right = _extent(cover.max(0), columns[0], columns[-1])
    y0, x0 = max(rows[0] - 1, 0), max(columns[0] - 1, 0)
    crop = cover[y0 : rows[-1] + 2, x0 : columns[-1] + 2]
    overlaps = []
    for shape in SHAPES:
        corners = tuple(round(4 * v) for v in (left - x0, top - y0, right - x0, bottom - y0))
        template = _template(shape, corners, crop.shape)
        overlaps.append(float(np.minimum(crop, template).sum() / np.maximum(crop, template).sum()))
    order = np.argsort(overlaps)[::-1]
    return Found(
        shape=SHAPES[order[0]],
        color=color,
        box=(left, top, right, bottom),
        overlap=overlaps[order[0]],
        margin=overlaps[order[0]] - overlaps[order[1]],
        purity=float(cosine[piece].mean()),
        strength=typical,
        area=area,
    )


def _extent(profile: np.ndarray, first: int, last: int) -> tuple[float, float]:
    """Return where a covered stretch begins and ends, to a fraction of a pixel."""
    before = profile[first - 1] if first > 0 else 0.0
    after = profile[last + 1] if last + 1 < len(profile) else 0.0
    low = first - before if before > 0.12 else first + 1 - profile[first]
    high = last + 1 + after if after > 0.12 else last + profile[last]
    return float(low), float(high)


@lru_cache(maxsize=20000)
def _template(shape: str, corners: tuple[int, ...], size: tuple[int, int]) -> np.ndarray:
    """Return the cover (0..1) of a shape whose box has `corners` in quarters of a pixel."""
    k = 4
    x0, y0, x1, y1 = corners
    points = np.array(outline(shape, 0.0, 0.0, 1.0))
    low, high = points.min(0), points.max(0)
    extent = np.array([max(x1 - x0 - 1, 1), max(y1 - y0 - 1, 1)])
    scaled = (points - low) / (high - low) * extent + np.array([x0, y0])
    canvas = Image.new("L", (size[1] * k, size[0] * k), 0)
    ImageDraw.Draw(canvas).polygon([(float(x), float(y)) for x, y in scaled], fill=255)
    small = canvas.resize((size[1], size[0]), Image.Resampling.BOX)
    return np.asarray(small, dtype=np.float32) / 255.0
