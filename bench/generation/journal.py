"""What is already made of an image set that was interrupted. No torch."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from bench.store import DISK, Disk, Entry
from bench.store import Journal as StoreJournal

JOURNAL = "progress.jsonl"
"""A scratch file: it is removed before the set is published."""


class Journal:
    """The images that were written whole, one line each: path and sha256.

    An image counts as made when the journal names it and its bytes have that hash; so a file
    that a crash left cut short, empty or unlisted is made again.

    Args:
        root: the working folder.
        disk: the seam for changes.
    """

    def __init__(self, root: Path, disk: Disk = DISK) -> None:
        self._journal = StoreJournal(root, JOURNAL, disk)

    @property
    def made(self) -> dict[str, str]:
        """sha256 by path."""
        return {path: entry.files[path] for path, entry in self._journal.entries.items()}

    def add(self, sha256: Mapping[str, str]) -> None:
        """Note images that are on disk, by path."""
        self._journal.add(Entry(key=path, files={path: digest}) for path, digest in sha256.items())
