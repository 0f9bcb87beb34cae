"""Bringing repositories of the hub into the local cache: the files that are loaded, no others."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

from bench.api.errors import PrerequisiteError
from bench.store import DISK

LOG = logging.getLogger(__name__)

_SMALL = (".json", ".txt", ".model", ".jinja")
_UNUSED = ("safety_checker",)
_PIPELINE = "model_index.json"
_FALLBACK = re.compile(r"pytorch_model(-\d+-of-\d+)?\.bin")
_CODE = ".py"
_PLAIN = (".pt", ".pth")
_UNREACHABLE: set[str] = set()
"""Addresses of the hub at which nobody answered in this process."""


def wanted_files(names: Iterable[str], *, code: bool = False) -> list[str]:
    """Return which files of a repository are loaded, of those it has.

    Configurations, vocabularies and, where asked for, Python files; safetensors without named
    variants (`.fp16.`) and without the one-file checkpoints that lie beside a pipeline; no safety
    checker. Where a repository has no safetensors, its `pytorch_model.bin`, whole or in parts;
    where it has not that either, as the repositories of reward models, its `.pt` and `.pth` files.
    """
    every = list(names)
    pipeline = _PIPELINE in every
    kept: list[str] = []
    weights = 0
    for name in every:
        path = PurePosixPath(name)
        if path.parts[0] in _UNUSED or path.parts[0].startswith("."):
            continue
        if path.suffix in _SMALL or (code and path.suffix == _CODE):
            kept.append(name)
            continue
        beside = pipeline and len(path.parts) == 1
        if path.suffix == ".safetensors" and "." not in path.stem and not beside:
            kept.append(name)
            weights += 1
    parts = [name for name in every if _FALLBACK.fullmatch(name)]
    if not weights and parts:
        kept += parts
    elif not weights:
        kept += [name for name in every if "/" not in name and name.endswith(_PLAIN)]
    return sorted(kept)


def fetch(repository: str, revision: str | None = None) -> str:
    """Bring a repository into the cache, hold it to its hashes, and return its folder there.

    Where no revision is asked for it is the registry's. One that is not the cache's default branch
    becomes it where the cache has none, for that is what back-ends look for; offline, what the
    cache has will do.

    Raises:
        PrerequisiteError: it cannot be fetched, and is not there either.
        CorruptArtifactError: a file of weights is not the one expected.
    """
    from huggingface_hub import HfApi, constants, snapshot_download
    from huggingface_hub.utils import logging as hub_logging

    from bench.assets.weights import hold_to_registry, registry

    hub_logging.disable_propagation()  # the client has a handler of its own
    entry = registry().get(repository)
    wanted = revision_of(repository, revision)
    at = f" --revision {revision}" if revision else ""
    command = f"python -m bench assets fetch {repository}{at}"
    off = constants.HF_HUB_OFFLINE or constants.ENDPOINT in _UNREACHABLE
    try:
        if off:
            folder = _in_cache(repository, wanted, other=revision is None)
        else:
            names = HfApi().list_repo_files(repository, revision=wanted)
            code = entry is not None and entry.code
            loaded = wanted_files(names, code=code)
            files = [f.name for f in entry.files] if entry and entry.files else loaded
            folder = snapshot_download(repository, revision=wanted, allow_patterns=files)
            if revision is None:
                _name_default(Path(folder))
    except Exception as error:  # the client's HTTP library, and so its errors, change by version
        if off:  # the client's own advice is about its arguments
            why = "cannot be reached" if constants.ENDPOINT in _UNREACHABLE else "is not asked"
            reason = f"it is not in the cache, and the hub {why}"
            if constants.HF_HUB_OFFLINE:
                reason += ": the network is off (HF_HUB_OFFLINE, --offline)"
        else:
            if _no_connection(error):
                _UNREACHABLE.add(constants.ENDPOINT)
            reason = str(error).strip().splitlines()[0] if str(error).strip() else repr(error)
        raise PrerequisiteError(
            f"cannot fetch {repository!r}: {reason}",
            fix=f"on a machine with network: {command}, then copy the cache "
            f"({constants.HF_HUB_CACHE}) here, or name it in HF_HOME",
        ) from error
    hold_to_registry(repository, Path(folder), fix=command)
    return str(folder)


def _no_connection(error: BaseException) -> bool:
    """Whether nobody answered: the next repository need not wait for as many attempts."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, ConnectionError) or "Connect" in type(seen).__name__:
            return True
        seen = seen.__cause__ or seen.__context__
    return False


def _in_cache(repository: str, wanted: str | None, *, other: bool) -> str:
    """Return the folder of a revision in the cache, or that of its default branch.

    Raises:
        Exception: the client's, where there is neither.
    """
    from huggingface_hub import snapshot_download

    try:
        return str(snapshot_download(repository, revision=wanted, local_files_only=True))
    except Exception:  # as in `fetch`
        if not other or wanted is None:
            raise
    folder = str(snapshot_download(repository, local_files_only=True))
    LOG.warning(
        "%s: the cache has commit %s, not %s, which the registry names",
        repository,
        Path(folder).name,
        wanted,
    )
    return folder


def _name_default(folder: Path) -> None:
    """Let a snapshot be the cache's default branch of its repository where there is none."""
    main = folder.parents[1] / "refs" / "main"
    if not main.is_file():
        DISK.makedirs(main.parent)
        DISK.write_atomically(main, folder.name.encode())


def revision_of(repository: str, asked: str | None) -> str | None:
    """Return the revision asked for, else the registry's; None is the default branch."""
    from bench.assets.weights import registry

    entry = registry().get(repository)
    return entry.revision if asked is None and entry is not None else asked


def about(repository: str) -> dict[str, str | None]:
    """Return licence and rough size of a repository, `?` where the registry does not know it."""
    from bench.assets.weights import registry

    entry = registry().get(repository)
    if entry is None:
        return {"licence": "?", "gigabytes": "?"}
    return {"licence": entry.licence, "gigabytes": str(entry.gigabytes)}
