"""Rendered image sets: ceilings and FID's reference."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from bench.api import PromptSuite, UsageError
from bench.backbones.base import Backbone
from bench.generation.checkpoint import CheckpointRef
from bench.generation.image_set import open_image_set
from bench.generation.sample import to_uint8
from bench.store import Artifact, Store
from bench.tiny.render import render
from bench.tiny.scenes import scene_for
from bench.tiny.suites import compbench_tiny, geneval_tiny, meaning_of
from bench.tiny.truth import image_set_identity, render_image_set


@pytest.fixture(scope="module")
def shapes() -> PromptSuite:
    return geneval_tiny("test").limited(12)


def pixels(artifact: Artifact) -> np.ndarray:
    return np.stack([np.asarray(Image.open(p)) for p in open_image_set(artifact).paths()])


def test_images_are_renders_of_what_the_prompts_mean(store: Store, shapes: PromptSuite) -> None:
    artifact = render_image_set(store, shapes, 2, seed=0)
    images = open_image_set(artifact)
    assert images.spec is None
    assert len(images.records) == 24
    prompts = {p.id: p for p in images.suite}
    for record, found in zip(images.records, pixels(artifact), strict=True):
        rng = np.random.default_rng([1, record.seed])
        meaning = meaning_of(prompts[record.prompt_id])
        assert np.array_equal(found, render(scene_for(meaning, rng, clean=True, held_out=True)))
    assert len({r.sha256 for r in images.records}) == 24


def test_renders_are_repeatable_and_seeds_matter(store: Store, shapes: PromptSuite) -> None:
    first = render_image_set(store, shapes, 1, seed=0)
    elsewhere = render_image_set(Store(store.root / "other"), shapes, 1, seed=0)
    assert first.content_sha256 == elsewhere.content_sha256
    other = render_image_set(store, shapes, 1, seed=1)
    assert other.id != first.id
    assert not np.array_equal(pixels(other), pixels(first))


def test_the_quality_of_the_world_is_not_always_clean(store: Store) -> None:
    suite = compbench_tiny("test").limited(48)
    clean = pixels(render_image_set(store, suite, 1, seed=0))
    world = pixels(render_image_set(store, suite, 1, seed=0, quality="world"))
    changed = [not np.array_equal(a, b) for a, b in zip(clean, world, strict=True)]
    # about three tenths are slightly degraded where the prompt says nothing
    assert 0.1 < np.mean(changed) < 0.6
    with pytest.raises(UsageError, match="unknown quality 'best'"):
        render_image_set(store, suite, 1, seed=0, quality="best")


def test_the_round_trip_is_the_checkpoints_own(
    store: Store, shapes: PromptSuite, ref: CheckpointRef, backbone: Backbone
) -> None:
    plain = pixels(render_image_set(store, shapes, 1, seed=0))
    artifact = render_image_set(store, shapes, 1, seed=0, through_vae=ref, device="cpu")
    images = torch.from_numpy(plain).permute(0, 3, 1, 2).float() / 255
    expected = to_uint8(backbone.decode(backbone.encode_images(images)))
    assert np.array_equal(pixels(artifact), expected)
    assert not np.array_equal(expected, plain)


def test_what_enters_the_identity(store: Store, shapes: PromptSuite, ref: CheckpointRef) -> None:
    def path(count: int = 1, **options: object) -> str:
        identity = image_set_identity(store, shapes, count, **{"seed": 0, **options})  # type: ignore[arg-type]
        return str(store.path("images", "x", identity))

    paths = [path(), path(2), path(seed=1), path(quality="world"), path(through_vae=ref)]
    assert len(set(paths)) == 5


def test_prompts_without_a_known_meaning_are_refused(store: Store, suite: PromptSuite) -> None:
    with pytest.raises(UsageError, match="meaning of prompt p/0 is not known"):
        render_image_set(store, suite, 1, seed=0)
