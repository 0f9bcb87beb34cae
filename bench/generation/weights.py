"""Which files of a checkpoint are loaded, and a hash over them. No torch."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from bench.api.errors import PrerequisiteError, UsageError
from bench.api.files import blob_sha256, files_below
from bench.backbones.lora_files import configuration_of, find_lora
from bench.read.shards import ADAPTER, SAFETENSORS, named_weights, require_own
from bench.read.text import read_bytes
from bench.store import RememberedHashes, Store, canonical_json

LOADED_SUFFIXES = (".json", ".safetensors", ".txt", ".model", ".jinja")
"""Weights are read from safetensors alone; other formats beside them change nothing."""

UNUSED_PARTS = ("safety_checker", "feature_extractor", "image_encoder")
"""Parts of published pipelines that no adapter loads."""

INDEX = "model_index.json"
_REMEMBERED_BYTES = 8 << 20
_CACHE = ".cache/file-hashes.json"


def loaded_files(folder: Path) -> list[Path]:
    """Return the files of a pipeline's folder that can change what is computed, sorted by name.

    Hidden files, documents, other weight formats, named variants (`model.fp16.safetensors`) and
    `UNUSED_PARTS` are left out, but where an index of shards or a configuration names them.

    Raises:
        PrerequisiteError: one of those names what is not safetensors, or not below it, or leads
            the libraries elsewhere (`require_own`).
    """
    return sorted(_loaded(folder), key=lambda path: path.relative_to(folder).as_posix())


def _loaded(folder: Path) -> Iterator[Path]:
    files = {path: path.relative_to(folder).parts for path in files_below(folder)}
    used = [path for path, parts in files.items() if not _is_unused(parts)]
    for path in used:
        if path.name != ADAPTER or path.parent != folder:  # there it is a LoRA's
            require_own(path)
    # what is named is loaded whatever it is called
    named = {other for path in used for other in named_weights(path)}
    yield from (path for path in named if path.is_file())
    for path in used:
        variant = path.suffix == SAFETENSORS and "." in path.stem
        if path.suffix in LOADED_SUFFIXES and not variant and path not in named:
            yield path


def _is_unused(parts: tuple[str, ...]) -> bool:
    return any(part.startswith(".") for part in parts) or parts[0] in UNUSED_PARTS


def read_index(pipeline: Path) -> dict[str, Any]:
    """Return a pipeline's index, read as the libraries read it.

    Raises:
        UsageError: there is none, it is no JSON, or holds no mapping.
    """
    path = pipeline / INDEX
    try:
        found = json.loads(read_bytes(path))
    except (OSError, ValueError) as error:
        raise UsageError(f"{path} cannot be read: {error}") from error
    except RecursionError:
        raise UsageError(f"{path} cannot be read: brackets nested too deeply") from None
    if not isinstance(found, dict):
        raise UsageError(f"{path} holds a {type(found).__name__}; expected an object")
    return found


def missing_parts(folder: Path, files: Iterable[Path]) -> list[str]:
    """Return the parts that a pipeline's index names and of which none of the files is."""
    present = {path.relative_to(folder).parts[0] for path in files}
    try:
        index = read_index(folder)
    except UsageError:
        return []
    return [
        name
        for name, value in index.items()
        # [library, class]; settings begin with an underscore, and may be lists as well
        if isinstance(value, list)
        and not name.startswith("_")
        and None not in value
        and name not in UNUSED_PARTS
        and name not in present
    ]


def content_hash(folder: Path, store: Store | None = None) -> str:
    """Return the sha256 over names and hashes of the files a checkpoint is loaded from.

    A LoRA's file alone is as a folder that holds no other, but for the configuration that is read
    with it.

    Where the folder lies does not enter. Hashes of large files are remembered in the store, see
    `RememberedHashes`.

    Raises:
        PrerequisiteError: there is no such folder, nothing to load in it, or nothing of one of a
            pipeline's parts; or several LoRAs, see `find_lora`.
    """
    files = [folder, *configuration_of(folder)] if folder.is_file() else []
    if folder.is_dir():
        files = loaded_files(folder)
        files += [lora for lora in _lora(folder) if lora not in files]
    if not files:
        raise PrerequisiteError(
            f"{folder} holds no checkpoint (no {INDEX}, no safetensors)",
            fix="name the folder of a whole pipeline, or python -m bench assets build",
        )
    missing = missing_parts(folder, files) if folder.is_dir() else []
    if missing:
        raise PrerequisiteError(
            f"{folder} is a pipeline of which nothing can be hashed in {', '.join(missing)}",
            fix=f"put the files there, as safetensors, or take the part out of its {INDEX}",
        )
    memory = RememberedHashes(store, _CACHE, least_bytes=_REMEMBERED_BYTES)
    root = folder.parent if folder.is_file() else folder
    listing = {
        p.relative_to(root).as_posix(): blob_sha256(p) or memory.of(p.resolve()) for p in files
    }
    memory.save()
    return hashlib.sha256(canonical_json(listing).encode("ascii")).hexdigest()


def _lora(folder: Path) -> list[Path]:
    """Return the file that a folder's LoRA is loaded from, whatever its name looks like."""
    if any((folder / name).is_file() for name in (INDEX, "config.json")):
        return []
    found = find_lora(folder)
    return [] if found is None else [found]


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
    missing = missing_parts(folder, loaded_files(folder))
    if missing:
        raise PrerequisiteError(
            f"{repository} is in {cache} without its {', '.join(missing)}", fix=fix
        )
    return folder
