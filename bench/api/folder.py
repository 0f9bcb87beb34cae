"""Images that this harness did not make, read from a folder without a manifest. No torch."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

from bench.api.errors import IncompleteError, ProtocolError, UsageError
from bench.api.generation import ImageRecord, ImageSet
from bench.api.prompts import Prompt, PromptSuite

UNKNOWN_SEED = -1
"""Seed of an image of others."""

PICTURES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".gif")
"""Endings of files that are taken for pictures."""

_SHOWN = 5


def read_flat(root: Path, *, suite: PromptSuite | None = None) -> ImageSet:
    """Read the pictures that lie in `root`, sorted by name; each is a prompt without a text.

    Raises:
        UsageError: no such folder, or a suite was asked for: a flat folder names no prompts.
        ProtocolError: two files differ in their ending only.
        IncompleteError: there is no picture.
    """
    if suite is not None:
        raise UsageError("a flat folder names no prompts; write a manifest.jsonl to use --suite")
    if not root.is_dir():
        raise UsageError(f"{root} is no folder; expected one that holds pictures")
    found = [p for p in sorted(root.iterdir()) if is_picture(p)]
    if not found:
        raise IncompleteError(f"{root} holds no picture ({', '.join(PICTURES)})")
    files: dict[tuple[str, int], tuple[str, str | None]] = {}
    for path in found:
        if (path.stem, 0) in files:
            other = files[path.stem, 0][0]
            raise ProtocolError(f"{root} holds {other} and {path.name}: two pictures of one name")
        files[path.stem, 0] = (path.name, None)
    prompts = tuple(Prompt(id=stem, text="", tag="image") for stem, _ in files)
    suite = PromptSuite(name=f"folder:{root.name}", version="flat", prompts=prompts)
    return image_set(root, suite, files)


def image_set(
    root: Path, suite: PromptSuite, files: Mapping[tuple[str, int], tuple[str, str | None]]
) -> ImageSet:
    """Return the complete image set of files named by (prompt id, ordinal).

    Args:
        root: the files are named from here.
        suite: the prompts; every file is of one of them.
        files: path and, where it is known, the sha256 that the file must have.

    Raises:
        IncompleteError: a file is missing, or prompts have unlike numbers of images.
        ProtocolError: a file has another sha256.
    """
    largest: dict[str, int] = {}
    for prompt_id, ordinal in files:
        largest[prompt_id] = max(ordinal, largest.get(prompt_id, 0))
    count = suite.images_per_prompt(largest)
    wanted = [(p.id, k) for p, k in suite.images(max(count, 1))]
    missing = [
        f"{pid}/{k}"
        for pid, k in wanted
        if (pid, k) not in files or not (root / files[pid, k][0]).is_file()
    ]
    if missing:
        shown = ", ".join(missing[:_SHOWN]) + (" ..." if len(missing) > _SHOWN else "")
        raise IncompleteError(
            f"{root} lacks {len(missing)} of {len(wanted)} images (prompt/number): {shown}. "
            f"Every prompt needs {max(count, 1)} images, numbered from 0, as the best-filled has."
        )
    records = []
    for pid, k in wanted:
        name, expected = files[pid, k]
        found = hashlib.sha256((root / name).read_bytes()).hexdigest()
        if expected is not None and found != expected:
            raise ProtocolError(
                f"{root / name} has sha256 {found[:12]}, its manifest says {expected[:12]}: the "
                "picture was changed. Take the original, or correct the manifest."
            )
        records.append(
            ImageRecord(prompt_id=pid, ordinal=k, path=name, sha256=found, seed=UNKNOWN_SEED)
        )
    listing = json.dumps([suite.sha256, [[r.key, r.sha256] for r in records]])
    return ImageSet(
        root=root,
        suite=suite,
        images_per_prompt=count,
        records=tuple(records),
        identity=hashlib.sha256(listing.encode()).hexdigest(),
    )


def is_picture(path: Path) -> bool:
    """Whether a file's name is one of a picture; hidden files are none."""
    return path.suffix.lower() in PICTURES and not path.name.startswith(".") and path.is_file()
