"""What an evaluator may bring beside its contract: how its stored references are made (FID's)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

from bench.api.evaluator import Backend, StoredReference
from bench.api.generation import ImageSet


class BuiltReference(StoredReference, Protocol):
    """A reference that was just made."""

    def to_bytes(self) -> bytes:
        """Return its file."""
        ...


class References(Protocol):
    """How the stored references of a metric are made, and what they are compared with."""

    def backend(self, protocol: str) -> str:
        """Return the back-end of a protocol's features (UsageError: the protocol is unknown)."""
        ...

    def build(
        self,
        backend: Backend,
        images: ImageSet,
        *,
        name: str,
        identity: Mapping[str, Any],
        keep: bool,
    ) -> BuiltReference:
        """Look at all images of a reference set.

        Args:
            backend: of `backend`.
            images: the set.
            name: what it will be asked for by.
            identity: of the back-end.
            keep: every image's features too, which some metrics need.

        Raises:
            ProtocolError: the number of images is not the protocol's.
        """
        ...

    def role(self, reference: StoredReference) -> str:
        """Return the role that its back-end plays."""
        ...

    def require_files(self, reference: StoredReference, formats: Mapping[str, str]) -> None:
        """Make sure that files may be measured with it.

        Args:
            reference: an opened one.
            formats: PIL's name of each file's format, by path.

        Raises:
            ProtocolError: files are of another format than the protocol's.
        """
        ...


@runtime_checkable
class MakesReferences(Protocol):
    """An evaluator whose references can be made here."""

    def stored_references(self) -> References:
        """Return how they are made."""
        ...
