"""Files whose bytes are part of an identity: found below a folder, and hashed. No torch."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator
from pathlib import Path

from bench.api.errors import PrerequisiteError

Stamp = tuple[int, int, int, int]
"""Size, time of modification, time of change, inode."""

_CHUNK_BYTES = 1 << 20
_SHA256_DIGITS = 64
_BLOB = re.compile(r"[0-9a-f]{64}|[0-9a-f]{40}")
# of the files this process has hashed
_HASHED: dict[tuple[str, Stamp], str] = {}


def files_below(folder: Path) -> Iterator[Path]:
    """Yield the files below a folder, those of linked folders too: a library opens them all.

    `Path.rglob` enters linked folders in some versions of Python and not in others.

    Raises:
        PrerequisiteError: a folder links to one that it lies in, or cannot be listed.
    """
    yield from _below(folder, ())


def _below(folder: Path, above: tuple[tuple[int, int], ...]) -> Iterator[Path]:
    try:
        stat = folder.stat()
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError as error:
        raise PrerequisiteError(
            f"{folder} cannot be listed: {error.strerror}", fix="make it a readable folder"
        ) from error
    here = (stat.st_dev, stat.st_ino)
    if here in above:
        raise PrerequisiteError(
            f"{folder} links to a folder that it lies in", fix="remove that link"
        )
    for entry in entries:
        if entry.is_dir():
            yield from _below(folder / entry.name, (*above, here))
        elif entry.is_file():
            yield folder / entry.name


def stamp(path: Path) -> Stamp:
    """Return what a file looks like without being read.

    Whoever writes a file can put its size and time of modification back; the time of change is
    the system's.
    """
    stat = path.stat()
    return stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino


def file_hash(path: Path) -> str:
    """Return the sha256 of a file; hashed once per process while the file stays as it is."""
    key = (str(path), stamp(path))
    if key not in _HASHED:
        with path.open("rb", buffering=0) as file:
            digest = hashlib.sha256()
            while chunk := file.read(_CHUNK_BYTES):
                digest.update(chunk)
        _HASHED[key] = digest.hexdigest()
    return _HASHED[key]


def blob_name(path: Path) -> str | None:
    """Return the hash that the hub's cache names a file by, None of any other file.

    Large files are named by the sha256 of their content (64 digits), others by git's hash (40).
    Only a link into `models--OWNER--NAME/blobs` (`datasets--...`) is believed.
    """
    if not path.is_symlink():
        return None
    real = path.resolve()
    of_hub = real.parent.name == "blobs" and "--" in real.parent.parent.name
    return real.name if of_hub and _BLOB.fullmatch(real.name) else None


def blob_sha256(path: Path) -> str | None:
    """Return the sha256 that the hub's cache names a large file by, None of any other file."""
    name = blob_name(path)
    return name if name is not None and len(name) == _SHA256_DIGITS else None
