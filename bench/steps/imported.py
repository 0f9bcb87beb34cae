"""Images made elsewhere, taken into the store so that they are scored like our own."""

from __future__ import annotations

import shutil
from collections.abc import Collection
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
from bench.read.names import artifact_name
from bench.read.pictures import read_picture
from bench.store import Artifact, Store, Work, file_hash, writing_to

VERSION = 1
"""Bumped when the stored form of imported images changes."""


def import_images(
    store: Store,
    images: ImageSet,
    *,
    seed: int = 0,
    changed: Collection[Path] = (),
    turned: Collection[Path] = (),
) -> Artifact:
    """Copy a complete image set into the store; what is no plain PNG is decoded and kept as one.

    Args:
        store: where it goes.
        images: e.g. read from GenEval's folder layout.
        seed: recorded; what the images were really sampled with is not known.
        changed: files whose pixels are not kept as they lie in them (turned upright, the first
            of several): their names enter the identity.
        turned: files that EXIF turns and whose pixels are kept as they are stored; likewise.

    Raises:
        IncompleteError: images are missing, naming them.
        CorruptArtifactError: a file is not the one its record names.
        ProtocolError: a picture cannot be read.
        StoreError: the disk fails.
    """
    images.require_complete()
    identity: dict[str, Any] = {
        "version": VERSION,
        "suite": suite_identity(images.suite),
        "images_per_prompt": images.images_per_prompt,
        "sha256": [record.sha256 for record in images.records],
    }
    if changed:
        identity["upright"] = sorted(p.relative_to(images.root).as_posix() for p in changed)

    if turned:
        identity["as_stored"] = sorted(p.relative_to(images.root).as_posix() for p in turned)

    decoded = {*changed, *turned}

    def make(work: Work) -> None:
        jobs = image_jobs(images.suite, images.images_per_prompt, seed)
        known = {record.key: record for record in images.records}
        digests: dict[str, str] = {}
        for job in jobs:
            record = known[f"{job.prompt.id}/{job.ordinal}"]
            source, target = images.root / record.path, work.file(job.path)
            picture = read_picture(source, upright=source not in turned)
            if picture.format == "PNG" and source not in decoded:
                with writing_to(target):
                    shutil.copyfile(source, target)
                digests[job.path] = record.sha256
                other = file_hash(target) != record.sha256
            else:
                with writing_to(target):
                    picture.image.save(target, format="PNG")
                digests[job.path] = file_hash(target)
                other = file_hash(source) != record.sha256
            if other:
                raise CorruptArtifactError(f"{source} was changed while it was read")
        write_description(
            work, images.suite, spec=None, images_per_prompt=images.images_per_prompt, seed=seed
        )
        write_records(work, jobs, digests)

    return store.build(KIND, artifact_name(f"imported.{images.suite.name}"), identity, make)
