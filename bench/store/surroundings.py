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
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from bench.api.errors import BenchError
from bench.api.files import file_hash, stamp
from bench.api.observed import Observed, names_in
from bench.store.provenance import is_secret

MANIFEST = "manifest.json"


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
    for name, digest in observed.get("environment", {}).items():
        if _hash(os.environ.get(name)) != digest:
            return f"the plug-in it was made with read ${name}, which has another value"
    return None


def _recorded(observed: Observed, root: Path, known: frozenset[str]) -> dict[str, dict[str, Any]]:
    inside = str(root.absolute()) + os.sep
    files: dict[str, str | None] = {}
    for path, then in observed.files.items():
        if path.startswith(inside) or path in known:
            continue
        now = stamp(Path(path)) if Path(path).is_file() else None
        if now is None and then is not None:
            continue  # of a while: nothing can be compared with it
        if now != then:
            raise BenchError(
                f"{path} was changed after the plug-in of this step had read it; nothing was "
                "published. Run the same command again, in a new process."
            )
        files[path] = _digest(path)
    return {
        "files": files,
        "folders": {
            path: _names_hash(names)
            for path, names in observed.folders.items()
            if not path.startswith(inside) and Path(path).is_dir()
        },
        "environment": {
            name: _hash(value) for name, value in observed.variables.items() if not is_secret(name)
        },
    }


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
