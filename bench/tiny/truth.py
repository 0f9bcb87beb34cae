"""What a perfect model would draw: image sets rendered from what the prompts mean.

They are the ceiling of each metric, and FID's reference. With `through_vae` they pass the
checkpoint's encoder and decoder first: no sampler that ends in that decoder can do better.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from bench.api.errors import UsageError
from bench.api.prompts import PromptSuite
from bench.generation.checkpoint import (
    CheckpointRef,
    device_name,
    load_pipeline_backbone,
    pick_device,
)
from bench.generation.generate import Progress, batched, fill_image_set
from bench.generation.image_set import (
    KIND,
    ImageJob,
    image_jobs,
    suite_identity,
    write_description,
)
from bench.generation.journal import JOURNAL
from bench.store import Artifact, Store, Work
from bench.tiny.render import render
from bench.tiny.scenes import SCENES_VERSION, scene_for
from bench.tiny.suites import meaning_of
from bench.tiny.world import IMAGE_SIZE, WORLD_VERSION

if TYPE_CHECKING:
    from bench.backbones.base import Backbone

VERSION = 1
"""Bumped when the images of unchanged arguments may change."""

QUALITIES = ("clean", "world")
BATCH = 64


def image_set_name(
    suite: PromptSuite, seed: int, quality: str = "clean", through_vae: CheckpointRef | None = None
) -> str:
    """Return the artifact's name."""
    vae = f"-through-{through_vae.label}" if through_vae else ""
    return f"truth-{quality}{vae}.{suite.name}.s{seed}"


def image_set_identity(
    store: Store,
    suite: PromptSuite,
    images_per_prompt: int,
    *,
    seed: int,
    quality: str = "clean",
    through_vae: CheckpointRef | None = None,
) -> dict[str, Any]:
    """Return the identity of a rendered image set.

    Raises:
        PrerequisiteError: the checkpoint is not on this machine.
        UsageError: the quality is unknown.
    """
    if quality not in QUALITIES:
        raise UsageError(f"unknown quality {quality!r}; expected one of {', '.join(QUALITIES)}.")
    return {
        "version": VERSION,
        "world": [WORLD_VERSION, SCENES_VERSION],
        "suite": suite_identity(suite),
        "images_per_prompt": images_per_prompt,
        "seed": seed,
        "quality": quality,
        "through_vae": through_vae.identity(store) if through_vae else None,
    }


def render_image_set(
    store: Store,
    suite: PromptSuite,
    images_per_prompt: int,
    *,
    seed: int,
    quality: str = "clean",
    through_vae: CheckpointRef | None = None,
    name: str | None = None,
    device: str | None = None,
    progress: Progress | None = None,
) -> Artifact:
    """Return the artifact of the images that the prompts mean, making what is missing of it.

    What a prompt leaves open is drawn anew for each image.

    Args:
        store: where it goes.
        suite: prompts of the tiny world, with their meaning in `meta`.
        images_per_prompt: of a prompt that is asked once; see `Prompt.times`.
        seed: of the set.
        quality: of what the prompt does not say: `"clean"`, or `"world"` as the base was trained.
        through_vae: encode and decode with this checkpoint.
        name: of the artifact.
        device: where the VAE runs; see `pick_device`.
        progress: called after each batch.

    Raises:
        UsageError: a prompt is not of the tiny world, or the quality is unknown.
        PrerequisiteError: the checkpoint is not on this machine.
        StoreError: the disk fails.
    """
    identity = image_set_identity(
        store, suite, images_per_prompt, seed=seed, quality=quality, through_vae=through_vae
    )
    foreign = [prompt.id for prompt in suite if "meaning" not in prompt.meta]
    if foreign:
        raise UsageError(
            f"suite {suite.name}: the meaning of prompt {foreign[0]} is not known, so it cannot be "
            "rendered; use a suite of bench.tiny.suites."
        )
    title = name or image_set_name(suite, seed, quality, through_vae)
    where = pick_device(device) if through_vae else "cpu"

    def make(work: Work) -> None:
        backbone = load_pipeline_backbone(through_vae, store, device=where) if through_vae else None

        def draw(jobs: Sequence[ImageJob]) -> np.ndarray:
            pixels = np.stack([render_job(job, clean=quality == "clean") for job in jobs])
            return pixels if backbone is None else round_trip(backbone, pixels)

        write_description(work, suite, spec=None, images_per_prompt=images_per_prompt, seed=seed)
        fill_image_set(
            work,
            batched(image_jobs(suite, images_per_prompt, seed), BATCH),
            draw,
            file_format="png",
            pixels_per_image=IMAGE_SIZE**2,
            progress=progress,
        )

    return store.build(
        KIND,
        title,
        identity,
        make,
        seeds={"noise": seed},
        config={"quality": quality, "images_per_prompt": images_per_prompt},
        device=device_name(where) if through_vae else where,
        exclude=(JOURNAL,),
    )


def render_job(job: ImageJob, *, clean: bool) -> np.ndarray:
    """Return (IMAGE_SIZE, IMAGE_SIZE, 3) uint8 pixels of a scene that fits the job's prompt."""
    rng = np.random.default_rng([VERSION, job.seed])
    return render(scene_for(meaning_of(job.prompt), rng, clean=clean, held_out=True))


def round_trip(backbone: Backbone, pixels: np.ndarray) -> np.ndarray:
    """Return (B, H, W, 3) uint8 pixels after the checkpoint's encoder and decoder."""
    import torch

    from bench.generation.sample import to_uint8

    images = torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255.0
    return to_uint8(backbone.decode(backbone.encode_images(images)))
