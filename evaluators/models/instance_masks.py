"""A mask transformer's raw logits to instances, and pictures to its input, as MMDetection 2 does.

Pure functions of tensors. They follow open-mmlab/mmdetection 2.x:
mmdet/models/seg_heads/panoptic_fusion_heads/maskformer_fusion_head.py (`instance_postprocess`),
mmdet/models/dense_heads/maskformer_head.py (`simple_test`), mmdet/core/mask/utils.py
(`mask2bbox`), and the test pipeline of the config mask2former_swin-s-p4-w7-224_lsj_8x2_50e_coco.
transformers' own post-processing is another rule: masks at 384 pixels, padding left in, no boxes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

LONG_EDGE, SHORT_EDGE = 1333, 800
"""Pictures are enlarged or shrunk to fit into these, sides in proportion."""
SIZE_DIVISOR = 32
PADDING = 128.0
"""Grey level put right of and below the picture, before it is normalised."""
MEAN = (123.675, 116.28, 103.53)
STD = (58.395, 57.12, 57.375)
"""Of red, green and blue, 0 to 255."""

MOST_INSTANCES = 100
_MASK_EPSILON = 1e-6
_MASKS_AT_ONCE = 8
"""Enlarged together: a hundred at once take twice as long on a CPU, and twelve times the memory."""

Size = tuple[int, int]
"""Height, width in pixels."""


@dataclass(frozen=True, kw_only=True)
class Instances:
    """N objects of one picture, the most probable class first.

    Attributes:
        labels: (N,) class indices.
        scores: (N,) float32, class probability times mean mask probability inside the mask.
        boxes: (N, 4) float32: x of the first column, y of the first row, then one above the last
            column and row; zeros for an empty mask.
        masks: (N, H, W) bool, at the picture's own size.
    """

    labels: Tensor
    scores: Tensor
    boxes: Tensor
    masks: Tensor


def fitted_size(
    height: int, width: int, *, long_edge: int = LONG_EDGE, short_edge: int = SHORT_EDGE
) -> Size:
    """Return the largest size in proportion whose edges do not exceed the two limits."""
    factor = min(long_edge / max(height, width), short_edge / min(height, width))
    return int(height * factor + 0.5), int(width * factor + 0.5)


def prepare(
    pictures: Tensor, *, long_edge: int = LONG_EDGE, short_edge: int = SHORT_EDGE
) -> tuple[Tensor, Size]:
    """Return the network's input and the size of the picture inside it.

    The resize is bilinear without antialiasing, rounded to whole grey levels: OpenCV's, whose
    fixed-point sums may differ by one level.

    Args:
        pictures: (B, H, W, 3) uint8 RGB of one size.
        long_edge, short_edge: see `fitted_size`.

    Returns:
        (B, 3, H', W') float32, normalised, H' and W' multiples of 32; and height and width of
        what is not padding.
    """
    inside = fitted_size(*pictures.shape[1:3], long_edge=long_edge, short_edge=short_edge)
    pixels = pictures.permute(0, 3, 1, 2).float()
    pixels = functional.interpolate(pixels, size=inside, mode="bilinear", align_corners=False)
    pixels = (pixels + 0.5).floor().clamp(0.0, 255.0)
    below, right = (math.ceil(n / SIZE_DIVISOR) * SIZE_DIVISOR - n for n in inside)
    pixels = functional.pad(pixels, (0, right, 0, below), value=PADDING)
    mean, std = (pixels.new_tensor(values).view(1, 3, 1, 1) for values in (MEAN, STD))
    return (pixels - mean) / std, inside


def find_instances(
    class_logits: Tensor,
    mask_logits: Tensor,
    *,
    padded: Size,
    inside: Size,
    original: Size,
    most: int = MOST_INSTANCES,
    floor: float | None = None,
) -> Instances:
    """Return the instances of one picture.

    The `most` best of all (query, class) combinations, so one query may stand for several
    classes. Equal class probabilities keep the order of query, then class (the original's top-k
    leaves it open).

    Args:
        class_logits: (Q, C + 1), the last column is "no object".
        mask_logits: (Q, h, w), of the padded input at a lower resolution.
        padded: size of the network's input.
        inside: size of the picture in it.
        original: size of the picture itself.
        most: combinations looked at.
        floor: instances whose score is not above it are left out; None keeps all, those with an
            empty mask and score 0 too.
    """
    classes = class_logits.shape[1] - 1
    probabilities = class_logits.float().softmax(dim=-1)[:, :classes].flatten()
    ordered, places = probabilities.sort(descending=True, stable=True)
    ordered, places = ordered[:most], places[:most]
    if floor is not None:  # the mask only lowers a score: what is below now stays below
        likely = ordered > floor
        ordered, places = ordered[likely], places[likely]
    queries, row = torch.unique(places // classes, return_inverse=True)
    parts = mask_logits[queries].float().split(_MASKS_AT_ONCE)
    measured = [_measured(part, padded, inside, original) for part in parts]
    masks, certainty, boxes = (torch.cat(found) for found in zip(*measured, strict=True))
    scores = ordered * certainty[row]
    kept = torch.ones_like(scores, dtype=torch.bool) if floor is None else scores > floor
    row = row[kept]
    return Instances(
        labels=(places % classes)[kept],
        scores=scores[kept],
        boxes=boxes[row],
        masks=masks[row],
    )


def _measured(
    logits: Tensor, padded: Size, inside: Size, original: Size
) -> tuple[Tensor, Tensor, Tensor]:
    """Return (Q, H, W) masks of (Q, h, w) logits, their mean probabilities (Q,), boxes (Q, 4)."""
    large = _at_original_size(logits, padded, inside, original)
    masks = large > 0
    area = masks.flatten(1).sum(dim=1)
    certainty = (large.sigmoid() * masks).flatten(1).sum(dim=1) / (area + _MASK_EPSILON)
    return masks, certainty, boxes_of(masks)


def _at_original_size(logits: Tensor, padded: Size, inside: Size, original: Size) -> Tensor:
    """Enlarge (Q, h, w) logits to the padded input, cut the padding, resize to the picture."""
    if len(logits) == 0:
        return logits.new_zeros((0, *original))
    large = functional.interpolate(logits[:, None], size=padded, mode="bilinear")
    cut = large[..., : inside[0], : inside[1]]
    resized: Tensor = functional.interpolate(cut, size=original, mode="bilinear")
    return resized[:, 0]


def boxes_of(masks: Tensor) -> Tensor:
    """Return the (N, 4) float32 boxes of (N, H, W) masks, as in `Instances`."""
    boxes = masks.new_zeros((len(masks), 4), dtype=torch.float32)
    if masks.numel() == 0:
        return boxes
    for axis, (low, high) in ((1, (0, 2)), (2, (1, 3))):
        taken = masks.any(dim=axis).int()
        boxes[:, low] = taken.argmax(dim=1).float()
        boxes[:, high] = (taken.shape[1] - taken.flip(1).argmax(dim=1)).float()
    boxes[~masks.flatten(1).any(dim=1)] = 0.0
    return boxes
