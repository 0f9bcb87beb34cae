"""What an artifact was made from that its identity does not hold, looked at before it is used.

The identity names what it was made from; the manifest says what that was then:

- `upstream_content`: by id, the content hash of each artifact it was made from;
- `observed`: files, folders and environment variables that plug-ins read (`bench.api.observed`),
  its own and those of what it was made from. Of variables the hash of the value is kept.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import time
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from bench.api.errors import BenchError
from bench.api.files import Stamp, file_hash, stamp
from bench.api.observed import Observed, names_in, variable
from bench.store.artifact import MANIFEST
from bench.store.identity import HASH_LENGTH
from bench.store.provenance import is_secret
from bench.store.writer import Disk

BEGAN = ".began.json"
"""In a working folder, of what plug-ins make; removed before it is published."""

_ARTIFACT = re.compile(rf".+-[0-9a-f]{{{HASH_LENGTH}}}(\.|$)")
_CHANGED = (
    "{} was changed after {}; nothing was published. Run the same command again, in a new process."
)


def surroundings(
    root: Path, upstream: Mapping[str, Any], observed: Observed | None, known: Iterable[str] = ()
) -> dict[str, Any]:
    """Return what a manifest records.

    Args:
        root: the store's.
        upstream: role -> id or ids.
        observed: what the plug-ins of this artifact read; None where none worked on it.
        known: paths whose content is in the identity.

    Raises:
        BenchError: a file was changed since it was read.
    """
    manifests = {one: _manifest(root / one) for one in _ids(upstream.values())}
    present = {one: found for one, found in manifests.items() if found is not None}
    merged: dict[str, dict[str, Any]] = {}
    for found in present.values():
        for kind, values in found.get("observed", {}).items():
            merged.setdefault(kind, {}).update(values)
    if observed is not None:
        for kind, values in _recorded(observed, root, frozenset(known)).items():
            merged.setdefault(kind, {}).update(values)
    content = {one: found["content_sha256"] for one, found in present.items()}
    fields = {"upstream_content": content, "observed": {k: v for k, v in merged.items() if v}}
    return {key: value for key, value in fields.items() if value}


def changed(root: Path, manifest: Mapping[str, Any]) -> str | None:
    """Return what is not as it was when an artifact was made, or None.

    Artifacts that are gone are not missed.
    """
    for one, content in manifest.get("upstream_content", {}).items():
        now = _manifest(root / one)
        if now is not None and now["content_sha256"] != content:
            return f"it was made from another {one}, which was made anew or exchanged since"
    observed = manifest.get("observed", {})
    for path, digest in observed.get("files", {}).items():
        if _digest(path) != digest:
            return f"the plug-in it was made with read {path}, which has changed"
    for path, digest in observed.get("folders", {}).items():
        if _listing(path) != digest:
            return f"the plug-in it was made with listed {path}, which holds other names now"
    for path in observed.get("working_folder", {}):
        if path != str(Path.cwd()):
            return f"the plug-in it was made with read files from the working folder, then {path}"
    for name, digest in observed.get("environment", {}).items():
        if _hash(variable(name)) != digest:
            return f"the plug-in it was made with read ${name}, which has another value"
    return None


def begin(work: Path, disk: Disk) -> None:
    """Note in a working folder when its first attempt began, and with which variables."""
    if not (work / BEGAN).exists():
        variables = {name: _hash(variable(name)) for name in [*os.environ]}
        noted = {"time_ns": time.time_ns(), "environment": variables}
        disk.write_atomically(work / BEGAN, json.dumps(noted).encode("ascii"))


def require_as_begun(
    work: Path, root: Path, observed: Observed, known: Iterable[str], disk: Disk
) -> None:
    """Look whether what plug-ins read was the same in all attempts at an artifact.

    Args:
        work: the working folder.
        root, observed, known: as for `surroundings`.
        disk: the seam for changes.

    Raises:
        BenchError: a file or a variable has changed since the first of them began.
    """
    try:
        began = json.loads((work / BEGAN).read_bytes())
    except (OSError, ValueError):
        return
    disk.unlink(work / BEGAN)
    for path, then in _files(observed, root, frozenset(known)).items():
        if then is not None and max(then[1:3]) > began["time_ns"]:
            raise BenchError(_CHANGED.format(path, "an earlier attempt at this began"))
    for name, value in observed.variables.items():
        if not is_secret(name) and _hash(value) != began["environment"].get(name):
            raise BenchError(_CHANGED.format(f"${name}", "an earlier attempt at this began"))


def _recorded(observed: Observed, root: Path, known: frozenset[str]) -> dict[str, dict[str, Any]]:
    files: dict[str, str | None] = {}
    for path, then in _files(observed, root, known).items():
        now = stamp(Path(path)) if Path(path).is_file() else None
        if now != then:
            raise BenchError(_CHANGED.format(path, "the plug-in of this step had read it"))
        files[path] = _digest(path)
    return {
        "files": files,
        "folders": {
            path: _names_hash(names)
            for path, names in observed.folders.items()
            if not _is_artifacts(path, root) and Path(path).is_dir()
        },
        "working_folder": {
            folder: None for path, folder in observed.relative.items() if path in files
        },
        "environment": {
            name: _hash(value) for name, value in observed.variables.items() if not is_secret(name)
        },
    }


def _files(observed: Observed, root: Path, known: frozenset[str]) -> dict[str, Stamp | None]:
    """Return the files that no identity holds, as they were when they were read."""
    return {
        path: then
        for path, then in observed.files.items()
        if path not in known and not _is_artifacts(path, root)
    }


def _is_artifacts(path: str, root: Path) -> bool:
    """Whether a path lies in an artifact of the store, finished or not, or is the store's own."""
    store = str(root.absolute()) + os.sep
    parts = Path(path.removeprefix(store)).parts if path.startswith(store) else ()
    return len(parts) > 1 and (parts[0].startswith(".") or _ARTIFACT.match(parts[1]) is not None)


def _ids(values: Iterable[Any]) -> Iterator[str]:
    for value in values:
        if isinstance(value, str):
            yield value
        elif isinstance(value, Mapping):
            yield from _ids(value.values())
        elif isinstance(value, list | tuple):
            yield from _ids(value)


def _manifest(path: Path) -> Mapping[str, Any] | None:
    """Return `content_sha256` and `observed` of a published artifact; None where there is none."""
    file = path / MANIFEST
    try:
        return _read(file, stamp(file))
    except (OSError, ValueError, KeyError, TypeError):  # whoever uses it says what is wrong
        return None


@lru_cache(maxsize=4096)
def _read(file: Path, _stamp: object) -> Mapping[str, Any]:
    found = json.loads(file.read_bytes())
    return {"content_sha256": found["content_sha256"], "observed": found.get("observed", {})}


def _digest(path: str) -> str | None:
    try:
        return file_hash(Path(path))
    except OSError:
        return None


def _listing(path: str) -> str | None:
    try:
        return _names_hash(names_in(path))
    except OSError:
        return None


def _names_hash(names: Iterable[str]) -> str:
    return hashlib.sha256("\0".join(names).encode("utf-8", "surrogatepass")).hexdigest()


def _hash(value: str | None) -> str | None:
    if value is None:
        return None
    return hashlib.sha256(value.encode("utf-8", "surrogatepass")).hexdigest()
