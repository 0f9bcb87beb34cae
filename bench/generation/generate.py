"""Prompts and a checkpoint in, an image set out; and the loop that fills any image set.

The images are cut into batches once, from the settings alone. What an interrupted attempt left
undone is made in the same batches, of which only the missing images are written: so a resumed
set is equal to an uninterrupted one to the bit. torch is imported when images are made.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

from bench.api.errors import UsageError
from bench.api.generation import GenerationSpec, ImageRecord
from bench.api.memory import Fitting
from bench.api.prompts import PromptSuite
from bench.generation.checkpoint import (
    CheckpointRef,
    device_name,
    load_pipeline_backbone,
    pick_device,
)
from bench.generation.encode import ImageWriter
from bench.generation.image_set import (
    KIND,
    RECORDS_FILE,
    ImageJob,
    image_jobs,
    image_set_identity,
    image_set_name,
    write_description,
    write_records,
)
from bench.generation.journal import JOURNAL, Journal
from bench.store import Artifact, Store, Work, read_jsonl
from bench.store.remarks import remark, remarks_of, say
from bench.store.shards import (
    finished_shards,
    shard_identity,
    shard_name,
    take_file,
)

if TYPE_CHECKING:
    import numpy as np

Progress = Callable[[int, int], None]
"""(images done, images in all)."""

Maker = Callable[[Sequence[ImageJob]], "np.ndarray"]
"""Makes (B, H, W, 3) uint8 pixels of B images."""


def generate_image_set(
    store: Store,
    checkpoint: CheckpointRef,
    suite: PromptSuite,
    spec: GenerationSpec,
    images_per_prompt: int,
    seed: int,
    *,
    name: str | None = None,
    shards: int = 1,
    shard: int | None = None,
    batch_size: int | None = None,
    device: str | None = None,
    processes: int | None = None,
    progress: Progress | None = None,
) -> Artifact:
    """Return the artifact of an image set, making what is missing of it.

    Args:
        store: where it goes.
        checkpoint: what is sampled from.
        suite: the prompts.
        spec: the settings.
        images_per_prompt: of a prompt that is asked once; see `Prompt.times`.
        seed: of the set; see `bench.api.image_seed`.
        name: of the artifact.
        shards: into how many parts the work is cut. Part and whole are the same images.
        shard: make this part alone, an artifact of its own that `open_image_set` refuses as
            incomplete. None makes the whole, from the parts that are there, and removes those.
        batch_size: images sampled at once; by default decided by their size. The noise of an
            image does not depend on it, its pixels do by float rounding alone.
        device: see `pick_device`.
        processes: encoders, see `ImageWriter`.
        progress: called after each batch.

    Raises:
        PrerequisiteError: the checkpoint is not on this machine.
        UsageError: settings are out of range or do not fit the checkpoint.
        BenchError: a sampled image holds a NaN.
        StoreError: the disk fails.
    """
    if images_per_prompt < 1 or len(suite) == 0:
        raise UsageError(
            f"{images_per_prompt} images for each of {len(suite)} prompts; expected at least one."
        )
    if shards < 1 or (shard is not None and not 0 <= shard < shards):
        raise UsageError(f"shard {shard} of {shards}; expected 0 <= shard < shards.")
    of = image_set_identity(checkpoint.identity(store), suite, spec, images_per_prompt, seed)
    title = name or image_set_name(checkpoint, suite, seed)
    whole = shard is None or shards == 1
    own = title if whole else shard_name(title)
    identity = of if whole else shard_identity(of, shard or 0, shards)
    found = store.find(KIND, own, identity)
    if found:
        return found

    import numpy as np

    from bench.generation.remarks import image_remarks
    from bench.generation.sample import Sampler, default_batch_size

    batches = batched(
        image_jobs(suite, images_per_prompt, seed, spec.file_format),
        batch_size or default_batch_size(spec),
    )
    device = pick_device(device)

    def make(work: Work) -> None:
        parts = list(finished_shards(store, KIND, title, of)) if whole else []
        _adopt_shards(work, parts)
        sampler: Sampler | None = None
        fitting = Fitting(f"images of {spec.height}x{spec.width}", device)

        def loaded() -> Sampler:
            nonlocal sampler
            if sampler is None:
                backbone = load_pipeline_backbone(
                    checkpoint, store, dtype=spec.dtype, device=device
                )
                sampler = Sampler(backbone, spec)
            return sampler

        def sample(jobs: Sequence[ImageJob]) -> np.ndarray:
            making = loaded()

            def part(some: Sequence[ImageJob]) -> np.ndarray:
                return making.images([j.prompt.text for j in some], [j.seed for j in some])

            return np.concatenate(fitting(part, jobs))

        if parts:
            remark(work, remarks_of(parts[0]))
        else:
            said = image_remarks(loaded().backbone, checkpoint, suite, spec, store)
            say(work, said, aloud=not shard)
        write_description(work, suite, spec=spec, images_per_prompt=images_per_prompt, seed=seed)
        fill_image_set(
            work,
            batches if whole else batches[shard::shards],
            sample,
            file_format=spec.file_format,
            pixels_per_image=spec.height * spec.width,
            processes=processes,
            progress=progress,
        )

    return store.build(
        KIND,
        own,
        identity,
        make,
        upstream={"checkpoint": checkpoint.location} if checkpoint.kind == "train" else None,
        seeds={"noise": seed},
        config={
            "checkpoint": checkpoint.to_json(),
            "spec": spec.identity(),
            "images_per_prompt": images_per_prompt,
            "shard": None if whole else [shard, shards],
        },
        device=device_name(device),
        exclude=(JOURNAL,),
    )


def batched(jobs: Sequence[ImageJob], size: int) -> list[Sequence[ImageJob]]:
    """Return the jobs in batches of `size`, the last perhaps smaller.

    Raises:
        UsageError: the size is not positive.
    """
    if size < 1:
        raise UsageError(f"batch_size is {size}; expected at least 1.")
    return [jobs[start : start + size] for start in range(0, len(jobs), size)]


def fill_image_set(
    work: Work,
    batches: Sequence[Sequence[ImageJob]],
    make: Maker,
    *,
    file_format: str,
    pixels_per_image: int,
    processes: int | None = None,
    progress: Progress | None = None,
) -> None:
    """Make the missing images of all batches, then write the list of images.

    Args:
        work: the working folder; `bench.generation.journal.JOURNAL` is scratch in it.
        batches: the images. A batch is made whole where any image of it is missing.
        make: makes the pixels of a batch.
        file_format: see `GenerationSpec`.
        pixels_per_image, processes: see `ImageWriter`.
        progress: called after each batch that was made, and at the end.
    """
    journal = Journal(work.path, work.disk)
    total = sum(len(batch) for batch in batches)
    with ImageWriter(
        work,
        file_format,
        pixels_per_image=pixels_per_image,
        on_written=journal.add,
        processes=processes,
    ) as writer:
        done, made = 0, journal.made
        for batch in batches:
            done += len(batch)
            missing = [row for row, job in enumerate(batch) if job.path not in made]
            if not missing:
                continue
            pixels = make(batch)
            writer.write([batch[row].path for row in missing], [pixels[row] for row in missing])
            if progress:
                progress(done, total)
    jobs = [job for batch in batches for job in batch]
    write_records(work, jobs, journal.made)
    if progress:
        progress(total, total)


def _adopt_shards(work: Work, parts: Iterable[Artifact]) -> None:
    """Take the images of finished parts into the whole set."""
    journal = Journal(work.path, work.disk)
    made = journal.made
    for part in parts:
        taken: dict[str, str] = {}
        for record in (ImageRecord(**row) for row in read_jsonl(part.file(RECORDS_FILE))):
            if record.path not in made:
                take_file(part, record.path, work.file(record.path))
                taken[record.path] = record.sha256
        journal.add(taken)
