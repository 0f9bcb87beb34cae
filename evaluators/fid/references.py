"""How reference statistics of FID and its kin are made, and which files may be measured so."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from bench.api import Backend, ImageSet, ProtocolError
from bench.api.evaluator import StoredReference
from bench.api.folder import say_copies
from bench.api.memory import predict_within_memory
from bench.api.registry import BACKENDS
from bench.read.folders import few, say_versions
from bench.read.oddities import say_odd
from bench.read.pictures import is_turned, read_picture
from evaluators.fid.protocols import PROTOCOLS, FidProtocol, backend_of
from evaluators.fid.protocols import protocol as named
from evaluators.fid.reference_stats import ReferenceStatistics, role_of
from evaluators.whole_folder import scratch

LOG = logging.getLogger(__name__)

BATCH = 32


class FidReferences:
    """Statistics of a back-end's features, under a protocol where it has one."""

    def backend(self, protocol: str) -> str:
        """Return the back-end of a protocol, or of the name of a back-end, that one.

        Raises:
            UsageError: it is neither.
        """
        if protocol in BACKENDS.names():
            return protocol
        return backend_of(named(protocol))

    def build(
        self,
        backend: Backend,
        images: ImageSet,
        *,
        name: str,
        identity: Mapping[str, Any],
        keep: bool,
    ) -> ReferenceStatistics:
        """Stream the features of all images into statistics.

        Raises:
            ProtocolError: the number of images is not the protocol's, or there is one alone.
        """
        count = len(images.records)
        found = _protocol(identity)
        if found is not None:
            found.require_counts(reference=count)
        if count < 2:
            raise ProtocolError(
                f"a reference of {count} picture has no covariance; expected two or more"
            )
        say_copies(images)
        say_versions(images.root, images.paths())
        say_odd(images.root, images.paths())
        images = _as_stored(images)
        looking: Any = backend
        looking.photographs = True  # a reference's files may be of any format
        answers = predict_within_memory(looking, images, {}, batch_size=BATCH)
        return ReferenceStatistics.of(
            (arrays["features"] for _, arrays in answers),
            name=name,
            images_sha256=images.identity,
            backend=identity,
            keep=keep,
        )

    def role(self, reference: StoredReference) -> str:
        """Return the role whose features they are of."""
        return role_of(reference.backend)

    def require_files(self, reference: StoredReference, formats: Mapping[str, str]) -> None:
        """Make sure that files are of the protocol's format (ProtocolError)."""
        found = _protocol(reference.backend)
        if found is not None:
            found.require_files(formats)


def _as_stored(images: ImageSet) -> ImageSet:
    """Return the pictures as their pixels are stored, where EXIF turns some; said once.

    The official programs open a photograph and turn nothing: a reference that was turned would not
    be the one that published numbers were measured against.
    """
    turned = [record for record in images.records if is_turned(images.root / record.path)]
    if not turned:
        return images
    LOG.warning(
        "%d of %d pictures (%s) are turned by their EXIF; they are measured as they are stored, as "
        "FID's official programs do",
        *(len(turned), len(images.records), few([record.path for record in turned])),
    )
    folder = scratch()
    copies = {}
    for number, record in enumerate(turned):
        copy = folder / f"{number:06d}.png"
        read_picture(images.root / record.path, upright=False).image.save(copy, format="PNG")
        copies[record.key] = replace(record, path=str(copy))
    kept = tuple(copies.get(record.key, record) for record in images.records)
    return replace(images, records=kept)


def _protocol(identity: Mapping[str, Any]) -> FidProtocol | None:
    return PROTOCOLS.get(str(identity.get("protocol", {}).get("name")))
