"""Variance components, what a planned run sees, and what an effect needs."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from bench.api.estimate import Estimate
from bench.stats import crossed_difference
from bench.stats.components import Components, components_of_means, components_of_metrics
from bench.stats.power import Design, needed, planned, visible

Row = dict[int, dict[str, float]]
TRUE = Components(
    seeds=4e-4, prompts=0.01, images=0.10, interaction=0.005, residual=0.04,
    df_lost=1, blocks=0, n_seeds=8, n_prompts=400,
)  # fmt: skip


def drawn(seed: int, design: Design, true: Components = TRUE) -> tuple[Row, Row, dict[str, str]]:
    """A row less 0, of these components; with noise of its own, images are drawn anew a seed."""
    generator = np.random.default_rng(seed)
    s, p, k = design.seeds, design.prompts, design.images
    own = 1 if design.shared_noise else s

    def normal(variance: float | None, *shape: int) -> np.ndarray:
        return np.asarray(math.sqrt(variance or 0.0) * generator.normal(size=shape))

    x = (
        normal(true.seeds, s, 1, 1)
        + normal(true.prompts, 1, p, 1)
        + normal(true.images, own, p, k)
        + normal(true.interaction, s, p, 1)
        + normal(true.residual, s, p, k)
    )
    keys = [(i, j, f"p{i:04}/{j}") for i in range(p) for j in range(k)]
    a = {seed: {key: float(x[seed, i, j]) for i, j, key in keys} for seed in range(s)}
    zero = {key: 0.0 for _, _, key in keys}
    return a, dict.fromkeys(a, zero), {key: key.split("/")[0] for _, _, key in keys}


def test_components_are_found_again() -> None:
    design = Design(seeds=12, prompts=300, images=4)
    found = components_of_means(*drawn(0, design))
    assert found.images == pytest.approx(0.10, rel=0.15)
    assert found.residual == pytest.approx(0.04, rel=0.1)
    assert found.interaction == pytest.approx(0.005, abs=0.003)
    assert found.prompts == pytest.approx(0.01, abs=0.008)
    assert 1e-4 < found.seeds < 1.2e-3
    assert (found.n_seeds, found.n_prompts, found.df_lost, found.blocks) == (12, 300, 1, 0)
    assert found.negative == ()


def test_noise_of_its_own_is_in_the_residual() -> None:
    found = components_of_means(
        *drawn(1, Design(seeds=12, prompts=300, images=4, shared_noise=False))
    )
    assert found.residual == pytest.approx(0.14, rel=0.1)
    assert found.images == pytest.approx(0.0, abs=0.004)


def test_estimates_below_zero_are_set_to_zero_and_named() -> None:
    flat = replace(TRUE, seeds=0.0, prompts=0.0, interaction=0.0)
    named = set()
    for seed in range(6):
        found = components_of_means(*drawn(seed, Design(seeds=3, prompts=60, images=3), flat))
        named |= set(found.negative)
        for name in found.negative:
            assert getattr(found, name) == 0.0
    assert {"seeds", "prompts"} <= named


@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize("seeds", [3, 6])
def test_the_planned_error_is_that_of_runs(shared: bool, seeds: int) -> None:
    design = Design(seeds=seeds, prompts=80, images=3, shared_noise=shared)
    found = [crossed_difference(*drawn(s, design)) for s in range(40)]
    expected = planned(TRUE, design)
    assert expected.stderr is not None and expected.n_seeds == seeds
    variance = float(np.mean([(x.stderr or 0.0) ** 2 for x in found]))
    # with 5 seeds and more V is never below the larger part, so a little above its expectation
    assert variance == pytest.approx(expected.stderr**2, rel=0.25)


def test_what_can_be_seen_is_seen_in_four_of_five_runs() -> None:
    design = Design(seeds=5, prompts=100, images=2)
    effect = visible(TRUE, design)
    assert effect is not None
    seen = 0
    for seed in range(150):
        a, b, prompts = drawn(seed, design)
        shifted = {s: {k: v + effect for k, v in images.items()} for s, images in a.items()}
        p = crossed_difference(shifted, b, prompts).p
        seen += p is not None and p < 0.05
    assert 0.70 <= seen / 150 <= 0.90  # .8, standard error .033


def test_more_of_anything_sees_more_and_noise_of_its_own_makes_seeds_count() -> None:
    design = Design(seeds=5, prompts=200, images=4)
    base = visible(TRUE, design) or 0.0
    for more in ({"seeds": 10}, {"prompts": 400}, {"images": 8}, {"shared_noise": False}):
        assert (visible(TRUE, replace(design, **more)) or 1.0) < base
    assert (visible(TRUE, design, alpha=0.01) or 0.0) > base


def test_what_is_needed_is_the_least_that_sees() -> None:
    design = Design(seeds=5, prompts=100, images=2, shared_noise=False)
    effect = 0.05
    found = needed(TRUE, effect, design)
    for name, number in found.items():
        assert number is not None
        assert (visible(TRUE, replace(design, **{name: number})) or 1.0) <= effect
        if number > (3 if name == "seeds" else 1):
            assert (visible(TRUE, replace(design, **{name: number - 1})) or 0.0) > effect
    # prompts cannot make up for what differs between training seeds
    noisy = replace(TRUE, seeds=0.01)
    out_of_reach = needed(noisy, 0.02, design)
    assert out_of_reach["prompts"] is None and out_of_reach["images"] is None
    with pytest.raises(ValueError, match="effect of 0"):
        needed(TRUE, 0.0, design)


def test_one_image_a_prompt_says_nothing_of_images() -> None:
    found = components_of_means(*drawn(2, Design(seeds=4, prompts=200, images=1)))
    assert found.images is None and found.residual == 0.0
    assert found.prompts == pytest.approx(0.11, rel=0.3)
    assert needed(found, 0.05, Design(seeds=4, prompts=200))["images"] is None


def test_metrics_of_sets_go_by_their_blocks() -> None:
    generator = np.random.default_rng(3)
    blocks, size = 20, 15

    def metric(shared: np.ndarray) -> Estimate:
        images = shared + 0.5 * generator.normal(size=(blocks, size))
        without = [float(np.delete(images, j, axis=0).mean()) for j in range(blocks)]
        return Estimate(
            value=float(images.mean()), n=300, clusters=300, leave_out=tuple(without),
            block_sizes=(size,) * blocks,
        )  # fmt: skip

    shared = generator.normal(size=(blocks, size))
    a = {s: metric(shared) for s in range(6)}
    zero = dict.fromkeys(
        a,
        Estimate(
            value=0.0, n=300, clusters=300, leave_out=(0.0,) * blocks, block_sizes=(size,) * blocks
        ),
    )
    found = components_of_metrics(a, zero)
    assert (found.blocks, found.n_prompts, found.images) == (20, 300, None)
    assert found.prompts == pytest.approx(1.0, rel=0.6)
    assert found.interaction == pytest.approx(0.25, rel=0.5)
    expected = planned(found, Design(seeds=6, prompts=300))
    assert expected.df is not None and expected.df <= 19


def test_too_little_is_refused() -> None:
    a, b, prompts = drawn(4, Design(seeds=2, prompts=5))
    with pytest.raises(ValueError, match="1 training seed: components need two"):
        components_of_means({0: a[0]}, {0: b[0]}, prompts)
    with pytest.raises(ValueError, match="two seeds, two prompts"):
        planned(TRUE, Design(seeds=1, prompts=5))
