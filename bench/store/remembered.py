"""Hashes of files that lie outside the store, remembered in it between processes. No torch."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

from bench.api.errors import StoreError
from bench.api.files import file_hash, stamp
from bench.store.store import Store


class RememberedHashes:
    """The sha256 of files, believed while size, both times and inode are what they were.

    Args:
        store: where they are remembered; None remembers nothing.
        name: of the file they are remembered in, below the store's root.
        least_bytes: smaller files are hashed anew by each process.
    """

    def __init__(self, store: Store | None, name: str, *, least_bytes: int = 0) -> None:
        self._store = store
        self._name = name
        self._least = least_bytes
        self._known: dict[str, list[Any]] = {}
        self._changed = False
        if store is not None:
            with suppress(OSError, ValueError):
                self._known = dict(json.loads((store.root / name).read_bytes()))

    def of(self, path: Path) -> str:
        """Return the sha256 of a file (OSError: it cannot be read)."""
        now = stamp(path)
        if now[0] < self._least:
            return file_hash(path)
        key = str(path.absolute())
        known = self._known.get(key)
        if isinstance(known, list) and known[:-1] == list(now):
            return str(known[-1])
        digest = file_hash(path)
        self._known[key] = [*now, digest]
        self._changed = True
        return digest

    def save(self) -> None:
        """Write what was learnt; a store that cannot be written is hashed again next time."""
        if self._store is not None and self._changed:
            with suppress(StoreError):
                data = json.dumps(self._known, sort_keys=True).encode()
                self._store.disk.write_atomically(self._store.root / self._name, data)
