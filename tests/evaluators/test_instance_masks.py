"""From a mask transformer's logits to instances: hand-made logits and a plain rewriting."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from evaluators.models.instance_masks import (
    MEAN,
    PADDING,
    STD,
    Instances,
    boxes_of,
    find_instances,
    fitted_size,
    prepare,
)

SURE, NOT = 20.0, -20.0


def class_logits(*probabilities: tuple[float, ...]) -> Tensor:
    """Return logits whose softmax is these probabilities; the last one is "no object"."""
    return torch.tensor(probabilities).log()


def mask(size: tuple[int, int], rows: slice, columns: slice, inside: float = SURE) -> Tensor:
    logits = torch.full(size, NOT)
    logits[rows, columns] = inside
    return logits


def at_one_size(classes: Tensor, masks: list[Tensor], **options: float | None) -> Instances:
    """Post-process where input, picture and masks have one size: no resize changes a logit."""
    size = (masks[0].shape[0], masks[0].shape[1])
    return find_instances(
        classes,
        torch.stack(masks),
        padded=size,
        inside=size,
        original=size,
        **options,  # type: ignore[arg-type]
    )


def test_score_is_class_probability_times_mean_mask_probability() -> None:
    logits = mask((6, 8), slice(1, 4), slice(2, 7), inside=1.0)
    logits[1, 2] = 3.0  # one of the fifteen pixels is surer
    found = at_one_size(class_logits((0.7, 0.2, 0.1)), [logits])
    mean = (14 / (1 + math.exp(-1.0)) + 1 / (1 + math.exp(-3.0))) / (15 + 1e-6)
    assert found.labels.tolist() == [0, 1]
    assert found.scores.tolist() == pytest.approx([0.7 * mean, 0.2 * mean], rel=1e-6)
    assert found.boxes.tolist() == [[2.0, 1.0, 7.0, 4.0]] * 2
    assert found.masks[0].sum() == 15


def test_no_object_is_never_a_label() -> None:
    found = at_one_size(class_logits((0.01, 0.02, 0.97)), [mask((4, 4), slice(0, 2), slice(0, 2))])
    assert sorted(found.labels.tolist()) == [0, 1]
    assert found.scores.max() < 0.03


def test_a_pixel_at_logit_zero_is_outside() -> None:
    logits = mask((4, 4), slice(0, 1), slice(0, 3))
    logits[3, 3] = 0.0
    assert at_one_size(class_logits((0.9, 0.1)), [logits]).boxes.tolist() == [[0.0, 0.0, 3.0, 1.0]]


def test_empty_mask_has_score_zero_and_no_box() -> None:
    masks = [torch.full((5, 5), NOT), mask((5, 5), slice(2, 3), slice(4, 5))]
    classes = class_logits((0.9, 0.1), (0.4, 0.6))
    found = at_one_size(classes, masks)
    assert found.scores.tolist() == pytest.approx([0.0, 0.4])
    assert found.boxes.tolist() == [[0.0] * 4, [4.0, 2.0, 5.0, 3.0]]
    assert at_one_size(classes, masks, floor=0.0).scores.tolist() == pytest.approx([0.4])


def test_the_hundred_best_of_all_queries_and_classes() -> None:
    """Two queries, eighty classes: one query alone may fill most of the hundred."""
    generator = torch.Generator().manual_seed(0)
    classes = torch.randn((2, 81), generator=generator)
    masks = [mask((3, 3), slice(0, 2), slice(0, 2)), mask((3, 3), slice(1, 3), slice(1, 3))]
    found = at_one_size(classes, masks)
    every = classes.softmax(-1)[:, :80].flatten()
    best = sorted(range(160), key=lambda place: -float(every[place]))[:100]
    assert found.labels.tolist() == [place % 80 for place in best]
    assert found.boxes[:, 0].tolist() == [float(place // 80) for place in best]
    assert len(at_one_size(classes, masks, most=7).scores) == 7


def test_equal_probabilities_keep_the_order_of_query_and_class() -> None:
    masks = [mask((3, 3), slice(0, 1), slice(q, q + 1)) for q in (2, 1, 0)]
    found = at_one_size(torch.zeros((3, 3)), masks)
    assert found.labels.tolist() == [0, 1] * 3
    assert found.boxes[:, 0].tolist() == [2.0, 2.0, 1.0, 1.0, 0.0, 0.0]


def test_what_lies_in_the_padding_is_cut() -> None:
    """A 6 x 4 picture in an 8 x 8 input: one mask lies in the padding, the other reaches in."""
    masks = torch.stack(
        [mask((8, 8), slice(0, 8), slice(4, 8)), mask((8, 8), slice(4, 8), slice(2, 8))]
    )
    found = find_instances(
        class_logits((0.8, 0.2), (0.7, 0.3)),
        masks,
        padded=(8, 8),
        inside=(6, 4),
        original=(6, 4),
    )
    assert found.masks.shape == (2, 6, 4)
    assert found.boxes.tolist() == [[0.0] * 4, [2.0, 4.0, 4.0, 6.0]]
    assert found.scores.tolist() == pytest.approx([0.0, 0.7])


def test_masks_come_back_at_the_size_of_the_picture() -> None:
    """Masks at a quarter of a 32 x 32 input that held a 16 x 12 picture twice as large."""
    masks = mask((8, 8), slice(0, 4), slice(0, 3))[None]
    found = find_instances(
        class_logits((1.0, 1e-9)), masks, padded=(32, 32), inside=(32, 24), original=(16, 12)
    )
    # the edge lies where the logits cross zero: half way between the centres of two cells
    assert found.boxes.tolist() == [[0.0, 0.0, 6.0, 8.0]]


def bilinear(values: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resize (h, w) numbers by the definition: half-pixel centres, edges repeated."""

    def places(old: int, new: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        at = np.clip((np.arange(new) + 0.5) * old / new - 0.5, 0, None)
        low = np.minimum(at.astype(int), old - 1)
        return low, np.minimum(low + 1, old - 1), at - low

    r0, r1, rf = places(values.shape[0], size[0])
    c0, c1, cf = places(values.shape[1], size[1])
    rows = values[r0] * (1 - rf)[:, None] + values[r1] * rf[:, None]
    return np.asarray(rows[:, c0] * (1 - cf) + rows[:, c1] * cf)


def plainly(
    classes: np.ndarray,
    masks: np.ndarray,
    padded: tuple[int, int],
    inside: tuple[int, int],
    original: tuple[int, int],
) -> list[tuple[int, float, list[int]]]:
    """The rule written out in numpy, one (query, class) combination after the other."""
    exponents = np.exp(classes - classes.max(axis=1, keepdims=True))
    probabilities = exponents / exponents.sum(axis=1, keepdims=True)
    found = []
    for query in range(len(masks)):
        large = bilinear(masks[query], padded)[: inside[0], : inside[1]]
        logits = bilinear(large, original)
        rows, columns = np.nonzero(logits > 0)
        sure = (1 / (1 + np.exp(-logits)))[rows, columns].sum() / (len(rows) + 1e-6)
        box = [0, 0, 0, 0]
        if len(rows):
            box = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
        for label in range(classes.shape[1] - 1):
            probability = probabilities[query, label]
            found.append((probability, label, probability * sure, [int(v) for v in box]))
    found.sort(key=lambda entry: -entry[0])
    return [(label, score, box) for _, label, score, box in found[:100]]


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("floor", [None, 0.05])
def test_random_logits_agree_with_the_rule_written_out(seed: int, floor: float | None) -> None:
    generator = torch.Generator().manual_seed(seed)
    classes = 3.0 * torch.randn((9, 21), generator=generator)
    coarse = 4.0 * torch.randn((9, 3, 4), generator=generator) - 1.0
    masks = functional.interpolate(coarse[:, None], size=(10, 12), mode="bicubic")[:, 0]
    sizes = {"padded": (40, 48), "inside": (37, 41), "original": (23, 26)}
    found = find_instances(classes, masks, floor=floor, **sizes)  # type: ignore[arg-type]
    expected = plainly(classes.double().numpy(), masks.double().numpy(), **sizes)
    if floor is not None:
        expected = [entry for entry in expected if entry[1] > floor]
    assert len(expected) > 5
    assert found.labels.tolist() == [label for label, _, _ in expected]
    assert found.boxes.tolist() == [box for _, _, box in expected]
    assert found.scores.tolist() == pytest.approx([s for _, s, _ in expected], rel=1e-4, abs=1e-6)


def test_boxes_of_nothing() -> None:
    assert boxes_of(torch.zeros((0, 4, 4), dtype=torch.bool)).shape == (0, 4)
    classes = class_logits((0.01, 0.99))
    assert len(at_one_size(classes, [mask((3, 3), slice(0, 1), slice(0, 1))], floor=0.5).boxes) == 0


@pytest.mark.parametrize(
    ("size", "fitted"),
    [
        ((512, 512), (800, 800)),
        ((600, 1000), (800, 1333)),
        ((1000, 600), (1333, 800)),
        ((480, 640), (800, 1067)),
        ((300, 1500), (267, 1333)),
        ((1024, 1024), (800, 800)),
    ],
)
def test_fitted_size(size: tuple[int, int], fitted: tuple[int, int]) -> None:
    assert fitted_size(*size) == fitted


def test_prepare_pads_with_grey_before_it_normalises() -> None:
    picture = torch.full((1, 30, 40, 3), 200, dtype=torch.uint8)
    pixels, inside = prepare(picture, long_edge=50, short_edge=45)
    assert inside == (38, 50)
    assert pixels.shape == (1, 3, 64, 64)
    for channel in range(3):
        expected = (200.0 - MEAN[channel]) / STD[channel]
        assert pixels[0, channel, :38, :50].unique().tolist() == pytest.approx([expected])
        grey = (PADDING - MEAN[channel]) / STD[channel]
        assert pixels[0, channel, 38:].unique().tolist() == pytest.approx([grey])
        assert pixels[0, channel, :, 50:].unique().tolist() == pytest.approx([grey])


def test_prepare_is_not_antialiased_and_gives_whole_grey_levels() -> None:
    """Four columns 0 255 255 0 shrunk to one: the two in the middle count, no others."""
    stripes = torch.tensor([0, 255, 255, 0], dtype=torch.uint8).repeat(32)
    picture = stripes.view(1, 1, 128, 1).expand(1, 128, 128, 3)
    pixels, _ = prepare(picture, long_edge=32, short_edge=32)
    grey = pixels[0, 0] * STD[0] + MEAN[0]
    assert grey.flatten().tolist() == pytest.approx([255.0] * 1024, abs=1e-3)
    generator = torch.Generator().manual_seed(0)
    noise = torch.randint(0, 256, (1, 20, 20, 3), dtype=torch.uint8, generator=generator)
    pixels, _ = prepare(noise, long_edge=32, short_edge=32)
    levels = pixels[0, 2] * STD[2] + MEAN[2]
    assert torch.allclose(levels, levels.round(), atol=1e-3)
    expected = np.floor(bilinear(noise[0, :, :, 2].double().numpy(), (32, 32)) + 0.5)
    assert np.abs(levels.numpy() - expected).max() < 1e-3
