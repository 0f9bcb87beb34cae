"""The registry of weights: `weights.yaml`, and holding what was fetched to it. No torch."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from bench.api.errors import CorruptArtifactError, PrerequisiteError, UsageError
from bench.api.files import files_below
from bench.assets.download import agrees
from bench.assets.places import cache_root
from bench.config import load_yaml, mapping, read
from bench.read.text import read_text
from bench.store import DISK, file_hash

REGISTRY = Path(__file__).with_name("weights.yaml")
LARGE = (".safetensors", ".bin", ".pt", ".pth")
"""Files that hold weights; the hub names their blobs by the sha256 of the content."""


@dataclass(frozen=True, kw_only=True)
class WeightsFile:
    """A file of a repository; `sha256` may be its first digits, None where it is not known."""

    name: str
    sha256: str | None = None
    bytes: int | None = None


@dataclass(frozen=True, kw_only=True)
class WeightsEntry:
    """What the registry says of a repository of the hub, or of a file elsewhere.

    Attributes:
        name: `owner/name` on the hub, or a name of our own.
        licence: of the weights.
        used_by: roles, back-ends, rows.
        gigabytes: roughly, of what is loaded.
        revision: branch, tag or commit; None is the default branch.
        files: those that are loaded; none means the usual ones.
        known: of the usual ones, those of which the hash is known.
        code: whether its Python files are needed too: they run in a worker's environment.
        url: where it is not on the hub.
        package: `name==version` of the package index that holds it.
        wheel_sha256, member: of that package's wheel, and the file in it.
        sha256: of the file at `url`, or in the package.
        reader: module that makes our file of the one in the package; see `bench.assets.package`.
    """

    name: str
    licence: str
    used_by: tuple[str, ...]
    gigabytes: float
    revision: str | None = None
    files: tuple[WeightsFile, ...] = ()
    known: tuple[WeightsFile, ...] = ()
    code: bool = False
    url: str | None = None
    package: str | None = None
    wheel_sha256: str | None = None
    member: str | None = None
    sha256: str | None = None
    reader: str | None = None

    @property
    def on_hub(self) -> bool:
        """Whether it is a repository of the hub."""
        return self.url is None and self.package is None

    def hash_of(self, name: str) -> str | None:
        """Return what a file must hash to, None where that is not known."""
        return next((f.sha256 for f in (*self.files, *self.known) if f.name == name), None)


@lru_cache
def registry() -> Mapping[str, WeightsEntry]:
    """Return all entries by name."""
    return read_registry(REGISTRY)


def read_registry(path: Path) -> dict[str, WeightsEntry]:
    """Read a registry.

    Raises:
        UsageError: it is no YAML mapping, or a key is unknown or missing.
    """
    return {
        name: _entry(f"{path.name}: {name}", name, entry) for name, entry in load_yaml(path).items()
    }


def _entry(where: str, name: str, data: Any) -> WeightsEntry:
    given = {"used_by": [], **mapping(data, where)}
    for key in ("files", "known"):
        listed = mapping(given.get(key, {}), f"{where}.{key}")
        given[key] = [{**mapping(about, where), "name": file} for file, about in listed.items()]
    entry = read(WeightsEntry, given, where, name=name)
    if entry.on_hub != ("/" in name) or (entry.url is not None and entry.package is not None):
        raise UsageError(f"{where}: expected owner/name, or a plain name with a url or a package")
    return entry


def hold_to_registry(repository: str, folder: Path, *, fix: str) -> dict[str, str]:
    """Make sure that a snapshot is what the registry, the hub's own names and the pins say.

    Every file of weights is hashed. One whose hash nobody knew is pinned, for this commit.

    Args:
        repository: of the hub.
        folder: its snapshot in the hub's cache.
        fix: what to do about a missing file.

    Returns:
        The sha256 of the files of weights by their path in the repository.

    Raises:
        PrerequisiteError: a file that the registry names is missing.
        CorruptArtifactError: a file is not the one expected; it is named, with its blob.
    """
    entry = registry().get(repository)
    missing = [f.name for f in entry.files if not (folder / f.name).is_file()] if entry else []
    if missing:
        raise PrerequisiteError(f"{folder} lacks {', '.join(missing)}", fix=fix)
    pins_path = cache_root() / "weights" / "pins.json"
    pins = _pins(pins_path)
    place = f"{repository}@{folder.name}"
    pinned = dict(pins.get(place, {}))
    found: dict[str, str] = {}
    for path in sorted(p for p in files_below(folder) if p.suffix in LARGE):
        name = path.relative_to(folder).as_posix()
        digest = file_hash(path)
        for expected in _expected(path, name, entry, pinned):
            if not agrees(digest, expected):
                raise CorruptArtifactError(
                    f"{name} of {repository} has sha256 {digest}, expected {expected}: it is "
                    f"damaged, or other weights.\n  to mend it: remove {path.resolve()}, then {fix}"
                )
        found[name] = digest
    if found != pinned:
        pins[place] = {**pinned, **found}
        text = json.dumps(pins, indent=1, sort_keys=True)
        DISK.write_atomically(pins_path, f"{text}\n".encode())
    return found


def pinned(name: str) -> str | None:
    """Return the sha256 that weights beside the hub had when they were first fetched, or None.

    Raises:
        CorruptArtifactError: the file of pins is damaged.
    """
    found = _pins(cache_root() / "weights" / "pins.json").get(name, {}).get("sha256")
    return None if found is None else str(found)


def pin(name: str, digest: str) -> None:
    """Keep the sha256 of weights beside the hub; the first one stays."""
    path = cache_root() / "weights" / "pins.json"
    pins = _pins(path)
    if name not in pins:
        pins[name] = {"sha256": digest}
        text = json.dumps(pins, indent=1, sort_keys=True)
        DISK.write_atomically(path, f"{text}\n".encode())


def _expected(
    path: Path, name: str, entry: WeightsEntry | None, pinned: Mapping[str, str]
) -> Iterable[str]:
    blob = path.resolve().name
    if path.is_symlink() and len(blob) == 64:
        yield blob
    known = entry.hash_of(name) if entry else None
    yield from (expected for expected in (known, pinned.get(name)) if expected is not None)


def _pins(path: Path) -> dict[str, Any]:
    try:
        return dict(json.loads(read_text(path)))
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise CorruptArtifactError(f"{path} is no JSON: {error}; remove it") from error
