"""What is already made of an artifact in the making: entries, and the hashes of their files.

A journal is a scratch file of JSON lines. An entry counts when its line has its own hash and its
files have the bytes they had when it was written; so what a crash cut short, or what was changed
since, is made again and never sealed into the finished artifact.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.api.errors import StoreError
from bench.store.identity import canonical_json
from bench.store.writer import DISK, Disk, writing_to

LOG = logging.getLogger("bench.store")


@dataclass(frozen=True, kw_only=True)
class Entry:
    """Something that is made.

    Attributes:
        key: unique in the journal; of two entries the later counts.
        files: sha256 by path, relative to the journal's root.
        data: what else is known of it, JSON-able.
    """

    key: str
    files: Mapping[str, str] = field(default_factory=dict)
    data: Any = None


class Journal:
    """The entries that are whole; those that are not are dropped, with one warning for all.

    Args:
        root: the working folder.
        name: of the journal's file in it; its folder is made.
        disk: the seam for changes.
    """

    def __init__(self, root: Path, name: str, disk: Disk = DISK) -> None:
        self._root = root
        self._path = root / name
        self.entries: dict[str, Entry] = {}
        damaged: list[str] = []
        for entry, shown in self._lines():
            if entry is None or not all(sha256_of(root / p) == s for p, s in entry.files.items()):
                damaged.append(shown)
            else:
                self.entries[entry.key] = entry
        damaged = [shown for shown in dict.fromkeys(damaged) if shown not in self.entries]
        if damaged:
            more = f" and {len(damaged) - 1} more" if len(damaged) > 1 else ""
            LOG.warning(
                "%s: %s%s: not as it was when it was made; it is made again", root, damaged[0], more
            )
        # written anew: a torn last line must not run into the next one
        disk.write_atomically(self._path, b"".join(map(_encoded, self.entries.values())))

    def _lines(self) -> Iterable[tuple[Entry | None, str]]:
        """Yield each entry (None where its line is damaged) and what to call it."""
        if not self._path.is_file():
            return
        lines = self._path.read_bytes().splitlines(keepends=True)
        for number, line in enumerate(lines, start=1):
            if number == len(lines) and not line.endswith(b"\n"):
                return  # cut short by a crash: its work is simply not done
            entry = _decoded(line)
            yield entry, f"line {number} of {self._path.name}" if entry is None else entry.key

    def add(self, entries: Iterable[Entry]) -> None:
        """Note what is on disk."""
        added = list(entries)
        with writing_to(self._path), self._path.open("ab") as file:
            file.write(b"".join(map(_encoded, added)))
        self.entries.update({entry.key: entry for entry in added})

    def seal(self, key: str, names: Iterable[str], data: Any = None) -> None:
        """Note something with the hashes its files have now."""
        files = {}
        for name in names:
            digest = sha256_of(self._root / name)
            if digest is None:
                raise StoreError(f"{self._root / name} is gone, which was just written there")
            files[name] = digest
        self.add([Entry(key=key, files=files, data=data)])

    def require(self, key: str) -> None:
        """Make sure that an entry's files are as they were, at the moment they are used.

        Raises:
            StoreError: one was changed.
        """
        for name, expected in self.entries[key].files.items():
            if sha256_of(self._root / name) != expected:
                raise StoreError(
                    f"{self._root / name} was changed since it was made.\n"
                    "  to mend it: run the same command again, which makes it again"
                )


def sha256_of(path: Path) -> str | None:
    """Return the sha256 of a file's bytes; None where it cannot be read."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return None


def _seal(body: Mapping[str, Any]) -> str:
    return hashlib.sha256(canonical_json(body).encode("ascii")).hexdigest()


def _encoded(entry: Entry) -> bytes:
    body = {"key": entry.key, "files": dict(entry.files), "data": entry.data}
    return f"{canonical_json({**body, 'line_sha256': _seal(body)})}\n".encode("ascii")


def _decoded(line: bytes) -> Entry | None:
    try:
        body = json.loads(line)
        if body.pop("line_sha256") != _seal(body):
            return None
        return Entry(**body)
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
