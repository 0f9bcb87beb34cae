"""The rule that chooses a base's sampling scale."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from bench.api import Estimate
from bench.api.errors import ProtocolError, UsageError
from bench.stats.scale import SCALES, ScalePoint, choose_scale
from evaluators.fid.estimate import blocks_of, frechet_estimate
from evaluators.fid.frechet import FrechetReference, GaussianSums
from tests.stats.blocks import paired_block_jackknife

THREE = (1.0, 2.0, 3.0)
CAPTIONS, EACH, WIDTH = 40, 5, 3
RECORDS = [
    {"prompt_id": f"c{i:02d}", "ordinal": k, "tag": "caption"}
    for i in range(CAPTIONS)
    for k in range(EACH)
]
NOISE = np.random.default_rng(3).normal(size=(len(RECORDS), WIDTH))
TARGET = FrechetReference(np.zeros(WIDTH), np.eye(WIDTH))


def features(shift: float, own: float = 0.0) -> np.ndarray:
    """Return features of one noise at a distance of about shift², with noise of their own."""
    extra = np.random.default_rng(int(1000 * shift)).normal(size=NOISE.shape)
    moved = NOISE + own * extra
    moved[:, 0] += shift
    return moved


def point(scale: float, shift: float, quality: float, own: float = 0.0) -> ScalePoint:
    return ScalePoint(
        scale=scale,
        distance=frechet_estimate(RECORDS, features(shift, own), TARGET),
        quality=Estimate(value=quality, stderr=0.02, n=100),
    )


def grid(shifts: Sequence[float], qualities: Sequence[float]) -> list[ScalePoint]:
    return [point(s, d, q) for s, d, q in zip(THREE, shifts, qualities, strict=True)]


def test_the_least_distance_wins_where_nothing_is_near() -> None:
    found = choose_scale(grid([2.0, 0.5, 2.0], [0.1, 0.2, 0.9]), THREE)
    assert (found.chosen, found.least, found.best, found.within) == (2.0, 2.0, 3.0, (2.0,))
    assert found.excess[1].value == found.excess[1].stderr == 0.0
    assert found.excess[2].value > 2.0 > 10 * found.excess[2].stderr


def made(scale: float, value: float, spread: float, quality: float) -> ScalePoint:
    """Return a point whose FID moves by ± `spread` where one of four blocks is left out."""
    left_out = (value + spread, value - spread, value + spread, value - spread)
    distance = Estimate(value=value, n=40, leave_out=left_out, block_sizes=(10, 10, 10, 10))
    return ScalePoint(scale=scale, distance=distance, quality=Estimate(value=quality, n=100))


@pytest.mark.parametrize(("qualities", "chosen"), [([0.1, 0.2, 0.9], 3.0), ([0.9, 0.2, 0.1], 1.0)])
def test_of_scales_that_cannot_be_told_apart_the_nearest_to_the_best_geneval_wins(
    qualities: list[float], chosen: float
) -> None:
    # over equal blocks a jackknife's variance is (b - 1) / b times the sum of squares: here 3 d²
    least, spread = 5.0, 0.1
    values = (least + 0.99 * 3**0.5 * spread, least, least + 0.99 * 3**0.5 * spread)
    points = [
        made(scale, value, spread if value > least else 0.0, quality)
        for scale, value, quality in zip(THREE, values, qualities, strict=True)
    ]
    found = choose_scale(points, THREE)
    assert found.excess[0].stderr == pytest.approx(3**0.5 * spread)
    assert found.within == THREE
    assert found.chosen == chosen
    beyond = least + 1.01 * 3**0.5 * spread
    points = [made(1.0, beyond, spread, 0.9), points[1], made(3.0, beyond, spread, 0.1)]
    assert choose_scale(points, THREE).chosen == 2.0


def test_of_two_as_near_the_lower_scale_wins() -> None:
    points = [made(1.0, 5.0, 0.0, 0.1), made(2.0, 9.0, 0.0, 0.9), made(3.0, 5.01, 0.1, 0.1)]
    found = choose_scale(points, THREE)
    assert found.within == (1.0, 3.0)
    assert found.chosen == 1.0


def test_the_standard_error_is_that_of_leaving_out_the_same_captions_in_both() -> None:
    one, other = features(0.5, own=0.2), features(0.8, own=0.2)
    points = [point(1.0, 0.5, 0.1, own=0.2), point(2.0, 0.8, 0.2, own=0.2)]
    excess = choose_scale(points, (1.0, 2.0)).excess[1]
    blocks = blocks_of(RECORDS)
    sums = [
        [GaussianSums.of(side[blocks == b]) for b in range(int(blocks.max()) + 1)]
        for side in (other, one)
    ]
    paired = paired_block_jackknife(*sums, TARGET.distance_to)
    assert excess.value == pytest.approx(paired.value, rel=1e-9)
    assert excess.stderr == pytest.approx(paired.stderr, rel=1e-6)
    # what they share is taken out: unpaired it would be far larger
    alone = [p.distance.stderr or 0.0 for p in points]
    assert excess.stderr < 0.8 * float(np.hypot(*alone))


def test_what_is_missing_is_refused_with_the_reason() -> None:
    points = grid([2.0, 0.5, 2.0], [0.1, 0.2, 0.9])
    with pytest.raises(UsageError, match=r"among 1, 2, 3; measured were 1, 2\. Measure every"):
        choose_scale(points[:2], THREE)
    with pytest.raises(UsageError, match="measured was none"):
        choose_scale([], SCALES)
    with pytest.raises(UsageError, match="measured were 1, 1, 2, 3"):
        choose_scale([points[0], *points], THREE)
    bare = replace(points[1], distance=Estimate(value=1.0, n=200))
    with pytest.raises(UsageError, match="FID at scale 2 has no values without blocks"):
        choose_scale([points[0], bare, points[2]], THREE)
    fewer = replace(points[1], distance=replace(points[1].distance, n=100))
    with pytest.raises(ProtocolError, match="scale 2: 100"):
        choose_scale([points[0], fewer, points[2]], THREE)
    sizes = points[1].distance.block_sizes
    other = replace(points[1].distance, block_sizes=(*sizes[:-1], sizes[-1] + 1))
    with pytest.raises(ProtocolError, match="unlike blocks"):
        choose_scale([points[0], replace(points[1], distance=other), points[2]], THREE)
    broken = replace(points[1], quality=replace(points[1].quality, value=float("nan")))
    with pytest.raises(ValueError, match="GenEval at scale 2 is nan"):
        choose_scale([points[0], broken, points[2]], THREE)
