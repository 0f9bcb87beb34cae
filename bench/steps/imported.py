"""Images made elsewhere, taken into the store so that they are scored like our own."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from bench.api.errors import CorruptArtifactError
from bench.api.generation import ImageSet
from bench.generation.image_set import (
    KIND,
    image_jobs,
    suite_identity,
    write_description,
    write_records,
)
from bench.store import Artifact, Store, Work, file_hash, writing_to

VERSION = 1
"""Bumped when the stored form of imported images changes."""


def import_images(store: Store, images: ImageSet, *, seed: int = 0) -> Artifact:
    """Copy a complete image set into the store; what is no PNG file is decoded and kept as one.

    Args:
        store: where it goes.
        images: e.g. read from GenEval's folder layout.
        seed: recorded; what the images were really sampled with is not known.

    Raises:
        IncompleteError: images are missing, naming them.
        CorruptArtifactError: a file is not the one its record names.
        StoreError: the disk fails.
    """
    images.require_complete()
    identity: dict[str, Any] = {
        "version": VERSION,
        "suite": suite_identity(images.suite),
        "images_per_prompt": images.images_per_prompt,
        "sha256": [record.sha256 for record in images.records],
    }

    def make(work: Work) -> None:
        jobs = image_jobs(images.suite, images.images_per_prompt, seed)
        known = {record.key: record for record in images.records}
        digests: dict[str, str] = {}
        for job in jobs:
            record = known[f"{job.prompt.id}/{job.ordinal}"]
            source, target = images.root / record.path, work.file(job.path)
            if source.suffix.lower() == ".png":
                with writing_to(target):
                    shutil.copyfile(source, target)
                digests[job.path] = record.sha256
                changed = file_hash(target) != record.sha256
            else:
                _decode(source, target)
                digests[job.path] = file_hash(target)
                changed = file_hash(source) != record.sha256
            if changed:
                raise CorruptArtifactError(f"{source} was changed while it was read")
        write_description(
            work, images.suite, spec=None, images_per_prompt=images.images_per_prompt, seed=seed
        )
        write_records(work, jobs, digests)

    return store.build(
        KIND, f"imported.{images.suite.name}"[:120].replace(":", "-"), identity, make
    )


def _decode(source: Path, target: Path) -> None:
    """Keep the pixels of a picture of any format as PNG."""
    from PIL import Image

    with Image.open(source) as picture:
        picture.load()
        with writing_to(target):
            picture.convert("RGB").save(target, format="PNG")
