"""The working folder of an artifact in the making, and its publication.

The folder `<path>.partial` outlives a killed process, so shards, checkpoints and images in it
can be taken up again. Publication syncs and hashes its files, writes the manifest, and renames
the folder to its final path: a reader sees all of the artifact or nothing.
"""

from __future__ import annotations

import fnmatch
import json
import os
import stat
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, TypedDict

from bench.api.errors import StoreError, UsageError
from bench.api.files import file_hash
from bench.store import provenance
from bench.store.artifact import FORMAT, MANIFEST, Artifact, content_hash, sealed
from bench.store.identity import artifact_id, identity_hash, plain
from bench.store.writer import UNFINISHED_SUFFIX, Disk, writing_to


class Details(TypedDict, total=False):
    """What a manifest records beside the identity.

    Attributes:
        upstream: role -> artifact id, or list of ids, of what it is made from.
        seeds, config: JSON-able; they change nothing unless they are in the identity too.
        device: what it is computed on, e.g. `"cpu"` or the GPU's name.
        exclude: patterns (`*` matches `/` too) of scratch files, removed before publication.
    """

    upstream: Mapping[str, Any] | None
    seeds: Any
    config: Any
    device: str | None
    exclude: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Order:
    """What is to be made: kind, name, identity, and the fields of `Details`.

    Raises:
        UsageError: something in it cannot be written into a manifest. Raised here, before the
            work, not after it.
    """

    kind: str
    name: str
    identity: Mapping[str, Any]
    upstream: Mapping[str, Any] | None = None
    seeds: Any = None
    config: Any = None
    device: str | None = None
    exclude: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        _ = self.id
        for what in ("upstream", "seeds", "config"):
            object.__setattr__(self, what, plain(getattr(self, what), what))
        if self.upstream is None:
            object.__setattr__(self, "upstream", {})

    @property
    def id(self) -> str:
        """`<kind>/<name>-<hash12>`."""
        return artifact_id(self.kind, self.name, self.identity)


class Work:
    """A working folder.

    Attributes:
        path: the folder; anything may be written into it, directly or by the methods here.
        resumed: whether an earlier, interrupted attempt left files in it.
        disk: the seam through which the methods here write.
    """

    def __init__(self, path: Path, order: Order, disk: Disk) -> None:
        self.path = path
        self.order = order
        self.disk = disk
        disk.makedirs(path)
        # A killed publication leaves its manifest, a killed write an unfinished file.
        disk.unlink(path / MANIFEST)
        for leftover in sorted(path.rglob(f"*{UNFINISHED_SUFFIX}")):
            disk.unlink(leftover)
        self.resumed = any(path.iterdir())
        self._notes: dict[str, Any] = {}
        self._began = time.monotonic()

    def file(self, name: str) -> Path:
        """Return the path of `name`, which may hold folders, after making its folder.

        Raises:
            UsageError: the name leads out of the folder or is the manifest's.
            StoreError: the folder cannot be made.
        """
        relative = PurePosixPath(name)
        if relative.is_absolute() or ".." in relative.parts or not relative.parts:
            raise UsageError(f"{name!r} leads out of the artifact; expected a path inside it")
        if name == MANIFEST or name.endswith(UNFINISHED_SUFFIX):
            raise UsageError(f"the file name {name!r} is reserved; choose another")
        path = self.path / relative
        if not path.parent.is_dir():
            self.disk.makedirs(path.parent)
        return path

    def write_bytes(self, name: str, data: bytes) -> Path:
        """Write a file atomically and durably, and return its path. Raises as `file`."""
        path = self.file(name)
        self.disk.write_atomically(path, data)
        return path

    def write_json(self, name: str, value: Any) -> Path:
        """Write JSON with sorted keys; equal values give equal bytes. Raises as `file`.

        Raises:
            UsageError: a number is NaN or infinite, or a value is no JSON.
        """
        text = json.dumps(plain(value, name), sort_keys=True, indent=1, ensure_ascii=False)
        return self.write_bytes(name, f"{text}\n".encode("utf-8", "surrogatepass"))

    def note(self, key: str, value: Any) -> None:
        """Record something in the manifest's `notes` (counts, timings, warnings).

        Raises:
            UsageError: as `write_json`.
        """
        self._notes[key] = plain(value, key)

    def publish(
        self,
        target: Path,
        allowed: Callable[[], None] = lambda: None,
        *,
        surroundings: Mapping[str, Any] | None = None,
    ) -> Artifact:
        """Publish the folder as `target`; see the module's docstring.

        Args:
            target: its final path.
            allowed: called last before the renaming; raises where it must not happen.
            surroundings: further keys of the manifest, see `bench.store.surroundings`.

        Raises:
            StoreError: nothing was written, something in the folder is no plain file, or the
                disk fails; nothing is published then.
        """
        self._remove_scratch()
        folders, files = _contents(self.path)
        if not files:
            raise StoreError(
                f"{self.order.id} would be empty: nothing was written into {self.path}; expected "
                "at least one file."
            )
        self.disk.fsync_files([self.path / name for name in files])
        entries = {name: self._entry(name) for name in files}
        for folder in folders:
            self.disk.fsync_directory(self.path / folder)
        body = {**self._manifest(entries), **(surroundings or {})}
        manifest = json.dumps(sealed(body), sort_keys=True, indent=1)
        self.disk.write_atomically(self.path / MANIFEST, f"{manifest}\n".encode("ascii"))
        allowed()
        self.disk.replace(self.path, target)
        self.disk.fsync_directory(target.parent)
        return Artifact(target)

    def _entry(self, name: str) -> dict[str, Any]:
        path = self.path / name
        with writing_to(path):
            found = path.stat()
            return {
                "size": found.st_size,
                "sha256": file_hash(path),
                "mtime_ns": found.st_mtime_ns,
            }

    def _manifest(self, entries: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
        order = self.order
        seconds = round(time.monotonic() - self._began, 3)
        origin = provenance.collect(device=order.device, wall_seconds=seconds)
        return {
            "format": FORMAT,
            "kind": order.kind,
            "name": order.name,
            "id": order.id,
            "identity": provenance.scrubbed(plain(order.identity)),
            "identity_sha256": identity_hash(order.kind, order.name, order.identity),
            "upstream": order.upstream,
            "seeds": order.seeds,
            "config": provenance.scrubbed(order.config),
            "files": entries,
            "content_sha256": content_hash(entries),
            "notes": provenance.scrubbed(self._notes),
            "provenance": origin,
            "created": origin["recorded"],
            "resumed": self.resumed,
            "wall_seconds": seconds,  # of the last attempt, where earlier ones were interrupted
        }

    def _remove_scratch(self) -> None:
        folders, files = _contents(self.path)
        for name in files:
            if _matches(name, self.order.exclude):
                self.disk.unlink(self.path / name)
        # Deepest first, so that a folder holding nothing but emptied folders goes too.
        for folder in sorted(folders, key=lambda f: f.count("/"), reverse=True):
            path = self.path / folder
            if folder != "." and not any(path.iterdir()):
                self.disk.remove_tree(path)


def _matches(name: str, patterns: Iterable[str]) -> bool:
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)


def _contents(root: Path) -> tuple[list[str], list[str]]:
    """Return the folders (`.` first) and files beneath `root`, sorted, as POSIX names.

    Raises:
        StoreError: something is neither.
    """
    folders, files = [], []

    def refuse(error: OSError) -> None:
        raise error

    with writing_to(root):
        for here, subfolders, names in os.walk(root, onerror=refuse):
            inside = os.path.relpath(here, root)
            prefix = "" if inside == "." else f"{inside}/"
            folders.append(inside)
            files += [prefix + name for name in names]
            for name in (*subfolders, *names):
                mode = os.lstat(f"{here}/{name}").st_mode
                if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
                    raise StoreError(
                        f"{here}/{name} is a link or a special file; expected plain files and "
                        "folders: a link would publish bytes that others may change."
                    )
    return sorted(folders), sorted(files)
