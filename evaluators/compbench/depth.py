"""T2I-CompBench++'s 3D spatial relations, as pure functions of boxes and a depth map.

Source: Karine-Huang/T2I-CompBench@1b70949:UniDet_eval/3D_spatial_eval.py (`determine_position`,
`main`).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from evaluators.compbench.rules import overlap
from evaluators.detections import Box, Detection

IN_FRONT_OF, BEHIND, HIDDEN = "in front of", "behind", "hidden"
DEPTH_RELATIONS = (IN_FRONT_OF, BEHIND, HIDDEN)
"""Relations looked for in a prompt, in this order."""
ENOUGH_OVERLAP = 0.5


def find_depth_relation(text: str) -> str | None:
    """Return the first of `DEPTH_RELATIONS` that occurs in the prompt."""
    return next((word for word in DEPTH_RELATIONS if word in text), None)


def mean_depth(depth: np.ndarray, box: Box, *, transposed: bool) -> float:
    """Return the mean depth inside a box; NaN where it holds no pixel of the map.

    Args:
        depth: (H, W), larger is nearer.
        box: x0, y0, x1, y1 in pixels of the map.
        transposed: read the map as upstream does, its rows by x and its columns by y.
    """
    x0, y0, x1, y1 = (max(0, int(value)) for value in box)
    part = depth[x0:x1, y0:y1] if transposed else depth[y0:y1, x0:x1]
    return float(part.mean(dtype=np.float64)) if part.size else float("nan")


def depth_position_score(
    relation: str | None, depth: np.ndarray, a: Box, b: Box, *, faithful: bool = True
) -> float:
    """Return in 0..1 how well box `a` stands before or behind box `b`.

    0 unless the mean depths differ as the relation says; then 1 if the boxes overlap by more than
    one half, else twice the overlap. So what does not overlap is 0. `faithful` keeps two quirks:
    the map is read transposed, and an overlap of exactly one half is 0.

    Args:
        relation: one of `DEPTH_RELATIONS`; None and others are 0.
        depth: (H, W) in pixels of the boxes, larger is nearer.
        a: x0, y0, x1, y1 of the first object.
        b: the same of the second.
        faithful: whether the quirks are kept.
    """
    if relation not in DEPTH_RELATIONS:
        return 0.0
    first, second = (mean_depth(depth, box, transposed=faithful) for box in (a, b))
    nearer = first > second if relation == IN_FRONT_OF else first < second
    shared = overlap(a, b)
    if not nearer or (faithful and shared == ENOUGH_OVERLAP):
        return 0.0
    return min(1.0, shared / ENOUGH_OVERLAP)


def find_pair(
    detections: Sequence[Detection], first: str, second: str, *, faithful: bool = True
) -> tuple[Detection | None, Detection | None]:
    """Return the detections of two nouns, whose labels contain them.

    Where both are there, `faithful` takes of each the last one met until both are met, as
    upstream; in all other cases it is the first one, the most confident.

    Args:
        detections: by falling score.
        first: noun of the first object.
        second: of the second.
        faithful: whether the quirk is kept.
    """
    of_first = [i for i, d in enumerate(detections) if first in d.label]
    of_second = [i for i, d in enumerate(detections) if second in d.label]
    if faithful and of_first and of_second:
        both_met = max(of_first[0], of_second[0])
        of_first, of_second = (
            [i for i in found if i <= both_met][-1:] for found in (of_first, of_second)
        )
    return (
        detections[of_first[0]] if of_first else None,
        detections[of_second[0]] if of_second else None,
    )


def depth_score(
    relation: str | None,
    depth: np.ndarray,
    a: Detection | None,
    b: Detection | None,
    *,
    faithful: bool = True,
) -> float:
    """Return a quarter of each found object's score, plus half the position score if both are.

    Unlike in two dimensions, small scores are kept.
    """
    if a is not None and b is not None:
        position = depth_position_score(relation, depth, a.box, b.box, faithful=faithful)
        return 0.25 * a.score + 0.25 * b.score + position / 2
    alone = a or b
    return 0.0 if alone is None else 0.25 * alone.score
