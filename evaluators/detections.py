"""What a detector back-end stores for an image, as typed values.

    {"prompt_id": "00000", "ordinal": 0, "width": 512, "height": 512,
     "detections": [{"class": "bench", "score": 0.97, "box": [x0, y0, x1, y1], "color": "red"}]}

Boxes are in pixels with y downwards; "color" is null where no colour could be read.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Box = Sequence[float]
"""x0, y0, x1, y1 in pixels, y downwards."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Detection:
    """One object a detector found. `color` is None where no colour was read."""

    label: str
    score: float
    box: tuple[float, float, float, float]
    color: str | None = None


def parse_detections(
    record: Mapping[str, Any], *, colored: Collection[str] = ()
) -> list[Detection]:
    """Return the detections of a stored record, in its order.

    Args:
        record: see the module's docstring.
        colored: classes whose colour will be judged; their detections must have a "color" entry
            (null is allowed: the detector looked and could not tell).

    Raises:
        ValueError: a field is missing, or a score or coordinate is NaN or infinite; the message
            names the image.
    """
    name = f"image {record.get('prompt_id')}/{record.get('ordinal')}"
    if "detections" not in record:
        raise ValueError(f"{name}: the detector's record has no 'detections' list")
    return [_parse(entry, name, colored) for entry in record["detections"]]


def _parse(entry: Mapping[str, Any], name: str, colored: Collection[str]) -> Detection:
    try:
        label, score, (x0, y0, x1, y1) = entry["class"], entry["score"], entry["box"]
    except (KeyError, TypeError, ValueError):
        raise ValueError(
            f"{name}: detection {entry!r} lacks a class, a score or a box of four numbers"
        ) from None
    if not all(math.isfinite(v) for v in (score, x0, y0, x1, y1)):
        raise ValueError(
            f"{name}: detection of {label!r} has score {score} and box {entry['box']}; expected "
            "finite numbers, a broken detector is never counted as having found nothing"
        )
    if label in colored and "color" not in entry:
        raise ValueError(
            f"{name}: the prompt asks for a colour of {label!r}, but the detector stored none; "
            "use a detector back-end that classifies colours"
        )
    return Detection(
        label=label,
        score=float(score),
        box=(float(x0), float(y0), float(x1), float(y1)),
        color=entry.get("color"),
    )
