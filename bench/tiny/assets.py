"""Where the tiny world's shipped weights lie, and what they hash to."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from bench.api.errors import CorruptArtifactError, PrerequisiteError, unknown
from bench.api.files import file_hash, files_below
from bench.read.text import read_text

NAMES = (
    "tiny-sd",
    "tiny-sd-noisy",
    "tiny-clip",
    "tiny-vqa",
    "tiny-features",
    "tiny-detector",
    "tiny-sd3",
    "tiny-sana",
    "tiny-sdxl",
    "tiny-inpaint",
    "tiny-hpsv2",
    "tiny-pickscore",
    "tiny-aesthetic",
    "tiny-imagereward",
    "tiny-hpsv3",
    "tiny-unifiedreward",
    "tiny-deqa",
)
FIX = "python -m bench assets build"
WEIGHTS = Path(__file__).parent / "weights"
"""One folder per asset; see the model card in each."""


def weights_folder() -> Path:
    """Return the folder that holds one folder per shipped asset."""
    return WEIGHTS


def path_of(name: str) -> Path:
    """Return the folder of a shipped asset.

    Raises:
        UsageError: no asset has this name.
        PrerequisiteError: the asset is not there.
    """
    if name not in NAMES:
        raise unknown("asset", name, NAMES)
    folder = weights_folder() / name
    if not folder.is_dir():
        raise PrerequisiteError(f"the asset {name!r} is not at {folder}", fix=f"{FIX} {name}")
    return folder


def file_hashes(folder: Path) -> dict[str, str]:
    """Return the sha256 of every file below a folder, by path; not of its card or hidden ones."""
    return {
        str(f.relative_to(folder)): file_hash(f)
        for f in files_below(folder)
        if f.name != "README.md" and not f.name.startswith(".")
    }


def folder_sha256(folder: Path) -> str:
    """Return one hash over all files of an asset's folder except its card."""
    listed = json.dumps(file_hashes(folder), sort_keys=True)
    return hashlib.sha256(listed.encode()).hexdigest()


def weights_sha256(name: str) -> str:
    """Return the hash of an asset after comparing it with the one that was shipped.

    What is called by a shipped name is what was shipped; files that have not changed since are
    not read again.

    Raises:
        CorruptArtifactError: its bytes are others.
        PrerequisiteError: the asset, or the list of hashes, is not there.
    """
    found, shipped = folder_sha256(path_of(name)), expected_hashes().get(name, "")
    if found != shipped:
        raise CorruptArtifactError(
            f"the weights of {name} hash to {found[:12]}, shipped were {shipped[:12] or 'none'}.\n"
            f"  to mend it: git checkout -- {path_of(name)}, or {FIX} {name}; to measure other "
            "weights, name their folder elsewhere"
        )
    return found


def expected_hashes() -> dict[str, str]:
    """Return the hash of each asset as it was shipped (`weights/SHA256.json`)."""
    file = weights_folder() / "SHA256.json"
    if not file.is_file():
        raise PrerequisiteError(f"no list of hashes at {file}", fix=FIX)
    shipped: dict[str, str] = json.loads(read_text(file))
    return shipped


def verify() -> dict[str, str]:
    """Return the hash of each shipped asset after comparing it with the list.

    Raises:
        CorruptArtifactError: an asset's bytes are not those that were shipped; it is named.
    """
    return {name: weights_sha256(name) for name in expected_hashes()}
