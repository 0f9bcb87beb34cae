"""How reference statistics of FID and its kin are made, and which files may be measured so."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bench.api import Backend, ImageSet, ProtocolError
from bench.api.evaluator import StoredReference
from bench.api.memory import predict_within_memory
from bench.api.registry import BACKENDS
from evaluators.fid.protocols import PROTOCOLS, FidProtocol, backend_of
from evaluators.fid.protocols import protocol as named
from evaluators.fid.reference_stats import ReferenceStatistics, role_of

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


def _protocol(identity: Mapping[str, Any]) -> FidProtocol | None:
    return PROTOCOLS.get(str(identity.get("protocol", {}).get("name")))
