"""GenEval's scoring rules, as pure functions of detections.

Source: djghosh13/geneval@af4902f, evaluation/evaluate_images.py and summary_scores.py. Any class
and colour vocabulary works. Two things the original leaves to chance are fixed here: equal scores
keep the detector's order (original: unstable sort), and two relations in one reason are listed in
the order of `RELATIONS` (original: set order).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from evaluators.detections import Box, Detection

THRESHOLD = 0.3
"""Least confidence (exclusive) of a detection that counts."""
COUNTING_THRESHOLD = 0.9
"""The same for prompts of the counting task, in include and exclude clauses alike."""
MAX_OBJECTS = 16
"""Most objects of one class that are looked at."""
NMS_IOU = 1.0
"""Boxes of one class overlapping this much are merged; 1.0 means never."""
POSITION_MARGIN = 0.1
"""Share of the summed sizes that does not count as an offset."""
NEGLIGIBLE_OFFSET = 1e-3
"""Pixels below which no relation holds."""
DIRECTION_SHARE = 0.5
"""Share of the whole offset an axis must exceed for its relation to hold."""

COUNTING = "counting"
RELATIONS = ("left of", "right of", "above", "below")
COLORS = (
    "red",
    "orange",
    "yellow",
    "green",
    "blue",
    "purple",
    "pink",
    "brown",
    "black",
    "white",
)
"""The official colours; reasons list colours in this order, then others as they appear."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Verdict:
    """Whether an image fits its prompt, and if not, why (one reason per line)."""

    correct: bool
    reason: str


def iou(a: Box, b: Box) -> float:
    """Return intersection over union of two boxes, both corner pixels included (+1 pixel)."""

    def area(box: Box) -> float:
        return max(box[2] - box[0] + 1, 0) * max(box[3] - box[1] + 1, 0)

    shared = area([max(a[0], b[0]), max(a[1], b[1]), min(a[2], b[2]), min(a[3], b[3])])
    union = area(a) + area(b) - shared
    return shared / union if union else 0.0


def relative_position(a: Box, b: Box, *, margin: float = POSITION_MARGIN) -> tuple[str, ...]:
    """Return the relations of box `a` to box `b`: none, one or two of `RELATIONS`.

    The offset of the centres is shortened on each axis by `margin` times the summed sizes, then
    divided by its unshortened length; an axis counts above one half. Computed in float32, as the
    original does on a detector's output.
    """
    corners = np.asarray((a, b), dtype=np.float32)[:, :4].reshape(2, 2, 2)
    center = corners.mean(axis=1)
    size = np.abs(corners[:, 1] - corners[:, 0])
    offset = center[0] - center[1]
    beyond = np.maximum(np.abs(offset) - margin * (size[0] + size[1]), 0) * np.sign(offset)
    if bool(np.all(np.abs(beyond) < NEGLIGIBLE_OFFSET)):
        return ()
    dx, dy = beyond / np.linalg.norm(offset)
    holds = (
        dx < -DIRECTION_SHARE,
        dx > DIRECTION_SHARE,
        dy < -DIRECTION_SHARE,
        dy > DIRECTION_SHARE,
    )
    return tuple(name for name, true in zip(RELATIONS, holds, strict=True) if true)


def keep(
    detections: Iterable[Detection],
    *,
    threshold: float,
    max_objects: int = MAX_OBJECTS,
    nms_iou: float = NMS_IOU,
) -> dict[str, list[Detection]]:
    """Return the detections that count, by class, the most confident first.

    Scores are compared in float32, a detector's own precision: a stored 0.30000001192092896 is
    float32's 0.3 and not above it.
    """
    limit = np.float32(threshold)
    by_class: dict[str, list[Detection]] = {}
    for detection in detections:
        if np.float32(detection.score) > limit:
            by_class.setdefault(detection.label, []).append(detection)
    return {
        label: _suppress(sorted(found, key=lambda d: -d.score)[:max_objects], nms_iou)
        for label, found in by_class.items()
    }


def _suppress(ordered: list[Detection], nms_iou: float) -> list[Detection]:
    if nms_iou >= 1.0:
        return ordered
    kept: list[Detection] = []
    for candidate in ordered:
        if all(iou(best.box, candidate.box) < nms_iou for best in kept):
            kept.append(candidate)
    return kept


def _color_failure(label: str, wanted: str, count: int, found: Sequence[Detection]) -> str | None:
    """Return why not all of `found` have the colour; None when they have.

    A lower-ranked object of the right colour does not rescue: `found` are the `count` best.
    """
    colors = [d.color for d in found if d.color is not None]
    right = colors.count(wanted)
    if right >= count:
        return None
    order = [c for c in COLORS if c in colors]
    order += [c for c in dict.fromkeys(colors) if c not in COLORS]
    seen = ", ".join(f"{colors.count(c)} {c}" for c in order)
    return f"expected {wanted} {label}>={count}, found {right} {wanted}; and {seen}"


def _position_failure(
    label: str,
    relation: str,
    found: Sequence[Detection],
    target: Sequence[Detection] | None,
    margin: float,
) -> str | None:
    """Return why not every found object stands so to every target; None when all do."""
    if target is None:
        return f"no target for {label} to be {relation}"
    for subject in found:
        for other in target:
            true = relative_position(subject.box, other.box, margin=margin)
            if relation not in true:
                return f"expected {label} {relation} target, found {' and '.join(true)} target"
    return None


def evaluate(
    objects: Mapping[str, Sequence[Detection]],
    requirements: Mapping[str, Any],
    *,
    margin: float = POSITION_MARGIN,
) -> Verdict:
    """Judge one image.

    Args:
        objects: what `keep` returned.
        requirements: `include`: clauses {class, count, color?, position?: [relation, index of an
            earlier clause]}, all to be met; `exclude`: clauses {class, count}, none to be reached.
        margin: see `relative_position`.
    """
    reasons: list[str] = []
    matched: list[Sequence[Detection] | None] = []
    for clause in requirements.get("include", ()):
        label, count = clause["class"], clause["count"]
        found = objects.get(label, ())[:count]
        failure: str | None = None
        if len(found) < count:
            failure = f"expected {label}>={count}, found {len(found)}"
        elif "color" in clause:
            failure = _color_failure(label, clause["color"], count, found)
        if failure is None and "position" in clause:
            relation, target = clause["position"]
            failure = _position_failure(label, relation, found, matched[target], margin)
        matched.append(found if failure is None else None)
        if failure is not None:
            reasons.append(failure)
    for clause in requirements.get("exclude", ()):
        label, count = clause["class"], clause["count"]
        number = len(objects.get(label, ()))
        if number >= count:
            reasons.append(f"expected {label}<{count}, found {number}")
    return Verdict(correct=not reasons, reason="\n".join(reasons))


def judge(
    detections: Iterable[Detection], requirements: Mapping[str, Any], *, task: str
) -> Verdict:
    """Judge one image of `task` with the official thresholds."""
    threshold = COUNTING_THRESHOLD if task == COUNTING else THRESHOLD
    return evaluate(keep(detections, threshold=threshold), requirements)


def task_scores(tags: Sequence[str], correct: Sequence[float]) -> dict[str, float]:
    """Return the share of correct images of each task, tasks in order of first appearance."""
    by_task: dict[str, list[float]] = {}
    for tag, value in zip(tags, correct, strict=True):
        by_task.setdefault(tag, []).append(float(value))
    return {tag: sum(values) / len(values) for tag, values in by_task.items()}


def overall_score(tags: Sequence[str], correct: Sequence[float]) -> float:
    """Return the unweighted mean of the task scores: GenEval's headline number."""
    scores = task_scores(tags, correct)
    return float(np.mean(list(scores.values())))
