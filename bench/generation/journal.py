"""What is already made of an image set that was interrupted. No torch."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

from bench.store import DISK, Disk, writing_to

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
        self._root = root
        self._path = root / JOURNAL
        self.made: dict[str, str] = {}
        """sha256 by path."""
        for path, digest in self._lines().items():
            if _digest(root / path) == digest:
                self.made[path] = digest
        # written anew: a torn last line must not run into the next one
        disk.write_atomically(self._path, _encoded(self.made))

    def _lines(self) -> dict[str, str]:
        found: dict[str, str] = {}
        if self._path.is_file():
            for line in self._path.read_bytes().splitlines():
                try:
                    row = json.loads(line)
                    found[str(row["path"])] = str(row["sha256"])
                except (ValueError, KeyError, TypeError):
                    continue
        return found

    def add(self, sha256: Mapping[str, str]) -> None:
        """Note images that are on disk, by path."""
        with writing_to(self._path), self._path.open("ab") as file:
            file.write(_encoded(sha256))
        self.made.update(sha256)


def _encoded(sha256: Mapping[str, str]) -> bytes:
    rows = ({"path": path, "sha256": digest} for path, digest in sha256.items())
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def _digest(path: Path) -> str | None:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError:
        return None
