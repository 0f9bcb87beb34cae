"""Bringing repositories of the hub into the local cache: the files that are loaded, no others."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import PurePosixPath

from bench.api.errors import PrerequisiteError

_SMALL = (".json", ".txt", ".model")
_UNUSED = ("safety_checker",)
_PIPELINE = "model_index.json"
_FALLBACK = "pytorch_model.bin"


def wanted_files(names: Iterable[str]) -> list[str]:
    """Return which files of a repository are loaded, of those it has.

    Configurations and vocabularies; safetensors without named variants (`.fp16.`) and without
    the one-file checkpoints that lie beside a pipeline; no safety checker. Where a repository has
    no safetensors, its `pytorch_model.bin`.
    """
    every = list(names)
    pipeline = _PIPELINE in every
    kept: list[str] = []
    weights = 0
    for name in every:
        path = PurePosixPath(name)
        if path.parts[0] in _UNUSED or path.parts[0].startswith("."):
            continue
        if path.suffix in _SMALL:
            kept.append(name)
            continue
        beside = pipeline and len(path.parts) == 1
        if path.suffix == ".safetensors" and "." not in path.stem and not beside:
            kept.append(name)
            weights += 1
    if not weights and _FALLBACK in every:
        kept.append(_FALLBACK)
    return sorted(kept)


def fetch(repository: str, revision: str | None) -> str:
    """Bring a repository into the cache and return its folder there.

    Raises:
        PrerequisiteError: it cannot be fetched, and is not there either.
    """
    from huggingface_hub import HfApi, constants, snapshot_download

    try:
        if constants.HF_HUB_OFFLINE:
            return str(snapshot_download(repository, revision=revision, local_files_only=True))
        names = HfApi().list_repo_files(repository, revision=revision)
        wanted = wanted_files(names)
        return str(snapshot_download(repository, revision=revision, allow_patterns=wanted))
    except Exception as error:  # the client's HTTP library, and so its errors, change by version
        at = f" --revision {revision}" if revision else ""
        reason = str(error).strip().splitlines()[0] if str(error).strip() else repr(error)
        raise PrerequisiteError(
            f"cannot fetch {repository!r}: {reason}",
            fix=f"on a machine with network: python -m bench assets fetch {repository}{at}, then "
            "copy the cache (HF_HOME) here",
        ) from error
