"""A published artifact: a folder of files and the manifest that describes them.

Looking whether an artifact is complete reads its manifest and the sizes and times of its files;
bytes are hashed when a consumer asks for a file.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from bench.api.errors import CorruptArtifactError, StoreError, UsageError, did_you_mean
from bench.api.files import file_hash, files_below
from bench.store.damage import mark_damaged
from bench.store.identity import canonical_json
from bench.store.writer import DISK

MANIFEST = "manifest.json"
FORMAT = 1
"""Version of the manifest's layout."""

_REQUIRED = ("kind", "name", "id", "identity_sha256", "identity", "upstream", "files")


def sealed(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """Return `manifest` with the hash over all its other keys, so that edits of it are found."""
    body = {key: value for key, value in manifest.items() if key != "manifest_sha256"}
    digest = hashlib.sha256(canonical_json(body).encode("ascii")).hexdigest()
    return {**body, "manifest_sha256": digest}


def content_hash(files: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the sha256 over names and hashes of an artifact's files: equal bytes, equal hash."""
    text = canonical_json({name: entry["sha256"] for name, entry in files.items()})
    return hashlib.sha256(text.encode("ascii")).hexdigest()


class Artifact:
    """A published artifact, opened from its folder.

    Attributes:
        path: the folder.
        manifest: what is known about it; see `bench.store.work` for the keys.

    Raises:
        CorruptArtifactError: the manifest is missing, unreadable or edited.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.manifest = _read_manifest(path)

    def __repr__(self) -> str:
        return f"Artifact({self.id})"

    @property
    def id(self) -> str:
        """`<kind>/<name>-<hash12>`, the path relative to the store's root."""
        return str(self.manifest["id"])

    @property
    def kind(self) -> str:
        """Kind of the artifact, the folder it lies in."""
        return str(self.manifest["kind"])

    @property
    def name(self) -> str:
        """Name given by its maker."""
        return str(self.manifest["name"])

    @property
    def identity(self) -> dict[str, Any]:
        """What it is; see `bench.store.identity`."""
        return dict(self.manifest["identity"])

    @property
    def upstream(self) -> dict[str, Any]:
        """Role -> artifact id (or ids) of what it was made from."""
        return dict(self.manifest["upstream"])

    @property
    def content_sha256(self) -> str:
        """Hash over its files' names and bytes."""
        return str(self.manifest["content_sha256"])

    @property
    def files(self) -> tuple[str, ...]:
        """Names of its files, sorted, relative to `path`."""
        return tuple(sorted(self.manifest["files"]))

    def file(self, name: str) -> Path:
        """Return the path of the file `name` after comparing its bytes with the manifest.

        The bytes are hashed once per process while the file stays as it is. An artifact found
        damaged is marked, see `bench.store.damage`.

        Raises:
            CorruptArtifactError: the file is missing or differs.
            UsageError: the artifact has no such file.
        """
        entries = self.manifest["files"]
        if name not in entries:
            raise UsageError(f"{self.id} has no file {name!r}.{did_you_mean(name, entries)}")
        fault = self._fault(name, always_hash=True)
        if fault:
            mark_damaged(self.path, self.path / name)
            raise _corrupt(self.path, fault)
        return self.path / name

    def read_json(self, name: str) -> Any:
        """Return the content of the verified JSON file `name`. Raises as `file`."""
        return json.loads(self.file(name).read_bytes())

    def verify(self) -> None:
        """Hash every file.

        Raises:
            CorruptArtifactError: naming the first file that is missing, differs, or is not the
                artifact's.
        """
        for name in self.files:
            self.file(name)
        self._refuse_strangers()

    def folder(self, name: str) -> Path:
        """Return the path of a folder for a library that chooses its files by what lies there.

        Args:
            name: of a folder of the artifact, such as `exports/step-00000002`.

        Raises:
            CorruptArtifactError: a file in it is missing, differs, or is not the artifact's.
            UsageError: the artifact has no file there.
        """
        inside = [file for file in self.files if file.startswith(f"{name}/")]
        if not inside:
            raise UsageError(f"{self.id} has no folder {name!r}.")
        for file in inside:
            self.file(file)
        self._refuse_strangers(name)
        return self.path / name

    def _refuse_strangers(self, name: str = "") -> None:
        """Raise CorruptArtifactError where a file lies in a folder that the manifest lacks."""
        known = {MANIFEST, *self.files}
        for path in files_below(self.path / name):
            stranger = path.relative_to(self.path).as_posix()
            if stranger not in known and not path.name.startswith("."):
                raise CorruptArtifactError(
                    f"{self.path}: {stranger} is none of its files, and a library may load it.\n"
                    f"  to mend it: rm {path}"
                )

    def fault(self) -> str | None:
        """Return what is wrong at a cheap look, or None.

        Looks at presence, size and modification time; only a file whose time has changed is
        hashed, and if its bytes are the right ones its time is put back.
        """
        return next(self._faults(), None)

    def _faults(self) -> Iterator[str]:
        for name in self.files:
            fault = self._fault(name, always_hash=False)
            if fault:
                yield fault

    def _fault(self, name: str, *, always_hash: bool) -> str | None:
        entry = self.manifest["files"][name]
        location = os.path.join(self.path, name)  # noqa: PTH118 (a look at 1000s of files)
        try:
            stat = os.stat(location)  # noqa: PTH116
            if stat.st_size != entry["size"]:
                return f"{name} has {stat.st_size} bytes instead of {entry['size']}"
            touched = stat.st_mtime_ns != entry["mtime_ns"]
            if not (always_hash or touched):
                return None
            digest = file_hash(Path(location))
        except FileNotFoundError:
            return f"{name} is missing"
        except NotADirectoryError:
            return f"{name} lies beneath a file"
        except OSError as error:
            raise unreadable(Path(location), error) from error
        if digest != entry["sha256"]:
            return f"{name} was changed: sha256 {digest[:12]} instead of {entry['sha256'][:12]}"
        if touched:
            with suppress(StoreError):  # a read-only store is hashed again each time
                DISK.set_modified(Path(location), entry["mtime_ns"])
        return None


def _corrupt(path: Path, fault: str) -> CorruptArtifactError:
    return CorruptArtifactError(
        f"{path} is corrupt: {fault}.\n"
        "  to mend it: run the same command again, which makes it anew",
        artifact_path=path,
    )


def unreadable(path: Path, error: OSError) -> StoreError:
    """Return the error that says why the file `path` cannot be read."""
    return StoreError(
        f"cannot read {path}: {error.strerror}\n"
        "  to mend it: make it readable, or choose another folder with --store"
    )


def _read_manifest(path: Path) -> dict[str, Any]:
    try:
        manifest = json.loads((path / MANIFEST).read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        raise _corrupt(path, f"it has no {MANIFEST}") from None
    except OSError as error:
        raise unreadable(path / MANIFEST, error) from error
    except ValueError:
        raise _corrupt(path, f"{MANIFEST} is not valid JSON") from None
    if not isinstance(manifest, dict) or any(key not in manifest for key in _REQUIRED):
        raise _corrupt(path, f"{MANIFEST} lacks keys; expected {', '.join(_REQUIRED)}")
    if manifest.get("format") != FORMAT:
        raise _corrupt(
            path, f"{MANIFEST} has format {manifest.get('format')!r} instead of {FORMAT}"
        )
    if not _is_sealed(manifest):
        raise _corrupt(path, f"{MANIFEST} was edited: its own hash does not fit")
    return manifest


def _is_sealed(manifest: Mapping[str, Any]) -> bool:
    """Whether a manifest that was read has the hash that `sealed` gives it.

    What JSON holds is in canonical form but for the order of its keys.
    """
    body = {key: value for key, value in manifest.items() if key != "manifest_sha256"}
    try:
        text = json.dumps(body, sort_keys=True, separators=(",", ":"), allow_nan=False)
    except ValueError:  # NaN is not ours
        return False
    digest = hashlib.sha256(text.encode("ascii")).hexdigest()
    return digest == manifest.get("manifest_sha256")
