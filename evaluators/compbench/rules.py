"""T2I-CompBench's scoring rules, as pure functions of stored predictions.

Source: Karine-Huang/T2I-CompBench@1b70949: BLIPvqa_eval (attributes), UniDet_eval/
2D_spatial_eval.py (spatial), 3_in_1_eval/3_in_1.py (complex).
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from evaluators.detections import Box, Detection

CATEGORIES = ("color", "shape", "texture", "spatial", "non_spatial", "complex")
"""The six categories of the first T2I-CompBench, whose mean alignment papers report."""
ATTRIBUTES = ("color", "shape", "texture")
COMPLEX_KINDS = ("spatial", "action", "spatialaction")

# ---- attributes: yes/no questions about noun phrases ----

MAX_PHRASES = 8
MAX_QUESTION_WORDS = 50
PHRASES_LEFT_OUT = frozenset({"top", "the side", "the left", "the right"})
_PUNCTUATION = re.compile(r'[.!"()*#:;~]')


def clean_question(question: str) -> str:
    """Return a question as BLIP is asked it: lower case, without . ! " ( ) * # : ; ~, 50 words.

    Source: BLIPvqa_eval/data/utils.py `pre_question`.
    """
    words = _PUNCTUATION.sub("", question.lower()).rstrip(" ").split(" ")
    return " ".join(words[:MAX_QUESTION_WORDS])


def questions(phrases: Sequence[str]) -> tuple[str, ...]:
    """Return the question of each of the first eight noun phrases, parts of places left out.

    Source: BLIPvqa_eval/BLIP_vqa.py `Create_annotation_for_BLIP`.
    """
    asked = [p for p in phrases if p not in PHRASES_LEFT_OUT][:MAX_PHRASES]
    return tuple(clean_question(f"{phrase}?") for phrase in asked)


def attribute_score(yes: Sequence[float]) -> float:
    """Return the product of the answers' probabilities of "yes", rounded as upstream rounds.

    Each is rounded to four decimals, the product is taken in float32 in the order of the questions
    and rounded to four decimals again. Without any answer the product is 1.

    Source: BLIPvqa_eval/models/blip_vqa.py `forward`, BLIPvqa_eval/BLIP_vqa.py `main`.
    """
    product = np.float32(1)
    for probability in yes:
        product *= np.float32(_four_decimals(np.float32(probability)))
    return _four_decimals(product)


def _four_decimals(value: np.float32) -> float:
    return float(f"{float(value):.4f}")


# ---- spatial: two detected objects and where they stand ----

NEAR = ("on side of", "next to", "near")
LEFT_OF, RIGHT_OF = "on the left of", "on the right of"
BOTTOM_OF, TOP_OF = "on the bottom of", "on the top of"
ON_TOP_OF = "on top of"
LOCALITIES = (
    "on side of",
    "next to",
    "near",
    LEFT_OF,
    RIGHT_OF,
    BOTTOM_OF,
    TOP_OF,
    ON_TOP_OF,
)
"""Relations looked for in a prompt, in this order. `ON_TOP_OF` is recognised but has no rule: 0."""
PERSONS = frozenset({"girl", "boy", "man", "woman"})
"""Nouns the detector knows as "person"."""

DETECTOR_SHORT_SIDE, DETECTOR_LONG_SIDE = 479, 480
"""Pixels of the image the distances below are measured in."""
DETECTOR_THRESHOLD = 0.1
"""Least score (exclusive) of a detection; the documented 0.5 has no effect upstream."""
NEAR_PIXELS = 150.0
OVERLAP = 0.1
LEAST_SCORE = 0.5


def find_locality(text: str) -> str | None:
    """Return the first of `LOCALITIES` that occurs in the prompt."""
    return next((word for word in LOCALITIES if word in text), None)


def detector_size(width: int, height: int) -> tuple[int, int]:
    """Return (width, height) of an image as the official detector sees it.

    The short side becomes 479 pixels unless the long one would exceed 480; then that is 480.
    """
    short, long = min(width, height), max(width, height)
    new_short, new_long = DETECTOR_SHORT_SIDE, int(DETECTOR_SHORT_SIDE * long / short)
    if new_long > DETECTOR_LONG_SIDE:
        new_short = int(DETECTOR_LONG_SIDE * new_short / new_long)
        new_long = DETECTOR_LONG_SIDE
    return (new_short, new_long) if width <= height else (new_long, new_short)


def to_detector_pixels(box: Box, width: int, height: int) -> tuple[float, float, float, float]:
    """Return a box of a (width, height) image in pixels of `detector_size`."""
    new_width, new_height = detector_size(width, height)
    x, y = new_width / width, new_height / height
    return (box[0] * x, box[1] * y, box[2] * x, box[3] * y)


def overlap(a: Box, b: Box) -> float:
    """Return intersection over union; 0 for two boxes without area (upstream divides by zero)."""
    wide = max(0.0, min(a[2], b[2]) - max(a[0], b[0]))
    high = max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
    shared = wide * high
    union = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - shared
    return shared / union if union else 0.0


def position_score(locality: str | None, a: Box, b: Box) -> float:
    """Return in 0..1 how well box `a` stands to box `b`; both in pixels of `detector_size`.

    Nearness: 1 if the centres are closer than 150 pixels on *either* axis, else 150 over the
    larger distance. A direction: 0 unless the centre lies on the right side and that axis
    strictly dominates; then 1 below an overlap of 0.1, else 0.1 over the overlap.

    Source: UniDet_eval/2D_spatial_eval.py `determine_position`.
    """
    dx = (b[0] + b[2]) / 2 - (a[0] + a[2]) / 2
    dy = (b[1] + b[3]) / 2 - (a[1] + a[3]) / 2
    if locality in NEAR:
        if abs(dx) < NEAR_PIXELS or abs(dy) < NEAR_PIXELS:
            return 1.0
        return NEAR_PIXELS / max(abs(dx), abs(dy))
    along, across = {
        LEFT_OF: (dx, dy),
        RIGHT_OF: (-dx, dy),
        TOP_OF: (dy, dx),
        BOTTOM_OF: (-dy, dx),
    }.get(locality or "", (0.0, 0.0))
    if along <= abs(across):
        return 0.0
    shared = overlap(a, b)
    return 1.0 if shared < OVERLAP else OVERLAP / shared


def best_detection(
    detections: Sequence[Detection], label: str | None, color: str | None = None
) -> Detection | None:
    """Return the most confident detection above the threshold with exactly this label.

    Among equal scores the first; `color` None takes any colour, as upstream.
    """
    found = [
        d
        for d in detections
        if d.label == label
        and np.float32(d.score) > np.float32(DETECTOR_THRESHOLD)
        and (color is None or d.color == color)
    ]
    return max(found, key=lambda d: d.score, default=None)


def spatial_score(locality: str | None, a: Detection | None, b: Detection | None) -> float:
    """Return a quarter of each found object's score, plus half the position score if both are.

    What stays below 0.5 becomes 0; so one object alone is always 0. Boxes are in pixels of
    `detector_size`.

    Source: UniDet_eval/2D_spatial_eval.py `main`.
    """
    score = 0.0
    if a is not None and b is not None:
        score = 0.25 * a.score + 0.25 * b.score + position_score(locality, a.box, b.box) / 2
    elif a is not None or b is not None:
        score = 0.25 * (a or b).score  # type: ignore[union-attr]
    return score if score >= LEAST_SCORE else 0.0


# ---- complex: three in one, and the mean of the categories ----


def complex_key(line: str) -> str:
    """Return what a complex prompt is looked up by: the text before the first ".", lower case."""
    return line.strip("\n").split(".")[0].lower()


def complex_kind(text: str, spatial: frozenset[str], action: frozenset[str]) -> str:
    """Return the kind of a complex prompt from the keys of the two official lists."""
    key = complex_key(text)
    if key in spatial:
        return "spatial"
    return "action" if key in action else "spatialaction"


def complex_score(kind: str, *, attribute: float, spatial: float, action: float) -> float:
    """Return the mean of the attribute score and of those the prompt's kind calls for.

    Probabilities and a CLIP cosine are averaged as they are, as upstream.

    Args:
        kind: one of `COMPLEX_KINDS`.
        attribute: of the noun phrases.
        spatial: of the two objects (not used for "action").
        action: CLIP cosine of the whole text (not used for "spatial").

    Source: 3_in_1_eval/3_in_1.py `main`.
    """
    if kind == "spatial":
        return (spatial + attribute) * 0.5
    if kind == "action":
        return (action + attribute) * 0.5
    if kind == "spatialaction":
        return (attribute + spatial + action) / 3
    raise ValueError(f"kind of complex prompt is {kind!r}, expected one of {COMPLEX_KINDS}")
