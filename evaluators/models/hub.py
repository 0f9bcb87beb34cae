"""Evaluator models in the Hugging Face cache: found, named by their commit, loaded. No network.

What is measured must not depend on when it is measured, so nothing is fetched here: a model
that is missing is an error with the command that gets it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.api.errors import CorruptArtifactError, PrerequisiteError
from bench.api.files import blob_name, file_hash
from bench.read.shards import named_weights, require_own

Alternatives = Sequence[str]
"""File names, one of which must be there."""

NETWORK: tuple[Alternatives, ...] = (
    ("config.json",),
    ("model.safetensors", "model.safetensors.index.json", "pytorch_model.bin"),
)
"""What a transformers network is loaded from."""
TOKENIZER: tuple[Alternatives, ...] = (("tokenizer.json", "vocab.json"),)
IMAGE_PROCESSOR: tuple[Alternatives, ...] = (("preprocessor_config.json",),)

_IDENTITY_SUFFIXES = (".json", ".txt", ".model", ".jinja", ".safetensors", ".bin")
_TEMPLATES = "additional_chat_templates"


def fetch_command(repository: str, revision: str | None = None) -> str:
    """Return the command that brings a repository into the cache."""
    at = f" --revision {revision}" if revision else ""
    return f"python -m bench assets fetch {repository}{at}"


def snapshot(
    repository: str, *, revision: str | None = None, needs: Sequence[Alternatives] = NETWORK
) -> Path:
    """Return the folder of a repository's snapshot in the cache.

    Args:
        repository: hub id.
        revision: branch, tag or commit; None is the default branch as the cache knows it, or the
            only commit that it holds.
        needs: what must be in it.

    Raises:
        PrerequisiteError: it, or a file that is needed, is not there.
    """
    from huggingface_hub import constants, try_to_load_from_cache

    fix = fetch_command(repository, revision)
    cache = f"the Hugging Face cache ({constants.HF_HUB_CACHE})"
    first = needs[0][0]
    found = try_to_load_from_cache(repository, first, revision=revision)
    folder = Path(found).parent if isinstance(found, str) else None
    if folder is None and revision is None:
        folder = _only_snapshot(Path(constants.HF_HUB_CACHE), repository)
    if folder is None:
        raise PrerequisiteError(f"{repository} is not in {cache}", fix=fix)
    for alternatives in needs:
        if not any((folder / name).is_file() for name in alternatives):
            raise PrerequisiteError(
                f"{repository} is in {cache} without {' or '.join(alternatives)}",
                fix=fix,
            )
    return folder


def _only_snapshot(cache: Path, repository: str) -> Path | None:
    """Return the one commit that the cache holds of a repository, None of none or several.

    One that was fetched by `--revision` is not called the default branch there.
    """
    folder = cache / f"models--{repository.replace('/', '--')}" / "snapshots"
    there = sorted(folder.iterdir()) if folder.is_dir() else []
    return there[0] if len(there) == 1 else None


def content_hash(folder: Path) -> str:
    """Return the sha256 over names and contents of a snapshot's files, weights included.

    The hub's cache names its blobs by a hash of their content, which stands for it here.

    Raises:
        PrerequisiteError: a file leads the libraries elsewhere, or to what is no safetensors
            (`bench.read.shards`).
    """
    files = {path for path in folder.iterdir() if path.suffix in _IDENTITY_SUFFIXES}
    for path in sorted(files):
        require_own(path)
        files.update(named for named in named_weights(path) if named.is_file())
    files.update((folder / _TEMPLATES).glob("*.jinja"))
    listing = {path.relative_to(folder).as_posix(): digest(path) for path in files}
    return hashlib.sha256(json.dumps(listing, sort_keys=True).encode()).hexdigest()


def digest(path: Path) -> str:
    """Return the hash that the hub's cache names a file by, of any other file its sha256."""
    return blob_name(path) or file_hash(path)


def load_network(network_class: Any, folder: Path, *, device: str) -> Any:
    """Load a transformers network in float32 and make sure that its weights fill it.

    The library fills missing weights at random with no more than a warning; here that is an
    error. The files' own precision is not taken over: sums over pixels would lose digits.

    Raises:
        CorruptArtifactError: weights are missing, or of another shape.
    """
    import torch

    network, info = network_class.from_pretrained(
        folder, dtype=torch.float32, local_files_only=True, output_loading_info=True
    )
    lacking = [*info["missing_keys"], *(str(key) for key in info["mismatched_keys"])]
    if lacking:
        raise CorruptArtifactError(
            f"{folder}: {len(lacking)} weights of {network_class.__name__} are missing or of "
            f"another shape, e.g. {lacking[0]}. Remove the folder and fetch it again."
        )
    return network.to(device).eval().requires_grad_(False)


def pick_device(device: str | None) -> str:
    """Return `device`, or the GPU where there is one, else the CPU."""
    import torch

    return device or ("cuda" if torch.cuda.is_available() else "cpu")
