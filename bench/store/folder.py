"""Published folders: files that readers trust, under a manifest that seals them.

Unlike an artifact, such a folder keeps its name while its content changes, may lie in a version
control system (so no time enters its manifest), and may hold files of its owner, which are never
touched. Publication is whole or not at all:

1. under a lock, the new files go to `.publishing/` inside the folder, their manifest last: from
   that moment on the new version counts, and readers look there first;
2. they are renamed into place one by one, the manifest last of all.

A process killed before the end of 1 has changed nothing; one killed after it leaves a folder that
reads as the new version, and that the next writer completes.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from bench.api.errors import UsageError
from bench.store.artifact import MANIFEST, content_hash, sealed, unreadable
from bench.store.lock import ArtifactLock
from bench.store.writer import DISK, Disk

STAGED = ".publishing"
_LOCK = ".publishing.lock"
_LOCK_SECONDS = 600.0
FORMAT = 1
"""Version of the manifest's layout."""
KIND = "published folder"
_LOOKS, _PAUSE_SECONDS = 40, 0.05


@dataclass(frozen=True, kw_only=True)
class Published:
    """What a published folder holds, every byte compared with its manifest.

    Attributes:
        path: the folder.
        files: content by name (POSIX, relative), of the sealed files that are intact.
        faults: what is wrong, by name of a sealed file; under the manifest's name where there is
            no manifest or it was edited: nothing is sealed then.
        extras: files beside the sealed ones; nothing is known about them.
    """

    path: Path
    files: Mapping[str, bytes]
    faults: Mapping[str, str]
    extras: tuple[str, ...]


def read_folder(path: Path) -> Published:
    """Read a published folder and compare all its bytes with its manifest.

    Needs no lock and no permission to write: a publication that is going on, or was cut off, is
    seen as the old version or as the new one.

    Raises:
        StoreError: a file cannot be read.
    """
    for _ in range(_LOOKS):
        before = _manifests(path)
        found = _look(path, *before)
        if not found.faults or _manifests(path) == before:
            break
        time.sleep(_PAUSE_SECONDS)  # a publication went on meanwhile
    return found


def publish_folder(path: Path, files: Mapping[str, bytes], *, disk: Disk = DISK) -> bool:
    """Make a folder hold these files, sealed; return whether anything had to be written.

    Sealed files of the version before that are not among them are removed; other files are left.

    Args:
        path: the folder; made where it is missing.
        files: content by name, which may hold folders.
        disk: the seam for changes.

    Raises:
        UsageError: a name leads out of the folder or is reserved.
        StoreError: the folder cannot be written. It holds the old version then, or the new one.
    """
    for name in files:
        _require_inside(name)
    if _holds(path, files) and not _is_unfinished(path):
        return False
    with ArtifactLock(path / _LOCK, timeout_seconds=_LOCK_SECONDS, disk=disk):
        _finish(path, disk)
        if _holds(path, files):
            return False
        staged = path / STAGED
        written = {n: data for n, data in files.items() if _content(path / n) != data}
        for name, data in written.items():
            disk.makedirs((staged / name).parent)
            disk.write_bytes(staged / name, data)
        disk.makedirs(staged)
        disk.fsync_files([staged / name for name in written])
        for folder in _folders(staged, written):
            disk.fsync_directory(folder)
        disk.write_atomically(staged / MANIFEST, _manifest(files))
        disk.fsync_directory(path)
        _finish(path, disk)
    return True


def _holds(path: Path, files: Mapping[str, bytes]) -> bool:
    now = read_folder(path)
    return not now.faults and now.files == dict(files)


def _is_unfinished(path: Path) -> bool:
    """Whether a publication is going on or was killed."""
    return (path / STAGED).exists() or (path / _LOCK).exists()


def finish_publication(path: Path, *, disk: Disk = DISK) -> None:
    """Complete what a killed publisher left, if it left anything.

    Raises:
        StoreError: the folder cannot be written.
    """
    if _is_unfinished(path):
        with ArtifactLock(path / _LOCK, timeout_seconds=_LOCK_SECONDS, disk=disk):
            _finish(path, disk)


def _finish(path: Path, disk: Disk) -> None:
    """Rename what is staged into place, or remove it where its manifest is not there yet."""
    staged = path / STAGED
    if not staged.is_dir():
        return
    new, old = (_parsed(content) for content in _manifests(path))
    if new is not None:
        for name in new:
            if (staged / name).is_file():
                disk.makedirs((path / name).parent)
                disk.replace(staged / name, path / name)
        for name in sorted(set(old or {}) - set(new)):
            if _fault((old or {})[name], _content(path / name)) is None:
                disk.unlink(path / name)
        for folder in _folders(path, new):
            disk.fsync_directory(folder)
        disk.replace(staged / MANIFEST, path / MANIFEST)
        disk.fsync_directory(path)
    disk.remove_tree(staged)


def _manifests(path: Path) -> tuple[bytes | None, bytes | None]:
    """Return the content of the staged manifest and of the published one, None for what is not."""
    return _content(path / STAGED / MANIFEST), _content(path / MANIFEST)


def _look(path: Path, staged: bytes | None, published: bytes | None) -> Published:
    entries = _parsed(staged)
    places = [path] if entries is None else [path / STAGED, path]
    if entries is None:
        entries = _parsed(published)
    if entries is None:
        there = "was edited: its own hash does not fit" if published is not None else "is missing"
        reason = f"{MANIFEST} {there}, so nothing says what the other files should hold"
        return Published(path=path, files={}, faults={MANIFEST: reason}, extras=())
    files: dict[str, bytes] = {}
    faults: dict[str, str] = {}
    for name, entry in entries.items():
        contents = [content for p in places if (content := _content(p / name)) is not None]
        content = contents[0] if contents else None
        fault = _fault(entry, content)
        if fault is None and content is not None:
            files[name] = content
        else:
            faults[name] = f"{name} {fault}"
    return Published(path=path, files=files, faults=faults, extras=_extras(path, entries))


def _fault(entry: Mapping[str, Any], content: bytes | None) -> str | None:
    if content is None:
        return "is missing"
    if len(content) != entry["size"]:
        return f"has {len(content)} bytes instead of {entry['size']}"
    digest = hashlib.sha256(content).hexdigest()
    if digest != entry["sha256"]:
        return f"was changed: sha256 {digest[:12]} instead of {entry['sha256'][:12]}"
    return None


def _extras(path: Path, names: Iterable[str]) -> tuple[str, ...]:
    """Return the plain files that lie beside sealed ones; hidden ones are not looked at."""
    known = {*names, MANIFEST}
    found = [
        file.relative_to(path).as_posix()
        for folder in _folders(path, known)
        if folder.is_dir()
        for file in folder.iterdir()
        if not file.name.startswith(".") and file.is_file()
    ]
    return tuple(sorted(set(found) - known))


def _folders(path: Path, names: Iterable[str]) -> list[Path]:
    """Return the folders that hold the files of these names, `path` among them."""
    return sorted({path, *((path / name).parent for name in names)})


def _content(file: Path) -> bytes | None:
    try:
        return file.read_bytes()
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        return None
    except OSError as error:
        raise unreadable(file, error) from error


def _manifest(files: Mapping[str, bytes]) -> bytes:
    entries = {
        name: {"size": len(data), "sha256": hashlib.sha256(data).hexdigest()}
        for name, data in files.items()
    }
    body = {
        "format": FORMAT,
        "kind": KIND,
        "files": entries,
        "content_sha256": content_hash(entries),
    }
    return f"{json.dumps(sealed(body), sort_keys=True, indent=1)}\n".encode("ascii")


def _parsed(content: bytes | None) -> dict[str, dict[str, Any]] | None:
    """Return the entries of a manifest, None where there is none or it was edited."""
    if content is None:
        return None
    try:
        manifest = json.loads(content)
        if (manifest["format"], manifest["kind"]) != (FORMAT, KIND) or sealed(manifest) != manifest:
            return None
        entries: dict[str, dict[str, Any]] = manifest["files"]
        for name, entry in entries.items():
            _require_inside(name)
            _ = entry["size"], entry["sha256"]
    except (ValueError, KeyError, TypeError, AttributeError, UsageError):
        return None
    return entries


def _require_inside(name: str) -> None:
    relative = PurePosixPath(name)
    if relative.is_absolute() or ".." in relative.parts or not relative.parts:
        raise UsageError(f"{name!r} leads out of the folder; expected a path inside it")
    if relative.parts[0] in (MANIFEST, STAGED, _LOCK):
        raise UsageError(f"the file name {name!r} is reserved; choose another")
