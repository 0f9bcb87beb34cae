"""What a folder of images is, as one hash; large folders are not read twice. No torch."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

from bench.store import canonical_json

MEMORY = ".cache/curation-hashes.json"
"""Where the store remembers the hashes of images."""


def listing_sha256(rows: Iterable[object]) -> str:
    """Return the sha256 over the canonical form of some rows."""
    return hashlib.sha256(canonical_json(list(rows)).encode("ascii")).hexdigest()
