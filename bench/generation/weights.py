"""Which files of a checkpoint are loaded, and a hash over them. No torch."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Any

from bench.api.errors import PrerequisiteError, StoreError
from bench.store import Store, canonical_json, file_hash

LOADED_SUFFIXES = (".json", ".safetensors", ".txt", ".model")
"""Weights are read from safetensors alone; other formats beside them change nothing."""

UNUSED_PARTS = ("safety_checker", "feature_extractor", "image_encoder")
"""Parts of published pipelines that no adapter loads."""

INDEX = "model_index.json"
_SHA256 = re.compile(r"[0-9a-f]{64}")
_REMEMBERED_BYTES = 8 << 20
_CACHE = ".cache/file-hashes.json"


def loaded_files(folder: Path) -> list[Path]:
    """Return the files of a pipeline's folder that can change what is computed, sorted by name.

    Hidden files, documents, other weight formats, named variants (`model.fp16.safetensors`) and
    `UNUSED_PARTS` are left out.
    """
    return sorted(_loaded(folder), key=lambda path: path.relative_to(folder).as_posix())


def _loaded(folder: Path) -> Iterator[Path]:
    for path in folder.rglob("*"):
        parts = path.relative_to(folder).parts
        unused = any(part.startswith(".") for part in parts) or parts[0] in UNUSED_PARTS
        variant = path.suffix == ".safetensors" and "." in path.stem
        if path.suffix in LOADED_SUFFIXES and not unused and not variant and path.is_file():
            yield path


def content_hash(folder: Path, store: Store | None = None) -> str:
    """Return the sha256 over names and hashes of the files a checkpoint is loaded from.

    A file alone is as a folder that holds no other.

    Where the folder lies does not enter. Hashes of large files are remembered in the store, by
    path, size and time of modification.

    Raises:
        PrerequisiteError: there is no such folder, or nothing to load in it.
    """
    files = [folder] if folder.is_file() else []
    if folder.is_dir():
        files = loaded_files(folder)
    if not files:
        raise PrerequisiteError(
            f"{folder} holds no checkpoint (no {INDEX}, no safetensors)",
            fix="name the folder of a whole pipeline, or python -m bench assets build",
        )
    memory = _Memory(store)
    root = folder.parent if folder.is_file() else folder
    listing = {p.relative_to(root).as_posix(): memory.digest(p) for p in files}
    memory.save()
    return hashlib.sha256(canonical_json(listing).encode("ascii")).hexdigest()


@lru_cache(maxsize=1024)
def _small_hash(path: Path, stamp: tuple[int, ...]) -> str:
    """Hash of a file, taken again in this process only when its stamp has changed."""
    return file_hash(path)


class _Memory:
    """Hashes of large files, kept between processes."""

    def __init__(self, store: Store | None) -> None:
        self._store = store
        self._known: dict[str, list[Any]] = {}
        self._changed = False
        if store is not None:
            with suppress(OSError, ValueError):
                self._known = dict(json.loads((store.root / _CACHE).read_bytes()))

    def digest(self, path: Path) -> str:
        """Return the sha256 of a file; the hub's cache names its blobs by it."""
        real = path.resolve()
        if path.is_symlink() and _SHA256.fullmatch(real.name):
            return real.name
        stat = real.stat()
        if stat.st_size < _REMEMBERED_BYTES:
            return _small_hash(real, (stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns))
        known = self._known.get(str(real))
        if isinstance(known, list) and known[:2] == [stat.st_size, stat.st_mtime_ns]:
            return str(known[2])
        digest = file_hash(real)
        self._known[str(real)] = [stat.st_size, stat.st_mtime_ns, digest]
        self._changed = True
        return digest

    def save(self) -> None:
        """Write what was learnt; a store that cannot be written is hashed again next time."""
        if self._store is not None and self._changed:
            with suppress(StoreError):
                data = json.dumps(self._known, sort_keys=True).encode()
                self._store.disk.write_atomically(self._store.root / _CACHE, data)


def hub_snapshot(repository: str, revision: str | None) -> Path:
    """Return the folder `.../snapshots/<commit>` of a repository in the Hugging Face cache.

    The network is not asked: what is computed must not depend on when it is computed.

    Raises:
        PrerequisiteError: it, or one of the parts a pipeline is loaded from, is not there.
    """
    from huggingface_hub import constants, try_to_load_from_cache

    cache = f"the Hugging Face cache ({constants.HF_HUB_CACHE})"
    index = try_to_load_from_cache(repository, INDEX, revision=revision)
    at = f" --revision {revision}" if revision else ""
    fix = f"python -m bench assets fetch {repository}{at}  (with the network on)"
    if not isinstance(index, str):
        raise PrerequisiteError(f"{repository} is not in {cache}", fix=fix)
    folder = Path(index).parent
    present = {path.relative_to(folder).parts[0] for path in loaded_files(folder)}
    wanted = [
        name
        for name, value in json.loads(Path(index).read_bytes()).items()
        if isinstance(value, list) and None not in value and name not in UNUSED_PARTS
    ]
    missing = [name for name in wanted if name not in present]
    if missing:
        raise PrerequisiteError(
            f"{repository} is in {cache} without its {', '.join(missing)}", fix=fix
        )
    return folder
